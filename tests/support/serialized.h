// A database of SQLite's as the bytes of its file. Errors: bad_alloc. Threads: the connection's.
#pragma once

#include <new>

#include "sqlite/connection.h"

namespace tillsync::test {

inline Bytes serialized(Connection& db) {
  sqlite3_int64 size = 0;
  unsigned char* raw = sqlite3_serialize(db.handle(), "main", &size, 0);
  if (!raw) throw std::bad_alloc();
  Bytes file(raw, raw + size);
  sqlite3_free(raw);
  return file;
}

}  // namespace tillsync::test
