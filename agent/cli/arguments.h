// The command line of `tillsync`, parsed.
//
// Purpose: every command and option, checked as far as it can be without an agent. Global options stand before or after
// the command.
// Threads: values; no state.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

namespace CLI {
class App;
}

namespace tillsync {

struct Arguments {
  // Global.
  std::string config, store, terminal, key;
  bool json = false;

  std::string command;  // "status", …, "log verify"

  std::string database, type, name, description;       // backup; database: also elsewhere
  bool wait = false, no_dedup = false;                 // backup, flush
  std::optional<Milliseconds> pause_length;            // pause
  std::optional<Milliseconds> timeout;                 // backup --wait, flush --wait
  std::string target;                                  // restore --to, keys make --out, keys export --out
  std::string assets;                                  // restore --assets
  std::string snapshot;                                // restore, verify
  std::string at;                                      // restore, RFC 3339 in UTC
  std::optional<uint64_t> sequence, transaction;       // restore
  bool force = false, keep_going = false;              // restore
  bool no_integrity_check = false;                     // restore --to
  bool in_place = false, undo = false, yes = false;    // restore
  std::string table, entity, since;                    // log
  std::optional<uint64_t> from_sequence, to_sequence;  // log
  bool follow = false;                                 // log
  bool words = false, public_half = false;             // keys export
  bool data = false;                                   // verify
  bool dry_run = false;                                // prune
  struct Init {
    std::string database_name, endpoint, region, ca_file, credentials, recovery, make_recovery, state_dir, user;
    bool path_style = false, no_recovery = false, unit_only = false;
  } init;
  std::string workflow;     // workflows --id, cancel
  int seconds = 15;         // demo
  bool keep = false;        // demo
  std::string shop_folder;  // demo-shop, which demo starts
};

// An exit status when there is nothing (more) to do: 0 after --help and --version, 2 for a wrong command line, whose
// reason was written to err.
std::optional<int> parse_arguments(const std::vector<std::string>& words, Arguments& out, std::ostream& output,
                                   std::ostream& err);

// The definition itself, to be read: the manual pages and the completions are made from it.
void with_command_line(const std::function<void(const CLI::App&)>& use);

}  // namespace tillsync
