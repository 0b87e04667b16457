// A till and its capturer in one process: the application's connection goes through SQLite's own VFS on a real folder,
// ours through the file port.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "capture/capturer.h"
#include "capture/logged_actions.h"
#include "dbfile/record.h"
#include "platform/this_system.h"
#include "sqlite/file_vfs.h"
#include "support/fake_clock.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

// One row as text: type and content of every field, exactly.
inline std::string show(const Value& v) {
  switch (v.type) {
    case ValueType::null: return "n;";
    case ValueType::integer: return "i" + std::to_string(v.integer) + ";";
    case ValueType::real: {
      char text[40];
      std::snprintf(text, sizeof text, "r%.17g;", v.real);
      return text;
    }
    case ValueType::text: return "t" + to_hex(v.bytes) + ";";
    case ValueType::blob: return "b" + to_hex(v.bytes) + ";";
  }
  return "";
}

inline constexpr const char* kTable = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)";
// The log is the test's business.
inline constexpr const char* kNoCheckpoint =
    "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0";

// "WITH … g(n)": the numbers from 1 to n.
inline std::string numbers(int n) {
  return "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<" + std::to_string(n) + ") ";
}

using Rows = std::multiset<std::string>;
using Content = std::map<std::string, Rows>;  // table → rows

struct Till {
  TemporaryDirectory folder;
  SystemFiles files;
  FakeClock clock;
  SeededRandom random;
  FileSystem& ours;  // state.db and replica; the application's files are always real
  std::string our_folder;
  FileVfs vfs;
  std::string path;
  Connection app;
  std::shared_ptr<StateDb> state;
  std::unique_ptr<Capturer> capturer;
  int64_t database_id = 1;
  std::string followed_as = "pos";
  Capturer::Setup setup;

  explicit Till(uint64_t seed = 1,
                const std::string& pragmas = "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;")
      : random(seed),
        ours(files),
        our_folder(folder.path() + "/state"),
        vfs(ours, clock, random),
        path(folder.path() + "/pos.db") {
    open_application(pragmas);
    must(files.make_directories(our_folder));
    open_state();
  }
  // Our files somewhere else, e.g. where the power can be cut; their folder exists. The state is not opened yet.
  Till(uint64_t seed, const std::string& pragmas, FileSystem& our_files, const std::string& folder_of_ours)
      : random(seed),
        ours(our_files),
        our_folder(folder_of_ours),
        vfs(ours, clock, random),
        path(folder.path() + "/pos.db") {
    open_application(pragmas);
  }
  // A second database that the same agent follows.
  Till(Till& beside, const std::string& its_name, int64_t id, const std::string& pragmas)
      : random(beside.random.seed() + static_cast<uint64_t>(id)),
        ours(beside.ours),
        our_folder(beside.our_folder),
        vfs(ours, clock, random),
        path(folder.path() + "/" + its_name + ".db"),
        state(beside.state),
        database_id(id),
        followed_as(its_name) {
    open_application(pragmas);
    must(follow());
  }
  ~Till() { capturer.reset(); }

  void run(const std::string& sql) {
    auto done = app.execute(sql);
    if (!done) FAIL("SQL: " << done.error().context << " in " << sql);
  }

  void open_application(const std::string& pragmas) {
    app = must(Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    run(pragmas);
  }
  void open_state() { must(try_open_state()); }
  Result<void> try_open_state() {
    TILLSYNC_LET(state, StateDb::open(our_folder + "/state.db", vfs.name(), clock));
    return follow();
  }
  Result<void> follow() {
    TILLSYNC_TRY(state->lease()->execute("INSERT OR IGNORE INTO databases(id, name, path, created_at) VALUES(" +
                                         std::to_string(database_id) + ", '" + followed_as + "', '" + followed_as +
                                         ".db', 0)"));
    setup.name = followed_as;
    setup.path = path;
    setup.database_id = database_id;
    setup.files = &ours;
    setup.application = &files;
    setup.state = state.get();
    setup.clock = &clock;
    setup.random = &random;
    setup.folder = our_folder + "/" + followed_as;
    capturer = std::make_unique<Capturer>(setup);
    return {};
  }
  // As after SIGKILL: nothing is flushed, everything is opened anew.
  void restart() {
    capturer.reset();
    state.reset();
    open_state();
  }

  void capture() {
    std::optional<Sequence> answered;
    Error last{ErrorKind::internal, 0, "no answer"};
    capturer->request_capture([&](Result<Sequence> r) {
      if (r)
        answered = *r;
      else
        last = r.error();
    });
    for (int i = 0; i < 50 && !answered; i++) {
      capturer->step();
      clock.advance(std::chrono::milliseconds(1));
      if (auto problem = capturer->status().problem) FAIL("capture: " << problem->text);
    }
    if (!answered) FAIL("capture: " << last.context);
  }

  // What SQL says the tables hold. Rowids count where they name the entity.
  Content live() {
    Content content;
    auto tables = must(app.prepare(
        "SELECT m.name, l.wr FROM sqlite_schema m JOIN pragma_table_list l ON l.name=m.name AND l.schema='main'"
        " WHERE m.type='table' AND l.type<>'virtual' AND m.name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\'"));
    while (must(tables.step())) {
      std::string name = tables.text(0);
      Rows& rows = content[name];
      std::string columns;
      auto info = must(app.prepare("SELECT name FROM pragma_table_xinfo(?) WHERE hidden IN (0, 3) ORDER BY cid"));
      info.bind(1, name);
      while (must(info.step())) columns += ", " + quote_identifier(info.text(0));
      bool keyless = must(app.query_integer("SELECT count(*) FROM pragma_table_info('" + name + "') WHERE pk>0")) == 0;
      auto select = must(app.prepare("SELECT " + std::string(keyless ? "rowid" : "NULL") + columns + " FROM " +
                                     quote_identifier(name)));
      while (must(select.step())) {
        std::string row;
        for (int i = 0; i < sqlite3_column_count(select.handle()); i++) {
          Value v;
          switch (sqlite3_column_type(select.handle(), i)) {
            case SQLITE_INTEGER:
              v.type = ValueType::integer;
              v.integer = select.integer(i);
              break;
            case SQLITE_FLOAT:
              v.type = ValueType::real;
              v.real = select.real(i);
              break;
            case SQLITE_TEXT:
              v.type = ValueType::text;
              v.bytes = select.blob(i);
              break;
            case SQLITE_BLOB:
              v.type = ValueType::blob;
              v.bytes = select.blob(i);
              break;
            default: break;
          }
          row += show(v);
        }
        rows.insert(row);
      }
    }
    return content;
  }

  // Rows of a table of state.db, or of "table WHERE …".
  int64_t logged(const std::string& what) {
    return must(state->lease()->query_integer("SELECT count(*) FROM " + what));
  }

  Schema schema() {
    auto db = state->lease();
    auto query = must(db->prepare("SELECT s.body FROM databases d JOIN schemas s ON s.id=d.schema_id WHERE d.id=?"));
    query.bind(1, database_id);
    REQUIRE(must(query.step()));
    return must(Schema::decode(query.blob(0)));
  }
};

// As when nothing comes for idle_release: no connection of ours is left.
inline void step_until_idle(Till& till) {
  for (int i = 0; i < 2000 && till.capturer->status().mode != "idle"; i++) {
    till.clock.advance(till.capturer->step() < std::chrono::milliseconds(50) ? std::chrono::milliseconds(20)
                                                                             : std::chrono::milliseconds(500));
    if (auto problem = till.capturer->status().problem) FAIL("capture: " << problem->text);
  }
  REQUIRE(till.capturer->status().mode == "idle");
}

// Baseline plus log: strict, so that an action that does not fit is found at once.
class Model {
 public:
  explicit Model(Till& till) : till_(&till) {}

  // Takes what the tables hold now as the state after everything logged so far.
  void start() {
    sequence_ = last_sequence();
    transaction_ = 0;
    reload();
  }
  void reload() {
    rows_.clear();
    auto db = AppDatabase::open(till_->path, AppDatabase::Use::read);
    auto& app = *db;
    must(app.begin_read());
    auto reader = must(DatabaseReader::create(app));
    Image image = must(image_of(*reader, reader->page_count()));
    schema_ = must(schema_of(image));
    for (auto& table : schema_.tables) {
      if (table.is_statistics()) continue;
      RowIdentity identity(table);
      must(walk_tree(image, table.root, [&](int64_t rowid, ByteView record) -> Result<void> {
        rows_[table.name][to_bytes(must(identity.key(rowid, record)))] = to_bytes(record);
        return {};
      }));
    }
  }

  // Applies what was logged since; a change of schema reloads.
  void follow() {
    bool reload_needed = false;
    for (auto& action : logged_after(*till_->state, till_->database_id, sequence_)) {
      CHECK(action.sequence == sequence_ + 1);
      sequence_ = action.sequence;
      transaction_ = action.transaction;
      if (action.kind == ActionKind::schema || action.kind == ActionKind::renumber) {
        reload_needed = true;
        continue;
      }
      if (reload_needed) continue;
      auto& table = rows_[action.table];
      auto at = table.find(action.key);
      INFO("sequence " << action.sequence << " table " << action.table << " key " << to_hex(action.key));
      if (action.kind == ActionKind::create) {
        CHECK(at == table.end());
        CHECK(action.before.empty());
        table[action.key] = action.after;
      } else {
        REQUIRE(at != table.end());
        CHECK(at->second == action.before);
        if (action.kind == ActionKind::remove) {
          table.erase(at);
        } else {
          at->second = action.after;
        }
      }
    }
    if (reload_needed) reload();
  }

  Content content() {
    Content content;
    for (auto& table : schema_.tables) {
      if (table.is_statistics()) continue;
      Rows& rows = content[table.name];
      RowIdentity identity(table);
      for (auto& [key, record] : rows_[table.name]) {
        int64_t rowid = key[0] == 'r' ? rowid_of_key(key) : 0;
        auto canonical = must(identity.canonical(record));
        auto values = decode_record(canonical);
        REQUIRE(values);
        bool keyless = !table.has_declared_key();
        Value id;
        if (keyless) {
          id.type = ValueType::integer;
          id.integer = rowid;
        }
        std::string row = show(id);
        for (size_t c = 0; c < table.columns.size(); c++) {
          if (table.columns[c].virtual_generated) continue;
          Value v = (*values)[static_cast<size_t>(table.field_of(static_cast<int>(c)))];
          if (static_cast<int>(c) == table.rowid_alias) {
            v.type = ValueType::integer;
            v.integer = rowid;
          }
          row += show(v);
        }
        rows.insert(row);
      }
    }
    return content;
  }

  Sequence last_sequence() {
    auto db = till_->state->lease();
    return static_cast<Sequence>(
        must(db->query_integer("SELECT sequence FROM databases WHERE id=" + std::to_string(till_->database_id))));
  }
  TransactionNo transaction() const { return transaction_; }
  Sequence sequence() const { return sequence_; }

 private:
  Till* till_;
  Sequence sequence_ = 0;
  TransactionNo transaction_ = 0;
  Schema schema_;
  std::map<std::string, std::map<Bytes, Bytes>> rows_;
};

inline void check_same(const Content& logged, const Content& live) {
  for (auto& [table, rows] : live) {
    INFO("table " << table);
    auto other = logged.find(table);
    REQUIRE(other != logged.end());
    bool equal_rows = other->second == rows;
    if (!equal_rows) {
      for (auto& row : rows)
        if (!other->second.contains(row)) MESSAGE("only live: " << row.substr(0, 200));
      for (auto& row : other->second)
        if (!rows.contains(row)) MESSAGE("only logged: " << row.substr(0, 200));
    }
    CHECK(equal_rows);
  }
}

}  // namespace tillsync::test
