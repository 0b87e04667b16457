// A restored database in a file of ours: filled from a snapshot, brought forward by replay, proven.
//
// Purpose: the three steps of a restore that do not touch anything live. fill() writes the snapshot's pages; replay()
// applies the log up to the moment; prove() runs integrity_check, and compares rows and digest of every table with what
// snapshot and log say. Interruptions: replay() and change() write to a log beside the file (SQLite's WAL), which is
// put into it at their end. Once keep() was called, what each step leaves is durable, and said in <path>.state; another
// process goes on there with take_up(), also where the log was only half put in. Without, everything starts again from
// fill().
//
// Memory: blocks_under_way() blocks, one segment; in the proof a row for each thread, and 8 MiB of SQLite's cache;
// never the database, nor a transaction.
//
// Errors: corrupt when something does not match its proof, with the table or the object's key; conflict and schema from
// the replay; those of store and files.
//
// Threads: one calls; blocks and the reading of rows have worker_threads() of their own, integrity_check one.
#pragma once

#include "actionlog/replay.h"
#include "base/json.h"
#include "restore/plan.h"

namespace tillsync {

struct RestoredTable {
  std::string name;
  uint64_t rows = 0;
  bool digest_ok = false;
};

struct RestoreOutcome {
  Sequence sequence = 0;
  TransactionNo transaction = 0;
  uint64_t bytes = 0;
  uint64_t actions_replayed = 0;
  std::string note;  // where it ends earlier than asked, or what SQLite could not check, and why; empty for nothing
  std::vector<RestoredTable> tables;
  std::vector<ReplayFailure> failures;  // only with keep_going
  bool proven = false;
  bool page_level = false;  // a damaged database as it was read: its rows can't be proven, and `proven` stays false
};

enum class SqliteCheck { run, leave_out };  // PRAGMA integrity_check

enum class StagedAs { filled, replayed, changed };

class Staging {
 public:
  // Items and bytes done, bytes in all; false stops with cancelled.
  using Progress = std::function<bool(uint64_t items, uint64_t bytes, uint64_t bytes_total)>;

  // path: our file, made or emptied by fill(). vfs: name of a FileVfs over `files`.
  Staging(ObjectStore& store, FileSystem& files, const char* vfs, std::string path)
      : store_(store), files_(files), vfs_(vfs), path_(std::move(path)) {}

  // to_keep: keep() follows, so the disk begins at once.
  Result<void> fill(const RestorePlan& plan, const Progress& progress, bool to_keep = false);
  // A change of schema on the way, whose snapshot is not in the store: the newest moment then is the one before it, and
  // the outcome's note says so; a moment that was asked for by name is an error of kind schema that names the nearest.
  Result<void> replay(const RestorePlan& plan, bool keep_going, const Progress& progress);
  // Changes the content on purpose (a schema migration): what it holds afterwards is what is proven from here on.
  // notes: read after `work`, for take_up().
  Result<void> change(const RestorePlan& plan, const std::function<Result<void>(Connection&)>& work, const Json& notes);
  // After fill(): this and what follows may be taken up.
  Result<void> keep(const RestorePlan& plan);
  struct TakenUp {
    StagedAs as = StagedAs::filled;
    Json notes;
  };
  // nullopt: there is nothing kept that is on the way of this plan.
  Result<std::optional<TakenUp>> take_up(const RestorePlan& plan);
  // After failures that keep_going let pass, a table that differs is in the outcome and no error. Without SQLite's own
  // check, which reads everything once more, the indexes are what the checked pages and SQLite's own changes made them;
  // the note says so.
  Result<RestoreOutcome> prove(const Progress& progress, SqliteCheck check = SqliteCheck::run);
  // Makes it durable, with the journal mode the application had.
  Result<void> seal();
  const std::string& path() const { return path_; }
  const RestoreOutcome& outcome() const { return outcome_; }
  // What snapshot and log say the tables hold; prove() compares with it.
  const std::vector<TableDigest>& expected() const { return expected_; }

 private:
  std::string state_path() const { return path_ + ".state"; }
  Result<void> forget_state();
  Result<void> write_state(const RestorePlan& plan, StagedAs as, bool in_log, const Json& notes);
  Result<void> write_aside(const RestorePlan& plan, StagedAs as, const std::function<Result<void>(Connection&)>& work,
                           const Json& notes);
  Result<void> put_in(Connection& db);
  Result<void> drop_aside();
  Result<void> count_anew();
  Result<void> apply_log(Connection& db, std::shared_ptr<const Schema> schema, const RestorePlan& plan, bool keep_going,
                         const Progress& progress);
  Result<std::string> around(const RestorePlan& plan, const Replayer& replayer);
  Result<void> check_integrity();
  Result<void> check_integrity(Connection& db);
  Result<void> compare_tables();
  Result<void> set_journal_mode_bytes(uint8_t value);
  ObjectStore& store_;
  FileSystem& files_;
  const char* vfs_;
  std::string path_;
  uint8_t journal_mode_ = 1;  // header byte 18 as the application had it
  bool durable_ = false;      // it may be taken up: its changes are synced
  std::vector<TableDigest> expected_;
  RestoreOutcome outcome_;
};

// The file and what lies beside it, so that a power cut does not bring them back; fine if they are gone already.
Result<void> remove_staged(FileSystem& files, const std::string& path);

// Rows and digest of every table of the database file at `path`, by its pages.
Result<std::vector<TableDigest>> count_tables(FileSystem& files, const std::string& path);

}  // namespace tillsync
