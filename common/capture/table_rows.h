// Row changes of one table → logged rows with entity keys.
//
// Purpose: tables named by rowid, and WITHOUT ROWID tables, pass straight through. In a rowid table with a declared key
// the b-tree is keyed by rowid but the entity by the key: a REPLACE on a TEXT key, a changed key at the same rowid and
// a renumbering are put together again here, by key, and become what they mean: a row that only got another rowid is an
// UPDATE with equal records. Memory: for the last kind, the removed
// and created rows of one transaction and table. Threads: one.
#pragma once

#include <deque>

#include "actionlog/log_writer.h"
#include "capture/tree_diff.h"

namespace tillsync {

class TableRows : public RowSink {
 public:
  // before, after: the table on each side; the same one unless the schema changed. logged_as: where the rows are
  // logged.
  TableRows(const Table& before, const Table& after, const Table& logged_as, LogWriter& log);
  Result<void> row(const RowChange& change) override;
  // After the last row: pairs what was kept back.
  Result<void> finish();

 private:
  struct Kept {
    Bytes key, record;
    int64_t rowid;
    bool paired = false;
  };
  Result<void> log_row(ActionKind action, ByteView key, int64_t rowid, std::optional<int64_t> previous_rowid,
                       ByteView before, ByteView after);
  const Table& logged_as_;
  LogWriter& log_;
  RowIdentity before_, after_;
  bool by_declared_key_;
  std::deque<Kept> removed_, created_;
};

}  // namespace tillsync
