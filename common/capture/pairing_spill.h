// Removed and created rows of one transaction and table that wait to be paired by key, on disk.
//
// Purpose: where a transaction changes more of a table than memory may hold. A temporary database of SQLite's in a file
// of ours; nothing in it outlives the object. Rows of a side have distinct rowids and distinct keys.
// Errors: cancelled once it is told to stop, also in the middle of a statement; what the file and SQLite report.
// Threads: one.
#pragma once

#include <functional>
#include <memory>

#include "capture/work_pulse.h"
#include "ports/files.h"
#include "sqlite/connection.h"

namespace tillsync {

class PairingSpill {
 public:
  enum class Side { removed, created };

  struct Place {
    FileSystem* files = nullptr;
    const char* vfs = nullptr;  // name of a FileVfs over `files`
    std::string path;           // made anew, gone afterwards
    WorkPulse* pulse = nullptr;
  };
  static Result<std::unique_ptr<PairingSpill>> create(const Place& place);
  ~PairingSpill();
  Result<void> add(Side side, ByteView key, int64_t rowid, ByteView record);

  struct Row {
    ByteView key, record;  // valid during the call
    int64_t rowid = 0;
  };
  // Removed rows whose key no created row has; by rowid.
  Result<void> each_removed(const std::function<Result<void>(const Row&)>& visit);
  // Created rows, by rowid, with the removed row of the same key, if there is one.
  Result<void> each_created(const std::function<Result<void>(const Row& created, const Row* removed)>& visit);

 private:
  explicit PairingSpill(const Place& place) : place_(place) {}
  Place place_;
  Connection db_;
};

}  // namespace tillsync
