#include "differential/differential_run.h"

#include <filesystem>
#include <sstream>

#include "capture/replica_checks.h"
#include "capture/session_oracle.h"
#include "differential/random_database.h"

namespace tillsync::test {

namespace {

constexpr uint64_t kRowsMax[] = {15, 30, 30, 50, 50, 80, 80, 300};

// Statistics of the query planner wait for the next transaction that has an action: not part of a moment.
Content without_statistics(Content content) {
  std::erase_if(content, [](auto& table) { return table.first.starts_with("sqlite_stat"); });
  return content;
}

std::multiset<std::string> lines_of(const std::string& text) {
  std::multiset<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.insert(line);
  return lines;
}

std::multiset<std::string> findings(Connection& db) {
  std::multiset<std::string> all;
  auto query = must(db.prepare("PRAGMA integrity_check(100000)"));
  while (must(query.step())) {
    const std::string finding = query.text(0);
    if (!contains(finding, " value in ")) CHECK(finding == "ok");
    all.insert(finding);
  }
  return all;
}

}  // namespace

DifferentialRun::DifferentialRun(uint64_t seed, DifferentialTotals& totals)
    : random_(seed),
      totals_(totals),
      file_pragmas_(RandomDatabase::file_pragmas(random_)),
      world_(seed, ""),
      model_(world_) {
  rows_max_ = kRowsMax[random_.below(std::size(kRowsMax))];
  sessions_ = file_pragmas_.find("UTF-16") == std::string::npos;
  world_.app.close();  // the application is a process of its own
  world_.setup.on_barrier = [this] { barrier_ = true; };
  world_.restart();
}

void DifferentialRun::go(uint64_t transactions) {
  INFO("schema seed " << random_.seed() << " " << file_pragmas_);
  first_ = start_writer(file_pragmas_);
  // With more than 32, SQLite itself cannot VACUUM pages of 512 bytes.
  if (chance_in(6)) first_->ask("reserve " + std::to_string(random_.below(33)));
  first_->ask("create");
  first_->ask("transactions 5");
  capture();
  world_.snapshot();
  barrier_ = false;
  model_.start();
  compare(first_->ask("pragma user_version").content);
  const uint64_t end = totals_.transactions + transactions;
  for (int step = 0; totals_.transactions < end; step++) {
    doing_ = "step " + std::to_string(step);
    INFO(doing_);
    if (chance_in(25)) {
      one_by_the_way();
    } else if (chance_in(6)) {
      several();
    } else {
      single();
    }
    cover_barrier();
    if (chance_in(100)) check_replica(world_);
    if (chance_in(250)) remember();
    world_.clock.advance(std::chrono::milliseconds(10));
  }
  doing_ = "the end";
  remember();
  check_replica(world_);
  world_.seal();
  check_moments();
  totals_.schemas++;
}

std::unique_ptr<WriterProcess> DifferentialRun::start_writer(const std::string& more) {
  WriterProcess::Options options;
  options.database = world_.path;
  options.seed = random_.next();
  options.first_name = 10000 * writers_++;
  options.rows_max = rows_max_;
  options.pragmas = more + RandomDatabase::connection_pragmas(random_);
  options.errors = world_.folder / "writer.log";
  auto writer = std::make_unique<WriterProcess>(options);
  // Ready when it answers: until then it would be in the way of what comes next.
  writer->ask("pragma user_version");
  return writer;
}

WriterProcess& DifferentialRun::any_writer() { return second_ && chance_in(2) ? *second_ : *first_; }

WriterAnswer DifferentialRun::ask(WriterProcess& writer, const std::string& request) {
  doing_ += ", " + request;
  WriterAnswer answer = writer.ask(request);
  totals_.transactions += answer.transactions;
  return answer;
}

void DifferentialRun::capture() {
  bool answered = false;
  std::optional<Error> refused;
  world_.capturer->request_capture([&](Result<Sequence> result) {
    answered = true;
    if (!result) refused = result.error();
  });
  for (int i = 0; i < 1000 && !answered; i++) {
    world_.capturer->step();
    world_.clock.advance(std::chrono::milliseconds(1));
  }
  if (refused) FAIL("capture: " << refused->context);
  if (auto problem = world_.capturer->status().problem) FAIL("capture: " << problem->text);
  REQUIRE(answered);
  const CaptureStatus status = world_.capturer->status();
  captured_ = status.transaction;
  // Counted anew with each start.
  if (status.catch_ups > catch_ups_) totals_.catch_ups += status.catch_ups - catch_ups_;
  catch_ups_ = status.catch_ups;
}

void DifferentialRun::compare(const ContentSum& live) {
  const ContentSum logged = model_.content();
  if (logged == live) return;
  for (auto& [name, sum] : live) {
    auto other = logged.find(name);
    if (other != logged.end() && other->second == sum) continue;
    const auto sqlite = lines_of(first_->ask("rows " + name).text), ours = lines_of(model_.rows_of(name));
    for (auto& row : sqlite)
      if (!ours.contains(row)) MESSAGE("table " << name << ", only SQLite reads: " << row);
    for (auto& row : ours)
      if (!sqlite.contains(row)) MESSAGE("table " << name << ", only logged: " << row);
  }
  for (auto& [name, sum] : logged)
    if (!live.contains(name)) MESSAGE("only logged: table " << name);
  FAIL("baseline and log do not give what SQLite reads");
}

std::vector<LoggedAction> DifferentialRun::capture_and_compare(const WriterAnswer& answer) {
  capture();
  auto actions = model_.follow();
  compare(answer.content);
  return actions;
}

void DifferentialRun::single() {
  const TransactionNo before = captured_;
  const CaptureStatus attached = world_.capturer->status();
  const WriterAnswer answer = ask(any_writer(), "transaction");
  auto actions = capture_and_compare(answer);
  REQUIRE(captured_ >= before);
  REQUIRE(captured_ <= before + 1);
  // Out of the log, not by comparing everything.
  if (attached.mode == "wal") CHECK(world_.capturer->status().catch_ups == attached.catch_ups);
  if (sessions_ && answer.schema_kept)
    totals_.compared += ChangesetComparison(model_.schema()).check(answer.changeset, actions);
}

// What nobody looks at one by one, and what an application does between its transactions.
void DifferentialRun::several() {
  WriterProcess& writer = any_writer();
  WriterAnswer answer;
  const std::string request = "transactions " + std::to_string(1 + random_.below(5));
  if (chance_in(3)) {
    // The capture runs meanwhile.
    doing_ += ", at the same time " + request;
    writer.send(request);
    while (!writer.has_answered(1)) {
      world_.capturer->request_capture([](const Result<Sequence>&) {});
      world_.capturer->step();
      world_.clock.advance(std::chrono::milliseconds(1));
    }
    answer = writer.receive();
    totals_.transactions += answer.transactions;
    totals_.at_once++;
  } else {
    answer = ask(writer, request);
  }
  if (chance_in(3)) answer = ask(any_writer(), "maintenance");
  capture_and_compare(answer);
}

void DifferentialRun::one_by_the_way() {
  switch (random_.below(11)) {
    case 0:
    case 1:
      doing_ += ", the agent restarts";
      world_.restart();
      return;
    case 2: return restart_writer();
    case 3:
    case 4:
    case 5: return kill_writer();
    case 6:
      if (second_) {
        doing_ += ", the second writer ends";
        second_->quit();
        second_.reset();
      } else {
        doing_ += ", a second writer";
        second_ = start_writer();
      }
      return;
    case 7:
      // It takes the application's files up again.
      capture();
      let_go();
      return;
    case 8: return change_journal_mode();
    case 9: return put_back_old_file();
    default: return lock_for_itself();
  }
}

// As when nothing comes for idle_release: no connection of ours is left.
void DifferentialRun::let_go() {
  doing_ += ", the agent lets go";
  auto is_attached = [&] { return world_.capturer->status().mode == "wal"; };
  for (int i = 0; i < 2000 && is_attached(); i++) {
    const auto wait = world_.capturer->step();
    world_.clock.advance(std::chrono::milliseconds(wait < std::chrono::milliseconds(50) ? 20 : 500));
  }
  if (auto problem = world_.capturer->status().problem) FAIL("letting go: " << problem->text);
  REQUIRE(!is_attached());
}

void DifferentialRun::restart_writer() {
  doing_ += ", the writer restarts";
  const bool last_one = !second_;
  // Closed as the last one, or with the capture still there.
  if (last_one && chance_in(2)) {
    capture();
    let_go();
  }
  first_->quit();
  if (chance_in(3)) capture();
  first_ = start_writer();
  totals_.restarts++;
  capture_and_compare(first_->ask("pragma user_version"));
}

void DifferentialRun::kill_writer() {
  static const char* requests[] = {"transaction", "transaction", "transactions 3", "maintenance"};
  const std::string request = requests[random_.below(std::size(requests))];
  std::string death;
  switch (random_.below(4)) {
    case 0: death = "statement " + std::to_string(1 + random_.below(8)); break;
    case 1: death = "end 1"; break;
    default: death = "write " + std::to_string(1 + random_.below(chance_in(2) ? 10 : 60)); break;
  }
  doing_ += ", the writer dies: " + death + " in " + request;
  first_->ask_and_die(death, request);
  totals_.deaths++;
  // The log, or the journal, is recovered by whoever comes first.
  if (chance_in(2)) capture();
  first_ = start_writer();
  capture_and_compare(first_->ask("pragma user_version"));
}

void DifferentialRun::only_one_writer() {
  if (second_) second_->quit();
  second_.reset();
  // A connection that leaves WAL keeps its cache, and misses what another one committed since it last read: SQLite's
  // own doing (seen with 3.40.1 and 3.54.1, also with nobody following). So this one reads first.
  first_->ask("pragma user_version");
}

void DifferentialRun::change_journal_mode() {
  static const char* modes[] = {"wal", "wal", "wal", "wal", "wal", "wal", "delete", "truncate", "persist"};
  const std::string mode = modes[random_.below(std::size(modes))];
  capture();
  // While one of ours is attached, SQLite refuses: that must have an end.
  let_go();
  only_one_writer();
  const WriterAnswer answer = ask(*first_, "pragma journal_mode=" + mode);
  REQUIRE(answer.text == mode);
  totals_.switches++;
  capture_and_compare(answer);
}

void DifferentialRun::lock_for_itself() {
  capture();
  let_go();
  only_one_writer();
  const bool from_the_start = chance_in(2);
  if (from_the_start) {
    doing_ += ", a writer that locks from the start";
    first_->quit();
    first_ = start_writer("PRAGMA locking_mode=EXCLUSIVE;");
  } else {
    ask(*first_, "pragma locking_mode=EXCLUSIVE");
  }
  // Takes the lock, whatever the transactions do.
  ask(*first_, "pragma user_version=" + std::to_string(random_.below(1000)));
  if (chance_in(3)) world_.restart();
  for (uint64_t n = 1 + random_.below(4); n > 0; n--) {
    ask(*first_, "transaction");
    // It is in the way of the capture, which keeps trying.
    for (uint64_t tries = random_.below(4); tries > 0; tries--) {
      world_.capturer->changed();
      world_.capturer->step();
      world_.clock.advance(std::chrono::milliseconds(500));
    }
  }
  totals_.exclusive++;
  if (from_the_start) {
    first_->quit();
    first_ = start_writer();
  } else {
    ask(*first_, "pragma locking_mode=NORMAL");
  }
  capture_and_compare(first_->ask("pragma user_version"));
}

// As somebody does who takes a copy of yesterday back. The agent has let go, so that no log of the other file is left.
void DifferentialRun::put_back_old_file() {
  const std::string copy = world_.folder / "copy.db";
  if (!std::filesystem::exists(copy)) return remember();
  capture();
  let_go();
  only_one_writer();
  doing_ += ", an old copy is put back";
  first_->quit();
  for (const char* end : {"-wal", "-shm", "-journal"}) std::filesystem::remove(world_.path + end);
  std::filesystem::rename(copy, world_.path);
  totals_.put_back++;
  if (chance_in(2)) capture();
  first_ = start_writer();
  capture_and_compare(first_->ask("pragma user_version"));
}

// Replay does not cross a change of schema: the agent makes a snapshot there, and so does this.
void DifferentialRun::cover_barrier() {
  if (!barrier_) return;
  world_.seal();
  const bool same_size = world_.last->page_size == world_.capturer->status().page_size;
  world_.snapshot(!same_size     ? SnapshotType::full
                  : chance_in(3) ? SnapshotType::differential
                                 : SnapshotType::incremental);
  barrier_ = false;
  if (chance_in(4)) check_replica(world_);
}

void DifferentialRun::remember() {
  capture();
  const std::string path = world_.folder / "copy.db";
  std::filesystem::remove(path);
  capture_and_compare(ask(any_writer(), "copy " + path));
  auto copy = must(Connection::open(path, SQLITE_OPEN_READWRITE));
  world_.copies[captured_] = dump(copy);
  moments_.push_back(captured_);
}

void DifferentialRun::check_moments() {
  for (TransactionNo moment : moments_) {
    INFO("restored to transaction " << moment);
    auto outcome = must(world_.try_restore(RestoreWorld::at_transaction(moment)));
    CHECK(outcome.proven);
    CHECK(outcome.transaction == moment);
    auto db = world_.open_staged();
    const Content restored = without_statistics(dump(db)), expected = without_statistics(world_.copies.at(moment));
    check_same(restored, expected);
    CHECK(restored.size() == expected.size());
  }
  totals_.moments += moments_.size();
  // An incremental write may put a text into a column of numbers: SQLite has something to say about both alike.
  auto restored = world_.open_staged();
  auto last = must(Connection::open(world_.folder / "copy.db", SQLITE_OPEN_READWRITE));
  CHECK(findings(restored) == findings(last));
  // Where a table's parent key is gone, SQLite can't answer.
  const char* violations = "SELECT count(*) FROM pragma_foreign_key_check";
  if (auto count = last.query_integer(violations)) CHECK(must(restored.query_integer(violations)) == *count);
}

}  // namespace tillsync::test
