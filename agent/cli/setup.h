// What `tillsync init` writes: a configuration with comments, and the part of the systemd unit that depends on it.
//
// Purpose: pure functions from answers to text, so that what a till gets can be tested line by line. What is not asked
// for stands there as a comment with its default. Errors: none; a configuration of [store] url that make_store()
// refuses adds no folder. Threads: pure.
#pragma once

#include <string>

#include "agent/config/config.h"

namespace tillsync {

struct Setup {
  std::string terminal, state_dir, control;  // state_dir, control: empty for the usual place
  std::string database_name, database_path;
  std::string store_url, endpoint, region, ca_file;
  bool path_style = false;
  std::string credentials;  // file; empty: the environment, or systemd's credential
  std::string recovery;     // public half; empty: none
};

// It parses, and says what the answers say.
std::string configuration_text(const Setup& setup);

// How a service runs that follows these databases.
struct ServiceUser {
  std::string user, group;
};
// The drop-in for tillsync.service: its user, and the folders it may write to.
std::string service_drop_in(const Config& config, const ServiceUser& user);

}  // namespace tillsync
