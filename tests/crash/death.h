// The agent with support/die_in_write.cpp in front of the C library: it ends at a chosen change of a file.
#pragma once

#include <cstdlib>

#include "integration/world.h"

namespace tillsync::test {

struct Death {
  std::string in;            // class of files: class_of() of die_in_write.cpp
  uint64_t at = 1;           // which change
  uint64_t part = 0;         // thousandths of it that still reach the file
  std::string report{};      // gets a line when it came to that
  bool keep_synced = false;  // what of state.db was synced, for cut_power_of_state()
};

inline std::vector<std::string> agent_that_dies(const World& world, const Death& death) {
  std::vector<std::string> words{"/usr/bin/env",
                                 "LD_PRELOAD=" + world.bin + "/die_in_write.so",
                                 "TILLSYNC_DIE_BELOW=" + world.folder.path(),
                                 "TILLSYNC_DIE_IN=" + death.in,
                                 "TILLSYNC_DIE_AT=" + std::to_string(death.at),
                                 "TILLSYNC_DIE_PART=" + std::to_string(death.part),
                                 "TILLSYNC_DIE_REPORT=" + death.report};
  if (death.keep_synced) words.push_back("TILLSYNC_KEEP_SYNCED=1");
  // Only for builds with a sanitizer, which wants to be loaded first.
  const char* options = std::getenv("ASAN_OPTIONS");
  words.push_back("ASAN_OPTIONS=" + (options ? std::string(options) + ":" : std::string()) +
                  "verify_asan_link_order=0");
  words.insert(words.end(), {world.bin + "/tillsyncd", "--config", world.config});
  return words;
}

inline std::vector<std::string> state_files(const World& world) {
  return {world.folder / "state/state.db", world.folder / "state/state.db-wal"};
}

// Before the start of an agent whose power will be cut: what is there now was synced.
inline void state_is_synced(const World& world) {
  for (auto& path : state_files(world))
    std::filesystem::copy_file(path, path + ".synced", std::filesystem::copy_options::overwrite_existing);
}

// After its death: of state.db is left what was synced, of all other files what was written. A power cut that hits the
// one and spares the rest; nothing may depend on their order but by a sync.
inline void cut_power_of_state(const World& world) {
  for (auto& path : state_files(world)) std::filesystem::rename(path + ".synced", path);
}

}  // namespace tillsync::test
