// Which signing key a terminal had when it was first seen here: a reader that knows it is not deceived by a store whose
// terminal.json was put in the place of another.
//
// Layout: a text file, one line a terminal: its id, a space, its first public signing key (64 hex digits). A person may
// remove a line. Errors: corrupt for a terminal that has another key now, with the file; those of the files.
// Threads: one.
#pragma once

#include "crypto/statement.h"
#include "ports/files.h"

namespace tillsync {

// $XDG_STATE_HOME or ~/.local/state, below it tillsync/known_terminals; empty: there is no home.
std::string known_terminals_file();

// Compares, or adds. Where nothing can be written the key is trusted for this once.
Result<void> pin_terminal(FileSystem& files, const std::string& path, const Uuid& terminal, const KeyHistory& history);
// A terminal that was sealed when it was seen, and states no keys now, is refused.
Result<void> check_unsealed(FileSystem& files, const std::string& path, const Uuid& terminal);

}  // namespace tillsync
