// What has to be on the disk before the next thing happens. The power goes at the very call that may only come later,
// and keeps nothing that was not synced: what should have come first must be there.

#include "agent/logging/log.h"
#include "crash_points/stories.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// A piece of work about to begin, everything so far on the disk.
struct Prepared {
  std::unique_ptr<Story> work;
  Terminal terminal{1234};
  explicit Prepared(const std::string& name) : work(story(name)) {
    log::set_level(log::Level::off);
    work->prepare(terminal);
    work->before = terminal.live();
    terminal.memory.sync_all();
  }
  // That call is not carried out.
  void power_goes_at(const std::function<bool(const std::string& call)>& is_it) {
    terminal.arm_at(is_it, Crash::strict_power);
    (void)work->work(terminal).has_value();
    REQUIRE(terminal.crashed());
    lose_power();
  }
  void lose_power() {
    terminal.after_crash(Crash::strict_power, terminal.random);
    terminal.open_application();
  }
  void go_on() {
    terminal.start();
    must(work->go_on(terminal));
    must(terminal.agent->ship());
    work->look_at_end(terminal, false);
    audit(terminal, *work);
  }
  std::vector<std::string> files_in(const std::string& part) {
    std::vector<std::string> paths;
    const std::string folder = std::string(Terminal::kState) + "/" + part;
    for (auto& entry : must(terminal.memory.list(folder))) paths.push_back(folder + "/" + entry.name);
    return paths;
  }
};

}  // namespace

TEST_SUITE_BEGIN("crash points");

TEST_CASE("order: a backup's files leave the spool when no power cut can take back that they are in the store") {
  Prepared backup("backup INCREMENTAL");
  // The packs go first; what goes earlier is a segment of the log.
  backup.power_goes_at([](const std::string& call) {
    return call.starts_with("remove " + std::string(Terminal::kState) + "/spool/") && call.ends_with(".pack");
  });
  CHECK(backup.files_in("spool").size() >= 3);  // pack, draft, manifest
  {
    auto state = must(StateDb::open(std::string(Terminal::kState) + "/state.db",
                                    backup.terminal.application_files.name(), backup.terminal.clock));
    auto db = state->lease();
    CHECK(must(db->query_integer("SELECT count(*) FROM snapshots WHERE is_complete AND "
                                 "snapshot_type='INCREMENTAL'")) == 1);
    CHECK(must(db->query_integer("SELECT count(*) FROM workflow_steps s JOIN workflows w ON w.id=s.workflow_id WHERE "
                                 "w.status='IN_PROGRESS' AND s.step_type='UPLOAD' AND s.status='COMPLETED'")) == 1);
  }
  backup.go_on();
}

TEST_CASE("order: a backup that has ended left nothing in the spool, and the power brings nothing back") {
  Prepared backup("backup INCREMENTAL");
  must(backup.work->work(backup.terminal));
  CHECK(backup.files_in("spool") == std::vector<std::string>{});
  backup.lose_power();
  CHECK(backup.files_in("spool") == std::vector<std::string>{});
}

TEST_CASE("order: before the live database is written, the safety copy is on the disk, by its name") {
  Prepared restore("restore in place");
  bool sold = false;
  restore.power_goes_at([&](const std::string& call) {
    // The till sells while it is copied: what it sold is copied under the lock, and has to be synced once more.
    if (call.starts_with("sync " + std::string(Terminal::kState) + "/safety/") && !std::exchange(sold, true))
      restore.terminal.sell(50);
    return call.starts_with("write " + std::string(Terminal::kDatabase));
  });
  REQUIRE(sold);
  restore.work->before = restore.terminal.live();
  const auto safe = restore.files_in("safety");
  REQUIRE(safe.size() == 1);
  check_same(dump_file(must(read_file(restore.terminal.memory, safe[0]))), restore.work->before);
  restore.go_on();
}

TEST_SUITE_END();
