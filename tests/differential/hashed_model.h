// Baseline plus log, as sums of row hashes: strict, and in proportion to what a transaction changes.
#pragma once

#include <memory>
#include <unordered_map>

#include "capture/capture_fixture.h"
#include "differential/row_hash.h"

namespace tillsync::test {

class HashedModel {
 public:
  explicit HashedModel(Till& till) : till_(till) {}

  // Takes what the tables hold now as the state after everything logged so far.
  void start();
  // Applies what was logged since, and gives it. A table with another definition than before is read anew.
  std::vector<LoggedAction> follow();

  ContentSum content() const;
  const Schema& schema() const { return *schema_; }
  TransactionNo transaction() const { return transaction_; }
  // For a person, as the writer gives its own.
  std::string rows_of(const std::string& table) const;

 private:
  struct Rows {
    explicit Rows(const Table& table);
    RowIdentity identity;
    std::vector<int> fields;  // of the record, for each column that SQL reads; -1 for the rowid
    bool keyless;
    std::unordered_map<std::string, Bytes> by_key;
    TableSum sum;
    TableSum hash_of(std::string_view key, ByteView record);
    // A row's values as SQL reads them: the rowid or nothing first.
    void values_of(std::string_view key, ByteView record, std::vector<Value>& out);
    void put(std::string_view key, ByteView record);
    std::vector<Value> values, record_values;
  };
  void apply(const LoggedAction& action);
  void load_schema();
  void read_anew(const std::set<std::string>& tables);
  Till& till_;
  Sequence sequence_ = 0;
  TransactionNo transaction_ = 0;
  std::unique_ptr<Schema> schema_;
  std::map<std::string, std::unique_ptr<Rows>> tables_;
};

}  // namespace tillsync::test
