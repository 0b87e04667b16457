// Whether a database may be opened by a process that is not its owner's.
//
// Purpose: SQLite makes -wal, -shm and -journal beside the database with the user of whoever comes first. Where that is
// not the owner's, the application could be kept out of its own database; so it must be sure beforehand that what is
// made there can be written by the owner: by a folder that hands on its group (setgid), or by default ACLs.
// Source: SQLite's os_unix.c, findCreateFileMode: files get the mode of the database, and made by root its owner.
// Errors: denied, with what to change. Threads: any.
#pragma once

#include <string>

#include "base/result.h"

namespace tillsync {

// In words, how: "its owner", "root", "group pos of the folder", "the folder's default ACL". A database that is not
// there yet can be opened by nobody: not_found.
Result<std::string> may_share_database(const std::string& path);

}  // namespace tillsync
