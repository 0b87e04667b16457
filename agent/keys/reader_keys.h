// The keys to read a terminal's backups with, on any machine: the given one, or the terminal's own where this is it.
//
// Errors: usage for a file that is no key; corrupt when what the store says of the terminal's keys is not what is known
// here; those of store and files. Threads: one.
#pragma once

#include "agent/keys/own_keys.h"

namespace tillsync {

// key: a file, or empty. None: the terminal is not sealed.
// Sealed and without any key that could open it: a ring that can't, so that what is read says what is missing.
Result<Keys> keys_for_reading(ObjectStore& store, FileSystem& files, const Config& config, const std::string& key,
                              const Uuid& terminal);

}  // namespace tillsync
