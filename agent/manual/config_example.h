// The commented example of a configuration, read as what it says of every key.
//
// Purpose: docs/tillsync.toml is the one place where sections and keys are described; the manual page is made from it.
// Layout: a comment ("# text") belongs to the section or key in the line after it; "#key = value" is a key with its
// default, "key = value" one that has to be given; "#[[assets]]" a section that may be left out.
// Errors: usage, with the line, for a key without section or comment, or a line that is none of these.
// Threads: functions without state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tillsync {

struct ConfigKey {
  std::string name, value, text;
  bool is_needed = false;
};

struct ConfigSection {
  std::string name, text;
  bool is_list = false;  // [[name]]
  std::vector<ConfigKey> keys;
};

Result<std::vector<ConfigSection>> read_config_example(std::string_view text);

// The same file with every key in it, also those that stand there as their defaults.
std::string with_every_key(std::string_view text);

}  // namespace tillsync
