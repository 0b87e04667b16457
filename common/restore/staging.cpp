#include "restore/staging.h"

#include <algorithm>
#include <future>

#include "actionlog/log_writer.h"
#include "base/checks.h"
#include "base/ordered_workers.h"
#include "capture/count_tables.h"
#include "capture/page_cache.h"

namespace tillsync {

namespace {

constexpr uint64_t kStateBytesMax = 64 << 20;  // digests of every table, and failures

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
  return count_tables(*pages, pages->count(), nullptr, worker_threads());
}

// The copy is opened without a WAL, which the application's mode would ask for.
Result<void> Staging::set_journal_mode_bytes(uint8_t value) {
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::read_write));
  TILLSYNC_LET(uint64_t size, file->size());
  if (size == 0) return {};
  uint8_t both[2] = {value, value};
  return file->write(18, both);
}

Result<void> Staging::fill(const RestorePlan& plan, const Progress& progress, bool to_keep) {
  // The rest of an interrupted replay would be rolled into the new content.
  TILLSYNC_TRY(remove_staged(files_, path_));
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::create_new));
  TILLSYNC_TRY(materialize(
      store_, plan.chain, *file, [&](uint64_t done, uint64_t total) { return !progress || progress(0, done, total); },
      to_keep));
  uint8_t mode[1] = {1};
  TILLSYNC_LET(size_t got, file->read(18, mode));
  journal_mode_ = got == 1 ? mode[0] : 1;
  outcome_ = {};
  durable_ = false;
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

Result<void> Staging::put_in(Connection& db) {
  if (durable_) TILLSYNC_TRY(db.execute("PRAGMA synchronous=FULL"));
  TILLSYNC_LET(const int64_t busy, db.query_integer("PRAGMA wal_checkpoint(TRUNCATE)"));
  if (busy) return Error{ErrorKind::internal, 0, path_ + ": its log could not be put into it"};
  return {};
}

// The file changes at the end alone: no checkpoint comes before, neither one by itself nor that of a close.
Result<void> Staging::write_aside(const RestorePlan& plan, StagedAs as,
                                  const std::function<Result<void>(Connection&)>& work, const Json& notes) {
  auto done = [&]() -> Result<void> {
    TILLSYNC_TRY(set_journal_mode_bytes(2));
    TILLSYNC_LET(auto db, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
    sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    TILLSYNC_TRY(
        db.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
                   "PRAGMA synchronous=OFF; PRAGMA cache_size=-8192"));
    TILLSYNC_TRY(work(db));
    if (durable_) {
      // A log that changed nothing may not be there.
      auto log = files_.open(path_ + "-wal", OpenMode::read_write);
      if (log) TILLSYNC_TRY((*log)->sync());
      if (!log && log.error().kind != ErrorKind::not_found) return std::move(log).error();
      TILLSYNC_TRY(write_state(plan, as, true, notes));
    }
    return put_in(db);
  }();
  if (!done) {
    // With a state that names the log, the log stays.
    if (auto state = files_.stat(state_path()); !durable_ || !state) (void)drop_aside().has_value();
    return done;
  }
  TILLSYNC_LET(auto info, files_.stat(path_));
  outcome_.bytes = info.size;
  if (as == StagedAs::changed) TILLSYNC_TRY(count_anew());
  // A state that names the log must not outlive it.
  if (durable_) TILLSYNC_TRY(write_state(plan, as, false, notes));
  return drop_aside();
}

Result<void> Staging::count_anew() {
  TILLSYNC_LET(expected_, count_tables(files_, path_));
  std::sort(expected_.begin(), expected_.end());
  return {};
}

Result<void> Staging::drop_aside() {
  auto removed = files_.remove(path_ + "-wal");
  if (!removed && removed.error().kind != ErrorKind::not_found) return removed;
  return set_journal_mode_bytes(1);
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
  const RestoreOutcome outcome = outcome_;
  const std::vector<TableDigest> expected = expected_;
  auto replayed = write_aside(
      plan, StagedAs::replayed,
      [&](Connection& db) -> Result<void> {
        TILLSYNC_TRY(db.execute("PRAGMA foreign_keys=OFF"));  // without effect inside a transaction
        // One transaction around all: a page that changes a hundred times is written once.
        TILLSYNC_LET(auto all, Transaction::begin(db));
        TILLSYNC_TRY(apply_log(db, schema, plan, keep_going, progress));
        return all.commit();
      },
      nullptr);
  if (!replayed) {
    outcome_ = outcome;
    expected_ = expected;
  }
  return replayed;
}

Result<void> Staging::change(const RestorePlan& plan, const std::function<Result<void>(Connection&)>& work,
                             const Json& notes) {
  return write_aside(plan, StagedAs::changed, work, notes);
}

Result<void> Staging::forget_state() {
  auto removed = files_.remove(state_path());
  if (!removed) return removed.error().kind == ErrorKind::not_found ? Result<void>() : std::move(removed);
  // Its name must not come back with a power cut.
  return files_.sync_directory(directory_of(path_));
}

Result<void> Staging::keep(const RestorePlan& plan) {
  {
    TILLSYNC_LET(auto file, files_.open(path_, OpenMode::read_write));
    TILLSYNC_TRY(file->sync());
  }
  TILLSYNC_TRY(write_state(plan, StagedAs::filled, false, nullptr));
  durable_ = true;
  return {};
}

// in_log: it is so with what is in the log beside the file.
Result<void> Staging::write_state(const RestorePlan& plan, StagedAs as, bool in_log, const Json& notes) {
  Json state{{"as", static_cast<int>(as)},
             {"in_log", in_log},
             {"snapshot", plan.chain.target().uuid.str()},
             {"to_transaction", plan.transaction},
             {"journal_mode", journal_mode_},
             {"tables", to_hex(encode_digests(expected_))},
             {"sequence", outcome_.sequence},
             {"transaction", outcome_.transaction},
             {"bytes", outcome_.bytes},
             {"actions_replayed", outcome_.actions_replayed},
             {"note", outcome_.note},
             {"page_level", outcome_.page_level},
             {"failures", Json::array()},
             {"notes", notes}};
  for (auto& f : outcome_.failures) state["failures"].push_back({f.sequence, f.table, f.entity, f.reason});
  const std::string text = state.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::string unfinished = state_path() + ".tmp";
  auto old = files_.remove(unfinished);
  if (!old && old.error().kind != ErrorKind::not_found) return old;
  {
    TILLSYNC_LET(auto out, files_.open(unfinished, OpenMode::create_new));
    TILLSYNC_TRY(out->write(0, as_bytes(text)));
    TILLSYNC_TRY(out->sync());
  }
  TILLSYNC_TRY(files_.rename(unfinished, state_path()));
  return files_.sync_directory(directory_of(path_));
}

Result<std::optional<Staging::TakenUp>> Staging::take_up(const RestorePlan& plan) {
  const std::optional<TakenUp> none;
  auto opened = files_.open(state_path(), OpenMode::read);
  if (!opened && opened.error().kind == ErrorKind::not_found) return none;
  if (!opened) return std::move(opened).error();
  TILLSYNC_LET(const uint64_t size, (*opened)->size());
  Bytes text(std::min<uint64_t>(size, kStateBytesMax));
  TILLSYNC_LET(const size_t got, (*opened)->read(0, text));
  const Json state = Json::parse(as_text(ByteView(text).first(got)), nullptr, false);
  TakenUp taken;
  bool in_log = false;
  try {
    if (state.at("snapshot") != plan.chain.target().uuid.str() || state.at("to_transaction") != plan.transaction)
      return none;
    taken.as = static_cast<StagedAs>(state.at("as").get<int>());
    taken.notes = state.at("notes");
    in_log = state.at("in_log");
    RestoreOutcome outcome;
    outcome.sequence = state.at("sequence");
    outcome.transaction = state.at("transaction");
    outcome.bytes = state.at("bytes");
    outcome.actions_replayed = state.at("actions_replayed");
    outcome.note = state.at("note");
    outcome.page_level = state.at("page_level");
    for (auto& f : state.at("failures")) outcome.failures.push_back({f.at(0), f.at(1), f.at(2), f.at(3)});
    Bytes tables;
    if (!from_hex(state.at("tables").get<std::string>(), tables)) return none;
    ByteReader in{tables};
    auto expected = decode_digests(in);
    auto there = files_.stat(path_);
    if (!expected || !there || (!in_log && there->size != outcome.bytes)) return none;
    if (in_log && !files_.stat(path_ + "-wal")) return none;
    journal_mode_ = state.at("journal_mode");
    expected_ = std::move(*expected);
    outcome_ = std::move(outcome);
  } catch (const Json::exception&) {
    return none;  // of another version
  }
  durable_ = true;
  if (in_log) {
    {
      TILLSYNC_TRY(set_journal_mode_bytes(2));
      TILLSYNC_LET(auto db, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
      TILLSYNC_TRY(db.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=0"));
      TILLSYNC_LET(const int64_t pages, db.query_integer("PRAGMA page_count"));  // reads the log
      if (pages == 0) return none;
      TILLSYNC_TRY(put_in(db));
    }
    TILLSYNC_LET(auto info, files_.stat(path_));
    outcome_.bytes = info.size;
  }
  if (in_log && taken.as == StagedAs::changed) TILLSYNC_TRY(count_anew());
  if (in_log) TILLSYNC_TRY(write_state(plan, taken.as, false, taken.notes));
  if (!outcome_.page_level) TILLSYNC_TRY(drop_aside());
  return std::optional(std::move(taken));
}

Result<void> remove_staged(FileSystem& files, const std::string& path) {
  bool any = false;
  for (const char* suffix : {".state", ".state.tmp", "-journal", "-wal", ""}) {
    auto removed = files.remove(path + suffix);
    if (!removed && removed.error().kind != ErrorKind::not_found) return removed;
    any = any || removed;
  }
  return any ? files.sync_directory(directory_of(path)) : Result<void>();
}

Result<void> Staging::apply_log(Connection& db, std::shared_ptr<const Schema> schema, const RestorePlan& plan,
                                bool keep_going, const Progress& progress) {
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

Result<void> Staging::seal() {
  if (!outcome_.page_level) TILLSYNC_TRY(set_journal_mode_bytes(journal_mode_));
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::read_write));
  TILLSYNC_TRY(file->sync());
  return files_.sync_directory(directory_of(path_));
}

}  // namespace tillsync
