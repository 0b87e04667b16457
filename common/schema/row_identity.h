// What makes a row the same row, and the same content: entity keys and row digests.
//
// Layout of an entity key: 'r' and the rowid (8 bytes, big-endian, sign bit flipped, so that keys sort like rowids), or
// 'k' and a record of the declared key's values in canonical form. A declared key that holds NULL names nothing; such
// rows of rowid tables go by rowid. Layout of what a row digest hashes: for rows named by rowid the 9 key bytes, else
// the byte 'k'; then the row's record in canonical form. Canonical form: every column of the record has a field (those
// that ADD COLUMN made come from the default), whole numbers in REAL columns are doubles, integers have their shortest
// serial type. A row that SQLite writes anew digests the same. Threads: a RowIdentity belongs to one thread (it keeps
// buffers); the Table must outlive it.
#pragma once

#include "crypto/multiset_digest.h"
#include "schema/schema.h"

namespace tillsync {

class RowIdentity {
 public:
  explicit RowIdentity(const Table& table);
  // rowid: ignored for WITHOUT ROWID tables. Errors: corrupt when the record does not parse.
  // The view is valid until the next call.
  Result<ByteView> key(int64_t rowid, ByteView record);
  Result<Digest> digest(int64_t rowid, ByteView record);
  // The record in canonical form; a view of `record` itself when it is so already, else of an internal buffer.
  Result<ByteView> canonical(ByteView record);
  const Table& table() const { return *table_; }

 private:
  const Table* table_;
  std::vector<int> key_fields_;  // record fields of the declared key
  bool has_real_ = false;
  Bytes key_, canonical_, hashed_;
};

void put_rowid_key(Bytes& out, int64_t rowid);
// The rowid of an 'r' key.
int64_t rowid_of_key(ByteView key);

}  // namespace tillsync
