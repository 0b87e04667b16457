#include "crash_points/stories.h"

#include <unistd.h>

#include <set>

#include "actionlog/log_verifier.h"
#include "restore/verification.h"
#include "support/unnamed_file.h"

namespace tillsync::test {

namespace {

using std::chrono::hours;

// A piece of work that is a workflow.
class WorkflowStory : public Story {
 public:
  Result<void> work(Terminal& terminal) override {
    workflow_.reset();
    auto asked = ask(terminal);
    // Nothing was begun; a person asks again.
    if (!asked) asked = ask(terminal);
    if (!asked) return std::move(asked).error();
    workflow_ = *asked;
    return finish(terminal);
  }
  Result<void> go_on(Terminal& terminal) override {
    TILLSYNC_TRY(terminal.agent->resume());
    if (workflow_) {
      auto known = terminal.agent->engine().describe(*workflow_);
      // One that has failed, for what is gone now, is done anew by whoever wants it.
      if (known && known->status != WorkflowStatus::failed) return finish(terminal);
      if (!known && known.error().kind != ErrorKind::not_found) return known.error();
    }
    asked_anew = true;
    return work(terminal);
  }

 protected:
  virtual Result<Uuid> ask(Terminal& terminal) = 0;
  Result<void> finish(Terminal& terminal) {
    TILLSYNC_LET(auto outcome, terminal.agent->run(*workflow_));
    if (outcome.state == RunOutcome::State::done) return {};
    return outcome.error.value_or(Error{ErrorKind::cancelled, 0, "it did not come to its end"});
  }
  static void back_up(Terminal& terminal, const std::string& type) {
    const Uuid workflow = must(terminal.agent->begin_backup(type));
    auto outcome = must(terminal.agent->run(workflow));
    if (outcome.state != RunOutcome::State::done)
      FAIL("backup: " << (outcome.error ? outcome.error->context : "not done"));
  }
  static TransactionNo ship(Terminal& terminal) {
    must(terminal.agent->ship());
    return terminal.agent->database().status().transaction;
  }
  std::optional<Uuid> workflow_;
};

class Backup : public WorkflowStory {
 public:
  explicit Backup(std::string type) : type_(std::move(type)), name_("backup " + type_) {}
  std::string name() const override { return name_; }
  void prepare(Terminal& terminal) override {
    terminal.install();
    terminal.start();
    ship(terminal);
    if (type_ != "FULL") back_up(terminal, "FULL");
    for (int i = 1; i <= 5; i++) terminal.sell(i);
    terminal.write_asset("second.txt", "receipt 2");
    ship(terminal);
    terminal.sell(6);  // not captured yet
  }
  Result<Uuid> ask(Terminal& terminal) override { return terminal.agent->begin_backup(type_); }
  void look_at_end(Terminal& terminal, bool) override {
    auto db = terminal.agent->state().lease();
    const int64_t made =
        must(db->query_integer("SELECT count(*) FROM snapshots WHERE is_complete AND snapshot_type='" + type_ + "'"));
    CHECK((done_anew ? made >= 1 : made == 1));
  }

 private:
  std::string type_, name_;
};

class RestoreToFile : public WorkflowStory {
 public:
  std::string name() const override { return "restore to a file"; }
  void prepare(Terminal& terminal) override {
    terminal.install();
    terminal.start();
    ship(terminal);
    back_up(terminal, "FULL");
    for (int i = 1; i <= 5; i++) terminal.sell(i);
    moment_ = ship(terminal);
    wanted_ = terminal.live();
    terminal.run("DELETE FROM sale WHERE article % 2 = 0");
    ship(terminal);
    terminal.sell(6);
  }
  Result<Uuid> ask(Terminal& terminal) override { return terminal.agent->begin_restore({{"transaction", moment_}}); }
  // What was not delivered goes with the agent, as whoever waited for it was cut off; it is asked for again.
  Result<void> go_on(Terminal& terminal) override {
    TILLSYNC_TRY(WorkflowStory::go_on(terminal));
    return terminal.memory.stat(staged()) ? Result<void>() : work(terminal);
  }
  void look_at_end(Terminal& terminal, bool) override {
    const std::string staged = this->staged();
    check_same(dump_file(must(read_file(terminal.memory, staged))), wanted_);
    auto target = unnamed_file();
    Json document = must(terminal.agent->restores().deliver(terminal.agent->engine(), *workflow_, *target, false));
    CHECK(document["proven"] == true);
    CHECK(document["transaction"] == moment_);
    CHECK(kind_of(terminal.memory.stat(staged)) == ErrorKind::not_found);
    // One that was cut off and asked for again may have come to its end twice.
    terminal.stop();
    terminal.start();
    must(terminal.agent->ship());
  }

 private:
  std::string staged() const { return std::string(Terminal::kState) + "/staging/" + workflow_->str() + ".db"; }
  TransactionNo moment_ = 0;
  Content wanted_;
};

// To a moment before an update of the application: replay, then its migration, then in place of what is there.
class RestoreInPlace : public WorkflowStory {
 public:
  std::string name() const override { return "restore in place"; }
  void prepare(Terminal& terminal) override {
    terminal.install();
    const std::string upgrade =
        "ALTER TABLE sale ADD COLUMN discount INTEGER DEFAULT 0;"
        "UPDATE sale SET discount = amount / 2 WHERE article < 20;";
    {
      auto file =
          must(terminal.memory.open(std::string(Terminal::kMigrations) + "/002_discount.sql", OpenMode::create_new));
      must(file->write(0, as_bytes(upgrade)));
    }
    terminal.start();
    ship(terminal);
    back_up(terminal, "FULL");
    for (int i = 1; i <= 5; i++) terminal.sell(i);
    moment_ = ship(terminal);
    assets_ = terminal.assets();
    terminal.run("DELETE FROM sale WHERE article % 2 = 0");
    ship(terminal);
    terminal.run("BEGIN;" + upgrade + "PRAGMA user_version=2; COMMIT");
    ship(terminal);
    back_up(terminal, "INCREMENTAL");
    terminal.write_asset("first.txt", "something else");
    terminal.write_asset("later/receipt.txt", "goes");
    terminal.write_asset("later/notes", assets_["later/notes"] = "stay");
    terminal.sell(7);
    ship(terminal);
  }
  Result<Uuid> ask(Terminal& terminal) override {
    return terminal.agent->begin_restore({{"transaction", moment_}, {"in_place", true}});
  }
  void look_at_end(Terminal& terminal, bool) override {
    auto db = terminal.agent->state().lease();
    const int64_t replaced = activations() + replaced_twice;
    CHECK(must(db->query_integer("SELECT count(*) FROM activations WHERE proven")) == replaced);
    CHECK(must(db->query_integer("SELECT count(*) FROM activations")) == replaced);
    CHECK(must(db->query_integer("SELECT count(*) FROM pending_activations")) == 0);
    CHECK(must(db->query_integer("SELECT count(*) FROM action_log WHERE action=6")) == replaced);
    const std::string safety = must(db->query_text("SELECT path FROM safety_copies"));
    check_same(dump_file(must(read_file(terminal.memory, safety))), replaced_twice ? after : before);
    CHECK(terminal.assets() == assets_);
  }
  bool sells_meanwhile() const override { return false; }
  bool replaces_live() const override { return true; }
  virtual int64_t activations() const { return 1; }

 private:
  TransactionNo moment_ = 0;
  std::map<std::string, std::string> assets_;  // as they are to be
};

class Undo : public RestoreInPlace {
 public:
  std::string name() const override { return "undo"; }
  void prepare(Terminal& terminal) override {
    RestoreInPlace::prepare(terminal);
    must(work(terminal));
    ship(terminal);
    back_up(terminal, "INCREMENTAL");
  }
  Result<Uuid> ask(Terminal& terminal) override {
    if (std::exchange(first_, false)) return RestoreInPlace::ask(terminal);
    return terminal.agent->begin_restore({{"undo", true}, {"in_place", true}});
  }
  int64_t activations() const override { return 2; }
  bool has_more_than_live() const override { return false; }

 private:
  bool first_ = true;
};

// Segments of the log that lie before a snapshot become one.
class Merge : public WorkflowStory {
 public:
  std::string name() const override { return "merge"; }
  void prepare(Terminal& terminal) override {
    terminal.install();
    terminal.start();
    ship(terminal);
    terminal.sell(1);
    ship(terminal);
    back_up(terminal, "FULL");
    for (int i = 2; i <= 7; i++) {
      terminal.sell(i);
      ship(terminal);
    }
    // What is merged by then is not the work.
    back_up(terminal, "INCREMENTAL");
    terminal.sell(8);
  }
  Result<Uuid> ask(Terminal&) override { return Uuid{}; }
  Result<void> work(Terminal& terminal) override { return terminal.agent->ship(); }
  Result<void> go_on(Terminal& terminal) override { return work(terminal); }
  void look_at_end(Terminal& terminal, bool) override {
    auto& agent = *terminal.agent;
    const LogListing listing = must(list_log(agent.store(), agent.lineage()));
    CHECK(std::count_if(listing.segments.begin(), listing.segments.end(), [](auto& s) { return s.merged; }) >= 1);
    CHECK(listing.parts.size() >= 6);
    auto db = agent.state().lease();
    CHECK(must(db->query_integer("SELECT count(*) FROM merges")) == 0);
    CHECK(must(db->query_integer("SELECT count(*) FROM segments")) == static_cast<int64_t>(listing.segments.size()));
    CHECK(must(db->query_integer("SELECT count(*) FROM merged_parts")) == static_cast<int64_t>(listing.parts.size()));
  }
};

class Prune : public WorkflowStory {
 public:
  std::string name() const override { return "prune"; }
  void prepare(Terminal& terminal) override {
    terminal.config.retention = {1, 0, 0, 0, 0, hours(1)};
    terminal.install();
    terminal.start();
    ship(terminal);
    for (int round = 0; round < 3; round++) {
      back_up(terminal, "FULL");
      for (int i = 1; i <= 3; i++) {
        terminal.sell(10 * round + i);
        ship(terminal);
      }
      terminal.clock.advance(hours(30));
      terminal.run("UPDATE article SET stock = stock + 1");
      terminal.sell(10 * round + 4);
      ship(terminal);
      if (round < 2) back_up(terminal, "INCREMENTAL");
      terminal.clock.advance(hours(30));
    }
    // What a backup left that was given up.
    const std::string orphan = "no longer wanted";
    BytesSource source(as_bytes(orphan));
    auto& agent = *terminal.agent;
    must(agent.store().put(keys::pack(prefix_of(agent.lineage()), sha256(as_bytes(orphan))), source));
    terminal.sell(99);
    ship(terminal);
    must(for_each_object(agent.store(), "", [&](const ObjectInfo& object) -> Result<void> {
      objects_ += !object.key.ends_with(".seg");
      return {};
    }));
  }
  Result<Uuid> ask(Terminal&) override { return Uuid{}; }
  Result<void> work(Terminal& terminal) override {
    auto done = terminal.agent->pruner().prune("");
    if (!done) return std::move(done).error();
    for (auto& problem : terminal.agent->pruner().problems()) return Error{ErrorKind::internal, 0, problem};
    return {};
  }
  Result<void> go_on(Terminal& terminal) override { return work(terminal); }
  void look_at_end(Terminal& terminal, bool reference) override {
    std::vector<std::string> there;
    must(for_each_object(terminal.agent->store(), "", [&](const ObjectInfo& object) -> Result<void> {
      if (object.key.find("/snapshots/") != std::string::npos || object.key.find("/packs/") != std::string::npos ||
          object.key.ends_with(".anchor"))
        there.push_back(object.key);
      return {};
    }));
    if (reference) keys_ = there;
    CHECK(there == keys_);
    CHECK(there.size() < objects_);
    CHECK(std::count_if(there.begin(), there.end(), [](auto& key) { return key.ends_with(".anchor"); }) == 1);
  }
  bool prunes() const override { return true; }

 private:
  size_t objects_ = 0;
  std::vector<std::string> keys_;
};

KnownStates states_of(ObjectStore& store, const Lineage& lineage) {
  KnownStates known;
  for (auto& manifest : must(list_manifests(store, lineage))) {
    std::sort(manifest.tables.begin(), manifest.tables.end());
    known[manifest.sequence] = manifest.tables;
  }
  return known;
}

void audit_folders(Terminal& terminal) {
  auto& agent = *terminal.agent;
  const std::string state = Terminal::kState;
  std::set<std::string> safe;
  {
    auto db = agent.state().lease();
    CHECK(must(db->query_text("PRAGMA integrity_check")) == "ok");
    CHECK(must(db->query_integer("SELECT count(*) FROM transfer_queue")) == 0);
    auto copies = must(db->prepare("SELECT path FROM safety_copies"));
    while (must(copies.step())) safe.insert(copies.text(0));
  }
  for (const char* folder : {"/spool", "/staging", "/safety"}) {
    for (auto& entry : must(terminal.memory.list(state + folder))) {
      const std::string path = state + folder + "/" + entry.name;
      if (!safe.erase(path)) FAIL_CHECK("left lying: " << path);
    }
  }
  for (auto& path : safe) FAIL_CHECK("not there: " << path);
  for (auto& entry : must(terminal.memory.list(state + "/databases/pos")))
    if (entry.name.ends_with(".tmp")) FAIL_CHECK("left lying: " << entry.name);
}

// Whatever lies in the store is what a snapshot or the log needs.
void audit_store(Terminal& terminal, const Story& story) {
  auto& agent = *terminal.agent;
  std::set<std::string> needed;
  std::set<std::string> complete;
  for (auto& manifest : must(list_manifests(agent.store(), agent.lineage()))) {
    complete.insert(manifest.uuid.str());
    for (auto& pack : manifest.packs) needed.insert(pack.key);
  }
  std::function<void(const std::string&)> walk = [&](const std::string& folder) {
    for (auto& entry : must(terminal.memory.list(folder))) {
      const std::string path = folder + "/" + entry.name;
      if (entry.type == FileType::directory) {
        walk(path);
      } else if (path.ends_with(".tmp")) {
        FAIL_CHECK("left lying in the store: " << path);
      } else if (path.ends_with(".pack")) {
        if (!needed.erase(path.substr(std::string(Terminal::kStore).size() + 1)))
          FAIL_CHECK("no snapshot needs " << path);
      }
    }
  };
  walk(Terminal::kStore);
  for (auto& key : needed) FAIL_CHECK("a snapshot needs " << key);
  std::set<std::string> known;
  auto db = agent.state().lease();
  auto rows = must(db->prepare("SELECT uuid FROM snapshots WHERE is_complete"));
  while (must(rows.step())) known.insert(rows.text(0));
  // The manifest of a backup that FAILED may be there as a whole, where only its name could not be made durable.
  if (story.done_anew) {
    CHECK(std::includes(complete.begin(), complete.end(), known.begin(), known.end()));
  } else {
    CHECK(known == complete);
    CHECK(must(db->query_integer("SELECT count(*) FROM snapshots")) == static_cast<int64_t>(known.size()));
  }
}

void audit_data(Terminal& terminal, const Story& story) {
  auto& agent = *terminal.agent;
  const Lineage lineage = agent.lineage();
  const LogVerdict log =
      must(verify_log(agent.store(), lineage, states_of(agent.store(), lineage), story.prunes() ? 0 : 1));
  for (auto& segment : log.segments)
    if (segment.error) FAIL_CHECK(segment.error->context);
  Sequence last = 0;
  must(for_each_object(agent.store(), keys::log_prefix(prefix_of(lineage)),
                       [&](const ObjectInfo& object) -> Result<void> {
                         if (auto range = keys::range_of_segment(object.key)) last = range->second;
                         return {};
                       }));
  CHECK(last == agent.database().status().sequence);
  const std::string file = "/till/audit.db";
  SnapshotVerifier verifier(agent.store(), lineage, terminal.files, agent.vfs().name(), file);
  for (auto& uuid : must(list_snapshots(agent.store(), lineage))) {
    const SnapshotVerdict verdict = must(verifier.prove(uuid, nullptr));
    if (verdict.error) FAIL_CHECK(verdict.error->context);
  }
  // The way back from the store alone, to now.
  const RestorePlan plan = must(plan_restore(agent.store(), lineage, {}));
  Staging staging(agent.store(), terminal.files, agent.vfs().name(), file);
  must(staging.fill(plan, nullptr));
  must(staging.replay(plan, false, nullptr));
  const RestoreOutcome outcome = must(staging.prove(nullptr));
  CHECK(outcome.proven);
  CHECK(outcome.note == "");
  check_same(dump_file(must(read_file(terminal.memory, file))), terminal.live());
  must(terminal.memory.remove(file));
}

}  // namespace

BytesWritten BytesWritten::of(const Terminal& terminal) {
  const std::string state = Terminal::kState;
  return {terminal.files.bytes_written(Terminal::kStore), terminal.files.bytes_written(state + "/spool"),
          terminal.files.bytes_written(state + "/staging"), terminal.files.bytes_written(state + "/safety")};
}

std::vector<std::unique_ptr<Story>> all_stories() {
  std::vector<std::unique_ptr<Story>> all;
  all.push_back(std::make_unique<Backup>("FULL"));
  all.push_back(std::make_unique<Backup>("INCREMENTAL"));
  all.push_back(std::make_unique<RestoreToFile>());
  all.push_back(std::make_unique<RestoreInPlace>());
  all.push_back(std::make_unique<Undo>());
  all.push_back(std::make_unique<Merge>());
  all.push_back(std::make_unique<Prune>());
  return all;
}

std::unique_ptr<Story> story(const std::string& name) {
  for (auto& one : all_stories())
    if (one->name() == name) return std::move(one);
  FAIL("no story " << name);
  return nullptr;
}

void audit(Terminal& terminal, Story& story) {
  audit_folders(terminal);
  // By a prune what puts that never ended left in the store goes; there is nothing else for it to do.
  must(terminal.agent->pruner().prune(""));
  // As the agent does after a change of schema: a restore to now can't do without.
  if (story.replaces_live()) {
    const Uuid backup = must(terminal.agent->begin_backup("INCREMENTAL"));
    REQUIRE(must(terminal.agent->run(backup)).state == RunOutcome::State::done);
  }
  audit_store(terminal, story);
  audit_data(terminal, story);
}

}  // namespace tillsync::test
