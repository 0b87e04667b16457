// random_writer: the random application, as a process of its own. It owns its connection, and dies when it is told to.
//
//   random_writer DATABASE SEED FIRST_NAME ROWS_MAX PRAGMAS
//
// Reads requests from its input, one a line, and writes a WriterAnswer to its output after each:
//   create            the tables, where there are none
//   transaction       one, recorded by the session extension
//   transactions N    so many, with maintenance in between, waiting for locks as applications do
//   maintenance       VACUUM, a checkpoint, ANALYZE, …
//   pragma TEXT       answers with its first value
//   reserve N         bytes at the end of each page: before the first table
//   copy PATH         by SQLite's own backup
//   rows TABLE        answers with every row: for a person
//   die AFTER N       the next request ends in SIGKILL: before its Nth statement; or with `write`, in the middle of its
//   Nth
//                     write to a file; or with `end`, before it answers
//   quit              closes the connection
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "differential/random_database.h"
#include "differential/writer_answer.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  while (true) ::pause();
}

// SQLite's own way to its files, with a trap in it.
uint64_t writes_left = 0;
ssize_t write_or_die(int file, const void* bytes, size_t size) {
  if (writes_left && --writes_left == 0) {
    (void)!::write(file, bytes, size / 2);
    die();
  }
  return ::write(file, bytes, size);
}
ssize_t pwrite_or_die(int file, const void* bytes, size_t size, off_t at) {
  if (writes_left && --writes_left == 0) {
    (void)!::pwrite(file, bytes, size / 2, at);
    die();
  }
  return ::pwrite(file, bytes, size, at);
}
void set_traps() {
  auto* vfs = sqlite3_vfs_find(nullptr);
  vfs->xSetSystemCall(vfs, "write", reinterpret_cast<sqlite3_syscall_ptr>(write_or_die));
  vfs->xSetSystemCall(vfs, "pwrite", reinterpret_cast<sqlite3_syscall_ptr>(pwrite_or_die));
  vfs->xSetSystemCall(vfs, "pwrite64", reinterpret_cast<sqlite3_syscall_ptr>(pwrite_or_die));
}

Value value_of(const Statement& row, int column) {
  Value v;
  switch (sqlite3_column_type(row.handle(), column)) {
    case SQLITE_INTEGER:
      v.type = ValueType::integer;
      v.integer = row.integer(column);
      break;
    case SQLITE_FLOAT:
      v.type = ValueType::real;
      v.real = row.real(column);
      break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
      v.type = sqlite3_column_type(row.handle(), column) == SQLITE_TEXT ? ValueType::text : ValueType::blob;
      v.bytes = row.blob(column);
      break;
    default: break;
  }
  return v;
}

// Reads all tables; keeps its statements as long as the schema stays.
class Reader {
 public:
  explicit Reader(Connection& db) : db_(db) {}
  ContentSum content() {
    need(db_.execute("BEGIN"));
    const int64_t version = need(db_.query_integer("PRAGMA schema_version"));
    if (version != version_) prepare();
    version_ = version;
    ContentSum content;
    for (auto& [name, select] : tables_) {
      TableSum& sum = content[name];
      const int columns = sqlite3_column_count(select.handle());
      while (need(select.step())) {
        RowHash hash;
        for (int i = 0; i < columns; i++) hash.add(value_of(select, i));
        sum.add(hash.row());
      }
    }
    need(db_.execute("COMMIT"));
    return content;
  }
  // Rowids count where they name the row.
  static std::string select_of(Connection& db, const std::string& name) {
    std::string columns;
    bool keyless = true;
    auto info = need(db.prepare("SELECT name, hidden, pk FROM pragma_table_xinfo(?) ORDER BY cid"));
    info.bind(1, name);
    while (need(info.step())) {
      if (info.integer(2) > 0) keyless = false;
      if (info.integer(1) == 0 || info.integer(1) == 3) columns += ", " + quote_identifier(info.text(0));
    }
    return "SELECT " + std::string(keyless ? "rowid" : "NULL") + columns + " FROM " + quote_identifier(name);
  }

 private:
  void prepare() {
    tables_.clear();
    auto names = need(
        db_.prepare("SELECT m.name FROM sqlite_schema m JOIN pragma_table_list l ON l.name=m.name AND l.schema='main'"
                    " WHERE m.type='table' AND l.type<>'virtual' AND m.name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\'"));
    while (need(names.step())) {
      std::string name = names.text(0);
      tables_.emplace_back(name, need(db_.prepare(select_of(db_, name))));
    }
  }
  Connection& db_;
  int64_t version_ = -1;
  std::vector<std::pair<std::string, Statement>> tables_;
};

std::string rows_of(Connection& db, const std::string& name) {
  std::string all;
  auto select = need(db.prepare(Reader::select_of(db, name)));
  while (need(select.step())) {
    for (int i = 0; i < sqlite3_column_count(select.handle()); i++) all += text_of(value_of(select, i));
    all += '\n';
  }
  return all;
}

void copy(Connection& from, const std::string& path) {
  auto to = need(Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  need(to.execute("PRAGMA synchronous=OFF"));
  auto* backup = sqlite3_backup_init(to.handle(), "main", from.handle(), "main");
  if (!backup || sqlite3_backup_step(backup, -1) != SQLITE_DONE || sqlite3_backup_finish(backup) != SQLITE_OK)
    throw std::runtime_error("can't copy to " + path);
}

void answer(const WriterAnswer& what) {
  const Bytes message = what.encode();
  for (size_t done = 0; done < message.size();) {
    const ssize_t n = ::write(STDOUT_FILENO, message.data() + done, message.size() - done);
    if (n <= 0) throw std::runtime_error("nobody listens");
    done += static_cast<size_t>(n);
  }
}

class Writer {
 public:
  Writer(const std::string& path, uint64_t seed, int first_name, uint64_t rows_max, const std::string& pragmas)
      : random_(seed),
        db_(need(Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE))),
        application_(db_, random_, first_name, rows_max),
        reader_(db_) {
    need(db_.execute(pragmas));
    // All that was done, to a file: for a person.
    const char* trace = std::getenv("TILLSYNC_DIFFERENTIAL_TRACE");
    application_.on_statement = [this, trace](const std::string& sql) {
      if (statements_left_ && --statements_left_ == 0) die();
      if (!trace) return;
      if (auto* file = std::fopen(trace, "a")) {
        std::fprintf(file, "%d: %s;\n", static_cast<int>(::getpid()), sql.c_str());
        std::fclose(file);
      }
    };
  }

  // False at the end.
  bool serve(const std::string& line) {
    std::istringstream words(line);
    std::string what, rest;
    words >> what;
    std::getline(words >> std::ws, rest);
    WriterAnswer out;
    if (what == "die") {
      std::istringstream(rest) >> death_ >> death_at_;
      return true;  // takes effect with the next request
    }
    if (death_ == "statement") statements_left_ = death_at_;
    if (death_ == "write") writes_left = death_at_;
    // Where the capture does not run meanwhile, there is nothing to wait for.
    sqlite3_busy_timeout(db_.handle(), what == "transactions" ? 10000 : 0);
    if (what == "create") {
      application_.create();
    } else if (what == "transaction") {
      transaction(out);
    } else if (what == "transactions") {
      transactions(std::stoull(rest), out);
    } else if (what == "maintenance") {
      out.schema_kept = application_.maintenance();
    } else if (what == "pragma") {
      auto value = db_.query_text("PRAGMA " + rest);
      out.text = value ? *value : "error: " + value.error().context;
    } else if (what == "reserve") {
      int bytes = std::stoi(rest);
      sqlite3_file_control(db_.handle(), "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
    } else if (what == "copy") {
      copy(db_, rest);
    } else if (what == "rows") {
      out.text = rows_of(db_, rest);
    } else if (what == "quit") {
      return false;
    } else {
      throw std::runtime_error("unknown request: " + line);
    }
    if (!death_.empty()) die();
    out.content = reader_.content();
    answer(out);
    return true;
  }

 private:
  void transaction(WriterAnswer& out) {
    sqlite3_session* session = nullptr;
    if (sqlite3session_create(db_.handle(), "main", &session) != SQLITE_OK ||
        sqlite3session_attach(session, nullptr) != SQLITE_OK)
      throw std::runtime_error("no session");
    out.transactions = 1;
    out.schema_kept = application_.transaction().schema_kept;
    int size = 0;
    void* raw = nullptr;
    // Where the schema changed, it may not be able to say.
    const int code = sqlite3session_changeset(session, &size, &raw);
    if (code == SQLITE_OK)
      out.changeset.assign(static_cast<uint8_t*>(raw), static_cast<uint8_t*>(raw) + size);
    else if (out.schema_kept)
      throw std::runtime_error("no changeset: " + std::to_string(code));
    sqlite3_free(raw);
    sqlite3session_delete(session);
  }
  void transactions(uint64_t count, WriterAnswer& out) {
    for (; out.transactions < count; out.transactions++) application_.transaction();
    out.schema_kept = false;
  }

  SeededRandom random_;
  Connection db_;
  RandomDatabase application_;
  Reader reader_;
  std::string death_;
  uint64_t death_at_ = 0, statements_left_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    set_traps();
    Writer writer(argv[1], std::stoull(argv[2]), std::stoi(argv[3]), std::stoull(argv[4]), argv[5]);
    for (std::string line; std::getline(std::cin, line);)
      if (!writer.serve(line)) return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "random_writer: %s\n", error.what());
    return 3;
  }
  return 0;
}
