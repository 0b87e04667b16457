// The journal of uploads in state.db (uploads, upload_parts): an upload goes on after a restart, and after a power cut.
//
// Durability: begin() and part_done() sync the write-ahead log of state.db, one fsync each; forget() does not, as what
// comes back is found done. Errors: those of state.db. Threads: as StateDb, any.
#pragma once

#include "ports/upload_journal.h"
#include "state/state_db.h"

namespace tillsync {

class StateUploadJournal : public UploadJournal {
 public:
  explicit StateUploadJournal(StateDb& state) : state_(state) {}
  Result<std::optional<Upload>> load(const std::string& key) override;
  Result<std::vector<Upload>> list(const std::string& prefix) override;  // without their parts
  Result<void> begin(const Upload& upload) override;
  Result<void> part_done(const std::string& key, const std::string& id, const UploadPart& part) override;
  Result<void> forget(const std::string& key) override;

  // Bytes of the key that need not be sent again.
  Result<uint64_t> sent(const std::string& key);
  // Keys of uploads that no row of the transfer queue waits for: whoever wanted them has ended.
  Result<std::vector<std::string>> unwanted();

 private:
  StateDb& state_;
};

}  // namespace tillsync
