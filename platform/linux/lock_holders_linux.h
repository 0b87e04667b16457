// Which processes hold locks on a database, for a person who waits for one of them.
//
// Purpose: reads /proc/locks; no file of the database is opened, because closing it would drop SQLite's locks. Looks at
// the database, its -shm and its -journal. Names the processes that may be keeping writers out, the own one left out.
// Errors: none; what can't be read is left out. Threads: any.
#pragma once

#include <string>

namespace tillsync {

// "process 4711 (till), process 4712 (sqlite3)"; empty for nobody.
std::string lock_holders(const std::string& database_path);

}  // namespace tillsync
