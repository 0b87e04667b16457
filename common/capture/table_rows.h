// Row changes of one table → logged rows with entity keys.
//
// Purpose: tables named by rowid, and WITHOUT ROWID tables, pass straight through. In a rowid table with a declared key
// the b-tree is keyed by rowid but the entity by the key: a REPLACE on a TEXT key, a changed key at the same rowid and
// a renumbering are put together again here, by key, and become what they mean: a row that only got another rowid is an
// UPDATE with equal records. Memory: for the last kind, the removed
// and created rows of one transaction and table, up to a limit; beyond it they wait on disk. Threads: one.
#pragma once

#include <deque>

#include "actionlog/log_writer.h"
#include "capture/pairing_spill.h"
#include "capture/tree_diff.h"

namespace tillsync {

class TableRows : public RowSink {
 public:
  // before, after: the table on each side; the same one unless the schema changed. logged_as: where the rows are
  // logged.
  // spill: where rows wait that are too many for memory.
  TableRows(const Table& before, const Table& after, const Table& logged_as, LogWriter& log,
            const PairingSpill::Place& spill);
  Result<void> row(const RowChange& change) override;
  // After the last row: pairs what was kept back.
  Result<void> finish();

 private:
  struct Kept {
    Bytes key, record;
    int64_t rowid;
    bool paired = false;   // of a removed row: the created one has it
    Kept* pair = nullptr;  // of a created row
  };
  Result<void> log_row(ActionKind action, ByteView key, int64_t rowid, std::optional<int64_t> previous_rowid,
                       ByteView before, ByteView after);
  Result<void> keep(PairingSpill::Side side, ByteView key, int64_t rowid, ByteView record);
  Result<void> spill();
  Result<void> log_pair(ByteView key, int64_t rowid, ByteView record, int64_t old_rowid, ByteView old_record);
  Result<void> finish_in_memory();
  const Table& logged_as_;
  LogWriter& log_;
  RowIdentity before_, after_;
  bool by_declared_key_;
  std::deque<Kept> removed_, created_;
  size_t kept_bytes_ = 0;
  const PairingSpill::Place& place_;
  std::unique_ptr<PairingSpill> spill_;  // once it is there, everything is in it
};

}  // namespace tillsync
