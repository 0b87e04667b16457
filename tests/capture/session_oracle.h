// SQLite's own account of a transaction, beside ours: the changeset of the session extension against the logged
// actions.
//
// The extension records tables with a primary key, by their declared columns without generated ones. What it says must
// be in the log, and for those tables nothing else.
#pragma once

#include <sqlite3.h>

#include "capture/capture_fixture.h"

namespace tillsync::test {

// A changeset beside the actions of the same transaction.
class ChangesetComparison {
 public:
  explicit ChangesetComparison(const Schema& schema) : schema_(schema) {}

  // Says how many changes were compared.
  size_t check(ByteView changeset, const std::vector<LoggedAction>& actions) {
    auto theirs = changes_of(changeset);
    auto ours = logged(actions);
    size_t compared = 0;
    for (auto& [table, changes] : theirs) {
      for (auto& [key, change] : changes) {
        as_read(*schema_.find(table), change);
        if (change.ambiguous || (change.what == "UPDATE" && changes_nothing(change))) continue;
        INFO("table " << table << " key " << key << " " << change.what);
        auto mine = ours[table].find(key);
        INFO("SQLite: " << text_of(change.before) << " -> " << text_of(change.after));
        REQUIRE(mine != ours[table].end());
        INFO("logged: " << text_of(mine->second.before) << " -> " << text_of(mine->second.after));
        CHECK(mine->second.what == change.what);
        CHECK(mine->second.before.size() == change.before.size());
        CHECK(mine->second.after.size() == change.after.size());
        // Of an UPDATE the extension keeps the key and the columns that changed.
        for (size_t i = 0; i < change.before.size(); i++)
          if (change.before[i]) CHECK(mine->second.before.at(i) == change.before[i]);
        for (size_t i = 0; i < change.after.size(); i++) {
          if (change.after[i]) {
            CHECK(mine->second.after.at(i) == change.after[i]);
          } else {
            CHECK(mine->second.after.at(i) == mine->second.before.at(i));
          }
        }
        ours[table].erase(mine);
        compared++;
      }
    }
    for (auto& [table, changes] : ours)
      for (auto& [key, change] : changes)
        FAIL("logged, but no change for SQLite: " << change.what << " in " << table << " key " << key.substr(0, 60)
                                                  << ": " << text_of(change.before) << " -> " << text_of(change.after));
    return compared;
  }

 private:
  using Values = std::vector<std::optional<std::string>>;
  struct Change {
    std::string what;
    Values before, after;
    bool ambiguous = false;  // its key, see is_ambiguous()
  };
  using Changes = std::map<std::string, std::map<std::string, Change>>;  // table → key → change

  // A whole number that ADD COLUMN gave a REAL column as its default is an integer for the extension, and a real for
  // everybody who reads it.
  static void as_read(const Table& table, Change& change) {
    for (Values* values : {&change.before, &change.after}) {
      size_t at = 0;
      for (auto& column : table.columns) {
        if (column.virtual_generated || column.stored_generated) continue;
        if (at >= values->size()) break;
        auto& value = (*values)[at++];
        if (!value || value->front() != 'i' || column.affinity != Affinity::real) continue;
        Value real;
        real.type = ValueType::real;
        real.real = static_cast<double>(std::stoll(value->substr(1)));
        value = show(real);
      }
    }
  }
  static std::vector<const Column*> declared_columns(const Table& table) {
    std::vector<const Column*> columns;
    for (auto& column : table.columns)
      if (!column.virtual_generated && !column.stored_generated) columns.push_back(&column);
    return columns;
  }
  // 1 and 1.0 in a column without a type, 'A' and 'a' where case does not count: two keys for the extension while it
  // records, one when it looks for the row. What it says of them is not to be relied on.
  static bool is_ambiguous(const Column& column, const std::string& value) {
    if (column.affinity == Affinity::blob && (value[0] == 'i' || value[0] == 'r')) return true;
    if (value[0] != 't') return false;
    Bytes text;
    REQUIRE(from_hex(std::string_view(value).substr(1, value.size() - 2), text));
    const bool has_capital = std::any_of(text.begin(), text.end(), [](uint8_t c) { return c >= 'A' && c <= 'Z'; });
    return has_capital || text == Bytes{'a'} || (!text.empty() && text.back() == ' ');
  }
  static bool changes_nothing(const Change& update) {
    for (size_t i = 0; i < update.after.size(); i++)
      if (update.after[i] && update.after[i] != update.before[i]) return false;
    return true;
  }

  static std::string text_of(const Values& values) {
    std::string all;
    for (auto& value : values) all += value ? value->substr(0, 60) + " " : "- ";
    return all;
  }

  static std::optional<std::string> text_of(sqlite3_value* value) {
    if (!value) return std::nullopt;
    Value v;
    switch (sqlite3_value_type(value)) {
      case SQLITE_INTEGER:
        v.type = ValueType::integer;
        v.integer = sqlite3_value_int64(value);
        break;
      case SQLITE_FLOAT:
        v.type = ValueType::real;
        v.real = sqlite3_value_double(value);
        break;
      case SQLITE_TEXT:
      case SQLITE_BLOB:
        v.type = sqlite3_value_type(value) == SQLITE_TEXT ? ValueType::text : ValueType::blob;
        v.bytes = {static_cast<const uint8_t*>(sqlite3_value_blob(value)),
                   static_cast<size_t>(sqlite3_value_bytes(value))};
        break;
      default: break;
    }
    if (v.type == ValueType::real && v.real == 0) v.real = 0;  // it sees no difference between 0.0 and -0.0
    return show(v);
  }

  Changes changes_of(ByteView changeset) {
    sqlite3_changeset_iter* all = nullptr;
    REQUIRE(sqlite3changeset_start(&all, static_cast<int>(changeset.size()), const_cast<uint8_t*>(changeset.data())) ==
            SQLITE_OK);
    Changes changes;
    while (sqlite3changeset_next(all) == SQLITE_ROW) {
      const char* table = nullptr;
      int columns = 0, operation = 0, indirect = 0;
      REQUIRE(sqlite3changeset_op(all, &table, &columns, &operation, &indirect) == SQLITE_OK);
      unsigned char* in_key = nullptr;
      REQUIRE(sqlite3changeset_pk(all, &in_key, nullptr) == SQLITE_OK);
      Change change;
      change.what = operation == SQLITE_INSERT ? "CREATE" : operation == SQLITE_DELETE ? "DELETE" : "UPDATE";
      std::string key;
      const auto declared = declared_columns(*schema_.find(table));
      for (int i = 0; i < columns; i++) {
        sqlite3_value *before = nullptr, *after = nullptr;
        if (operation != SQLITE_INSERT) REQUIRE(sqlite3changeset_old(all, i, &before) == SQLITE_OK);
        if (operation != SQLITE_DELETE) REQUIRE(sqlite3changeset_new(all, i, &after) == SQLITE_OK);
        if (operation != SQLITE_INSERT) change.before.push_back(text_of(before));
        if (operation != SQLITE_DELETE) change.after.push_back(text_of(after));
        if (!in_key[i]) continue;
        const std::string& value = *(operation == SQLITE_INSERT ? change.after : change.before).back();
        change.ambiguous |= is_ambiguous(*declared.at(static_cast<size_t>(i)), value);
        key += value;
      }
      changes[table][key] = std::move(change);
    }
    REQUIRE(sqlite3changeset_finalize(all) == SQLITE_OK);
    return changes;
  }

  Values values_of(const Table& table, ByteView record, int64_t rowid) {
    RowIdentity identity(table);
    Bytes canonical = to_bytes(must(identity.canonical(record)));
    auto values = decode_record(canonical);
    REQUIRE(values);
    Values all;
    for (size_t c = 0; c < table.columns.size(); c++) {
      if (table.columns[c].virtual_generated || table.columns[c].stored_generated) continue;
      Value v = (*values)[static_cast<size_t>(table.field_of(static_cast<int>(c)))];
      if (static_cast<int>(c) == table.rowid_alias) {
        v.type = ValueType::integer;
        v.integer = rowid;
      }
      if (v.type == ValueType::real && v.real == 0) v.real = 0;
      all.push_back(show(v));
    }
    return all;
  }

  Changes logged(const std::vector<LoggedAction>& actions) {
    Changes changes;
    for (auto& action : actions) {
      const Table* table = schema_.find(action.table);
      REQUIRE(table);
      // The extension needs a declared key.
      if (!table->has_declared_key()) continue;
      const int64_t rowid = action.rowid.value_or(0);
      Change change;
      change.what = to_string(action.kind);
      if (!action.before.empty())
        change.before = values_of(*table, action.before, action.previous_rowid.value_or(rowid));
      if (!action.after.empty()) change.after = values_of(*table, action.after, rowid);
      // Another rowid under the same key is nothing the extension sees.
      if (change.before == change.after) continue;
      std::string key;
      bool whole = true;
      const Values& from = change.before.empty() ? change.after : change.before;
      size_t at = 0;
      for (size_t c = 0; c < table->columns.size(); c++) {
        if (table->columns[c].virtual_generated || table->columns[c].stored_generated) continue;
        bool in_key = static_cast<int>(c) == table->rowid_alias ||
                      std::find(table->key_columns.begin(), table->key_columns.end(), static_cast<int>(c)) !=
                          table->key_columns.end();
        if (in_key) {
          key += *from[at];
          change.ambiguous |= is_ambiguous(table->columns[c], *from[at]);
          whole = whole && *from[at] != "n;";
        }
        at++;
      }
      // Nor does it see rows whose key holds NULL.
      if (whole && !change.ambiguous) changes[table->name][key] = std::move(change);
    }
    return changes;
  }

  const Schema& schema_;
};

class SessionOracle {
 public:
  // Of what another connection does to this till's database, where it is attached under that name.
  SessionOracle(Till& till, Connection& writer, std::string attached_as)
      : till_(till), writer_(writer), name_(std::move(attached_as)) {}
  explicit SessionOracle(Till& till) : SessionOracle(till, till.app, "main") {}
  ~SessionOracle() { end(); }
  SessionOracle(const SessionOracle&) = delete;

  // From here on the application's connection is recorded; one transaction, then check().
  void begin() {
    end();
    logged_before_ = till_.capturer->status().sequence;
    REQUIRE(sqlite3session_create(writer_.handle(), name_.c_str(), &session_) == SQLITE_OK);
    REQUIRE(sqlite3session_attach(session_, nullptr) == SQLITE_OK);
  }

  // Everything is captured. Says how many changes were compared.
  size_t check() {
    int size = 0;
    void* raw = nullptr;
    REQUIRE(sqlite3session_changeset(session_, &size, &raw) == SQLITE_OK);
    std::unique_ptr<void, void (*)(void*)> keep(raw, sqlite3_free);
    const Schema schema = till_.schema();
    return ChangesetComparison(schema).check({static_cast<const uint8_t*>(raw), static_cast<size_t>(size)},
                                             logged_after(*till_.state, till_.database_id, logged_before_));
  }

 private:
  void end() {
    if (session_) sqlite3session_delete(session_);
    session_ = nullptr;
  }

  Till& till_;
  Connection& writer_;
  const std::string name_;
  Sequence logged_before_ = 0;
  sqlite3_session* session_ = nullptr;
};

}  // namespace tillsync::test
