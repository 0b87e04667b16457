#include "restore/staging.h"

#include <algorithm>

#include "base/checks.h"
#include "capture/count_tables.h"
#include "capture/page_cache.h"

namespace tillsync {

namespace {

// Pages of a plain database file.
class FilePages : public PageReader {
 public:
  static Result<std::unique_ptr<FilePages>> open(FileSystem& files, const std::string& path) {
    auto pages = std::make_unique<FilePages>();
    TILLSYNC_LET(pages->file_, files.open(path, OpenMode::read));
    TILLSYNC_LET(uint64_t size, pages->file_->size());
    if (size == 0) return pages;
    uint8_t first[100];
    TILLSYNC_LET(size_t got, pages->file_->read(0, first));
    TILLSYNC_LET(pages->header_, DatabaseHeader::parse({first, got}));
    pages->count_ = static_cast<PageNo>(size / pages->header_.page_size);
    return pages;
  }
  Result<PageRef> page(PageNo number) override {
    if (PageRef cached = cache_.get(number)) return cached;
    PageRef page = PageRef::allocate(header_.page_size);
    TILLSYNC_LET(size_t got, file_->read(uint64_t{number - 1} * header_.page_size, page.mutable_view()));
    if (got != header_.page_size) return page_error(number, "lies outside the database");
    cache_.put(number, page);
    return page;
  }
  PageNo count() const { return count_; }

 private:
  std::unique_ptr<File> file_;
  DatabaseHeader header_;
  PageNo count_ = 0;
  PageCache cache_{1 << 20};
};

}  // namespace

Result<std::vector<TableDigest>> count_tables(FileSystem& files, const std::string& path) {
  TILLSYNC_LET(auto pages, FilePages::open(files, path));
  return count_tables(*pages, pages->count());
}

// The copy is opened without a WAL, which the application's mode would ask for.
Result<void> Staging::set_journal_mode_bytes(uint8_t value) {
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::read_write));
  TILLSYNC_LET(uint64_t size, file->size());
  if (size == 0) return {};
  uint8_t both[2] = {value, value};
  return file->write(18, both);
}

Result<void> Staging::fill(const RestorePlan& plan, const Progress& progress) {
  // The rest of an interrupted replay would be rolled into the new content.
  for (const char* suffix : {"", "-journal", "-wal"}) {
    auto removed = files_.remove(path_ + suffix);
    if (!removed && removed.error().kind != ErrorKind::not_found) return removed;
  }
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::create_new));
  TILLSYNC_TRY(materialize(store_, plan.chain, *file,
                           [&](uint64_t done, uint64_t total) { return !progress || progress(0, done, total); }));
  uint8_t mode[1] = {1};
  TILLSYNC_LET(size_t got, file->read(18, mode));
  journal_mode_ = got == 1 ? mode[0] : 1;
  TILLSYNC_LET(outcome_.bytes, file->size());
  file.reset();
  expected_ = plan.chain.target().tables;
  std::sort(expected_.begin(), expected_.end());
  outcome_.sequence = plan.chain.target().sequence;
  outcome_.transaction = plan.chain.target().transaction;
  outcome_.page_level = plan.chain.target().is_page_level();
  // Of a damaged database no byte is ours to change.
  return outcome_.page_level ? Result<void>() : set_journal_mode_bytes(1);
}

// What can be reached next to a change of schema.
Result<std::string> Staging::around(const RestorePlan& plan, const Replayer& replayer) {
  std::string text = "transaction " + std::to_string(replayer.position());
  TILLSYNC_LET(auto manifests, list_manifests(store_, plan.lineage));
  const Manifest* next = nullptr;
  for (auto& m : manifests)
    if (!m.is_page_level() && m.sequence >= *replayer.barrier() && (!next || m.transaction < next->transaction))
      next = &m;
  if (next)
    text += ", and after it snapshot " + next->uuid.str() + " (transaction " + std::to_string(next->transaction) + ")";
  return text;
}

Result<void> Staging::replay(const RestorePlan& plan, bool keep_going, const Progress& progress) {
  if (plan.segments.empty()) return {};
  std::shared_ptr<const Schema> schema;
  {
    TILLSYNC_LET(auto pages, FilePages::open(files_, path_));
    TILLSYNC_LET(Image image, image_of(*pages, pages->count()));
    TILLSYNC_LET(Schema read, schema_of(image));
    schema = std::make_shared<const Schema>(std::move(read));
  }
  TILLSYNC_LET(auto db, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
  // Not synced until it is proven; a crash starts again from the snapshot.
  TILLSYNC_TRY(db.execute(
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA cache_size=-8192"));
  TILLSYNC_LET(auto replayer, Replayer::create(db, schema, expected_, outcome_.transaction, keep_going));
  LogReader reader(store_, plan.lineage);
  uint64_t bytes = 0, total = 0;
  for (auto& segment : plan.segments) total += segment.size;
  auto show = [&](uint64_t actions) { return !progress || progress(actions, bytes, total); };
  for (size_t i = 0; i < plan.segments.size(); i++) {
    const SegmentObject* object = &plan.segments[i];
    TILLSYNC_LET(Segment segment, reader.read(*object));
    auto applied = replayer->apply(segment, plan.transaction, show);
    const TransactionNo spread = segment.head.flags & kEndsInside ? segment.head.last_transaction : 0;
    if (applied && spread > replayer->position() && spread <= plan.transaction) {
      segment = {};
      // What it changes may be more than memory should hold: its journal is a file.
      TILLSYNC_TRY(db.execute("PRAGMA journal_mode=DELETE"));
      auto parts = replayer->apply_spread(
          [&](size_t part) -> Result<Segment> {
            if (i + part >= plan.segments.size())
              return Error{ErrorKind::corrupt, 0, "the log ends inside transaction " + std::to_string(spread)};
            return reader.read(plan.segments[i + part]);
          },
          show);
      if (!parts) {
        applied = std::move(parts).error();
      } else {
        TILLSYNC_TRY(db.execute("PRAGMA journal_mode=MEMORY"));
        // The last part may hold more than the end of it.
        for (size_t done = 0; done + 1 < *parts; done++) bytes += plan.segments[i++].size;
        object = &plan.segments[i];
        TILLSYNC_LET(segment, reader.read(*object));
        applied = replayer->apply(segment, plan.transaction, show);
      }
    }
    if (!applied && replayer->barrier()) {
      TILLSYNC_LET(std::string reachable, around(plan, *replayer));
      std::string why = "the snapshot that belongs to the change of schema at sequence " +
                        std::to_string(*replayer->barrier()) + " is not in the store before it";
      if (!plan.newest)
        return Error{ErrorKind::schema, 0,
                     object->key + ": the asked moment can't be reached, because " + why + "; restore to " + reachable};
      outcome_.note = "restored to transaction " + std::to_string(replayer->position()) + " and not to " +
                      std::to_string(plan.transaction) + ", the newest in the log: " + why;
      break;
    }
    if (!applied) return std::move(applied).error().with(object->key);
    bytes += object->size;
    // Where capture had counted the tables, the log must lead to the same.
    bool whole = segment.head.last_transaction <= plan.transaction && segment.head.state != Digest{} &&
                 replayer->failures().empty();
    if (whole && state_digest(replayer->digests()) != segment.head.state)
      return Error{ErrorKind::corrupt, 0, object->key + ": its rows do not lead to the digests it states"};
  }
  if (replayer->position() != plan.transaction && outcome_.note.empty())
    return Error{ErrorKind::corrupt, 0,
                 "the log ends at transaction " + std::to_string(replayer->position()) + ", before the asked " +
                     std::to_string(plan.transaction)};
  expected_ = replayer->digests();
  outcome_.sequence = outcome_.note.empty() ? plan.sequence : *replayer->barrier() - 1;
  outcome_.transaction = replayer->position();
  outcome_.actions_replayed = replayer->actions_applied();
  outcome_.failures = replayer->failures();
  replayer.reset();
  db.close();
  TILLSYNC_LET(auto info, files_.stat(path_));
  outcome_.bytes = info.size;
  return {};
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

Result<RestoreOutcome> Staging::prove(const Progress& progress) {
  if (progress && !progress(0, 0, outcome_.bytes)) return Error{ErrorKind::cancelled, 0, "stopped before the proof"};
  // Its pages are as they were read: each was compared with its SHA-256 on the way here. Nothing is known of its rows.
  if (outcome_.page_level) return outcome_;
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
  TILLSYNC_LET(auto info, files_.stat(path_));
  if (info.size > 0) {
    TILLSYNC_LET(auto db, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
    TILLSYNC_TRY(db.execute(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=MEMORY; PRAGMA query_only=ON; PRAGMA cache_size=-8192;"
        // Rows that the application stored past its own CHECK are as it had them.
        " PRAGMA ignore_check_constraints=ON"));
    TILLSYNC_TRY(check_integrity(db));
  }
  outcome_.proven = outcome_.failures.empty();
  return outcome_;
}

Result<void> Staging::take_as_it_is() {
  TILLSYNC_LET(expected_, count_tables(files_, path_));
  std::sort(expected_.begin(), expected_.end());
  TILLSYNC_LET(auto info, files_.stat(path_));
  outcome_.bytes = info.size;
  return {};
}

Result<void> Staging::seal() {
  if (!outcome_.page_level) TILLSYNC_TRY(set_journal_mode_bytes(journal_mode_));
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::read_write));
  TILLSYNC_TRY(file->sync());
  return files_.sync_directory(directory_of(path_));
}

}  // namespace tillsync
