// What is known of a staged file, beside it: so that it is taken up after a restart.
#include "restore/staging.h"

namespace tillsync {

namespace {
constexpr uint64_t kStateBytesMax = 64 << 20;  // digests of every table, and failures
}  // namespace

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

}  // namespace tillsync
