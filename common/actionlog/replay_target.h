// One table of the database that is replayed into: find, delete, insert by SQL, with values exactly as logged.
//
// Threads: one.
#pragma once

#include "actionlog/replay.h"
#include "dbfile/record.h"
#include "schema/row_identity.h"

namespace tillsync {

class Replayer::Target {
 public:
  static Result<std::unique_ptr<Target>> create(Connection& db, const Table& table, uint32_t text_encoding);

  RowIdentity& identity() { return identity_; }
  const Table& table() const { return *table_; }
  // The canonical record of the row with the same entity key, if there is one.
  Result<std::optional<Bytes>> find(int64_t rowid, ByteView record);
  // Whether insert() is refused by a constraint while a row with the same entity key is there. Not so where the key
  // holds NULL.
  Result<bool> refuses_a_second(int64_t rowid, ByteView record);
  Result<void> remove(int64_t rowid, ByteView record);
  Result<void> insert(int64_t rowid, ByteView record);

  TableDigest* counted = nullptr;  // of the replayer's, once a row was counted

 private:
  Target(Connection& db, const Table& table, uint32_t encoding)
      : db_(&db), table_(&table), identity_(table), encoding_(encoding) {}
  Result<void> keep_texts(const std::vector<Value>& values);
  bool write_in_place(const std::string& column, int64_t rowid, ByteView bytes);
  Result<void> bind_key(Statement& statement, int64_t rowid, ByteView key);
  void bind_value(Statement& statement, int index, const Value& value) const;
  Connection* db_;
  const Table* table_;
  RowIdentity identity_;
  uint32_t encoding_;
  bool by_rowid_ = false;
  std::string rowid_name_;
  Statement select_, delete_, insert_, insert_any_rowid_, select_null_key_, delete_null_key_;
  std::vector<int> insert_fields_;  // record field of each inserted column
  std::vector<int> number_fields_;  // those of them whose column makes numbers of texts
};

}  // namespace tillsync
