// The proof: every row counted and compared, and SQLite's own check.
#include <algorithm>
#include <future>

#include "base/ordered_workers.h"
#include "capture/count_tables.h"
#include "restore/file_pages.h"
#include "restore/staging.h"

namespace tillsync {

Result<std::vector<TableDigest>> count_tables(FileSystem& files, const std::string& path) {
  TILLSYNC_LET(auto pages, FilePages::open(files, path));
  return count_tables(*pages, pages->count(),
                      CountingWorkers{worker_threads(), [&]() -> Result<std::unique_ptr<PageReader>> {
                                        TILLSYNC_LET(auto own, FilePages::open(files, path));
                                        return own;
                                      }});
}

namespace {

// What integrity_check says of a value, whose row and index entries are sound: NULL past a NOT NULL that came later,
// text that looks like a number written by the blob interface, another type than a STRICT table declares.
bool is_about_a_value(std::string_view answer) {
  for (std::string_view kind :
       {"NULL", "TEXT", "NUMERIC", "non-ANY", "non-BLOB", "non-INT", "non-INTEGER", "non-REAL", "non-TEXT"})
    if (answer.starts_with(std::string(kind) + " value in ")) return true;
  return false;
}

// A page that could not be read is told as a finding, too, and is none: "… unable to get the page. error code=266".
Result<void> unless_unread(Connection& db, const std::string& answer) {
  constexpr std::string_view kCode = "error code=";
  const auto at = answer.find(kCode);
  if (at == std::string::npos) return {};
  const int code = std::atoi(answer.c_str() + at + kCode.size());
  const int primary = code & 0xff;
  if (primary != SQLITE_IOERR && primary != SQLITE_FULL && primary != SQLITE_NOMEM) return {};
  return sqlite_error(code, "integrity_check", db.handle());
}

}  // namespace

// The whole check does not run where a table needs a collation, a function or a tokenizer that only the application
// has. Then each table is checked for itself, and those for which that does not run either are named in the note: their
// rows are proven by their digests, their indexes by the digests of the pages they came in. An answer other than "ok"
// is an error in any case, unless it is about a value: that was proven to be the application's own before.
Result<void> Staging::check_integrity(Connection& db) {
  std::string reason;
  uint64_t odd_values = 0;
  auto check = [&](const std::string& of_what) -> Result<bool> {
    auto query = db.prepare("PRAGMA integrity_check" + of_what);
    std::string answer = "no answer";
    while (true) {
      auto row = query ? query->step() : Result<bool>(query.error());
      if (!row) reason = sqlite3_errmsg(db.handle());
      // SQLITE_ERROR is about the schema or an expression in it; what is wrong in the file has codes of its own.
      if (!row && (row.error().code & 0xff) == SQLITE_ERROR) return false;
      if (!row) return std::move(row).error().with("integrity_check");
      if (!*row) break;
      answer = query->text(0);
      if (answer == "ok") continue;
      TILLSYNC_TRY(unless_unread(db, answer));
      if (!is_about_a_value(answer))
        return Error{ErrorKind::corrupt, 0, "the restored database fails integrity_check: " + answer};
      odd_values++;
    }
    if (answer == "no answer") return Error{ErrorKind::corrupt, 0, "integrity_check gives no answer"};
    return true;
  };
  auto tell_odd_values = [&] {
    if (!odd_values) return;
    outcome_.note += (outcome_.note.empty() ? "" : "; ") + std::to_string(odd_values) +
                     " values are not of the kind that their columns declare: they are as the application stored them";
  };
  // Every finding, not only the first: one about a value must not hide one about the file.
  TILLSYNC_LET(bool all, check("(2147483647)"));
  if (all) return tell_odd_values(), Result<void>();
  odd_values = 0;
  std::vector<std::string> names{"sqlite_schema"};
  {
    TILLSYNC_LET(auto tables, db.prepare("SELECT name FROM sqlite_schema WHERE type='table'"));
    while (true) {
      TILLSYNC_LET(bool row, tables.step());
      if (!row) break;
      names.push_back(tables.text(0));
    }
  }
  std::string skipped;
  for (auto& name : names) {
    TILLSYNC_LET(bool checked, check("(" + quote_identifier(name) + ")"));
    if (!checked) skipped += (skipped.empty() ? "'" : ", '") + name + "' (" + reason + ")";
  }
  tell_odd_values();
  if (skipped.empty()) return {};
  outcome_.note += (outcome_.note.empty() ? "" : "; ") +
                   ("SQLite's own check of these tables and their indexes needs the application's collations or "
                    "functions and was left out: " +
                    skipped);
  return {};
}

Result<void> Staging::check_integrity() {
  TILLSYNC_LET(auto db, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
  TILLSYNC_TRY(db.execute(
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=MEMORY; PRAGMA query_only=ON; PRAGMA cache_size=-8192;"
      // Rows that the application stored past its own CHECK are as it had them.
      " PRAGMA ignore_check_constraints=ON"));
  return check_integrity(db);
}

Result<void> Staging::compare_tables() {
  TILLSYNC_LET(auto counted, count_tables(files_, path_));
  outcome_.tables.clear();
  std::string wrong;
  for (auto& expected : expected_) {
    auto found = std::find_if(counted.begin(), counted.end(), [&](auto& c) { return c.name == expected.name; });
    bool ok = found != counted.end() && *found == expected;
    outcome_.tables.push_back({expected.name, found == counted.end() ? 0 : found->rows, ok});
    if (ok || !wrong.empty()) continue;
    wrong = "table '" + expected.name + "'";
    wrong += found == counted.end() ? " is missing"
             : found->rows != expected.rows
                 ? " has " + std::to_string(found->rows) + " rows instead of " + std::to_string(expected.rows)
                 : " has the right number of rows but another content";
  }
  if (wrong.empty() && counted.size() != expected_.size()) wrong = "there are tables nobody stated";
  // With actions left out, as keep_going asks, tables may differ: each says so, and nothing is called proven.
  if (!wrong.empty() && outcome_.failures.empty())
    return Error{ErrorKind::corrupt, 0, "the restored database does not match its proof: " + wrong};
  return {};
}

Result<RestoreOutcome> Staging::prove(const Progress& progress, SqliteCheck check) {
  if (progress && !progress(0, 0, outcome_.bytes)) return Error{ErrorKind::cancelled, 0, "stopped before the proof"};
  // Its pages are as they were read: each was compared with its SHA-256 on the way here. Nothing is known of its rows.
  if (outcome_.page_level) return outcome_;
  TILLSYNC_LET(auto info, files_.stat(path_));
  // SQLite's own check and ours read at the same time, each in a connection of its own.
  std::future<Result<void>> checked;
  if (info.size > 0 && check == SqliteCheck::run)
    checked = std::async(std::launch::async, [this] { return check_integrity(); });
  auto compared = compare_tables();
  Result<void> sound = checked.valid() ? checked.get() : Result<void>();
  TILLSYNC_TRY(std::move(compared));
  TILLSYNC_TRY(std::move(sound));
  outcome_.proven = outcome_.failures.empty();
  if (check == SqliteCheck::run) return outcome_;
  RestoreOutcome outcome = outcome_;
  outcome.note += std::string(outcome.note.empty() ? "" : "; ") + "SQLite's own integrity_check was left out, as asked";
  return outcome;
}

}  // namespace tillsync
