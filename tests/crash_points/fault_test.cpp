// Call n of the file port fails, once or for good, as a full disk, a failing one and a missing permission do: nothing
// is lost, what can heal is tried again, what can't ends with words that name the file, and afterwards all is as it
// should be. TILLSYNC_CRASH_POINTS as for the crashes.

#include <cstdlib>

#include "agent/logging/log.h"
#include "crash_points/stories.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr uint64_t kSample = 6;

class Faults {
 public:
  explicit Faults(const std::string& name) : story_(story(name)) {
    log::set_level(log::Level::off);
    seed_ = SeededRandom::seed_of_this_run();
    story_->prepare(base_);
    base_.stop();
    base_.close_application();
    base_.memory.sync_all();
    auto t = terminal();
    story_->before = t->live();
    t->start();
    t->files.reset();
    must(story_->work(*t));
    calls_ = t->files.calls();
    story_->after = t->live();
    must(t->agent->ship());
    story_->look_at_end(*t, true);
  }

  void all() {
    CAPTURE(seed_);
    SeededRandom random(seed_);
    const char* wish = std::getenv("TILLSYNC_CRASH_POINTS");
    const bool every = wish && std::string(wish) == "all";
    const uint64_t sample = wish && !every ? std::strtoull(wish, nullptr, 10) : kSample;
    const char* one = std::getenv("TILLSYNC_CRASH_POINT");
    for (ErrorKind kind : {ErrorKind::no_space, ErrorKind::transient, ErrorKind::denied}) {
      for (bool for_good : {false, true}) {
        if (one) {
          fail_at(std::strtoull(one, nullptr, 10), kind, for_good);
        } else if (every) {
          for (uint64_t n = 1; n <= calls_; n++) fail_at(n, kind, for_good);
        } else {
          for (uint64_t i = 0; i < sample; i++)
            fail_at(1 + (i * calls_ + random.below(calls_)) / sample, kind, for_good);
        }
      }
    }
    MESSAGE(story_->name() << ": " << calls_ << " calls, " << faults_ << " faults, " << ended_well_
                           << " without an end, " << failed_ << " FAILED and done anew");
  }

 private:
  std::unique_ptr<Terminal> terminal() {
    auto made = std::make_unique<Terminal>(1235);
    made->copy_from(base_);
    made->open_application();
    made->count_folders();
    return made;
  }

  // call: "sync /till/agent/state.db", "assets: make file assets/receipt.txt"
  static std::string path_of(const std::string& call) { return call.substr(call.rfind(' ') + 1); }

  // What fails together, where it fails for good: /till/agent/state.db-wal → /till/agent/state.db
  static std::string area_of(const std::string& path) {
    const std::string state = Terminal::kState;
    for (auto& area : {state + "/state.db", state + "/spool", state + "/staging", state + "/safety",
                       state + "/databases", std::string(Terminal::kStore), std::string(Terminal::kMigrations),
                       std::string(Terminal::kDatabase), std::string(Terminal::kAssets)})
      if (path.starts_with(area)) return area;
    return path;
  }

  void fail_at(uint64_t n, ErrorKind kind, bool for_good) {
    auto t = terminal();
    t->start();
    t->files.reset();
    std::string area = "/";
    if (for_good) {
      // Which file it is, is known from another run.
      auto probe = terminal();
      probe->start();
      probe->files.reset();
      probe->files.at_call(n, [] {});
      (void)story_->work(*probe).has_value();
      const std::string call = probe->files.failed_call();
      if (call.empty()) return;
      area = area_of(path_of(call));
      probe.reset();
      t.reset();
      t = terminal();
      t->start();
      t->files.reset();
      t->files.fail_only_below(area);
    }
    t->files.fail_at(n, kind, for_good);
    auto done = story_->work(*t);
    const std::string call = t->files.failed_call();
    const std::string what = story_->name() + ", " + std::string(to_string(kind)) + (for_good ? " for good" : " once") +
                             " from call " + std::to_string(n) + " of " + std::to_string(calls_) + ": " + call +
                             (done ? "" : "; it said: " + done.error().context);
    INFO(what);
    if (call.empty()) return;
    faults_++;
    ended_well_ += done.has_value();
    failed_ += !done.has_value();
    const std::string path = path_of(call);
    if (!done) {
      // What the test gave up waiting for, and a prune's problems, which are texts, have no kind of their own.
      const bool has_kind = !contains(done.error().context, "nothing moves any more") && !story_->prunes();
      if (has_kind) CHECK(done.error().kind == kind);
      CHECK(contains(done.error().context, for_good ? area : path));
      // What may heal is tried again; a prune is one in any case, an hour later.
      if (!for_good && kind != ErrorKind::denied && !story_->prunes()) FAIL_CHECK("it gave up");
    }
    const Content found = t->live();
    const bool is_new = story_->replaces_live() && found == story_->after;
    if (!is_new) check_same(found, story_->before);
    // The fault is gone, and so is the patience of whoever waited.
    t->files.reset();
    t->clock.advance(std::chrono::minutes(10));
    const bool complete = is_new && !story_->has_more_than_live();
    story_->asked_anew = false;
    if (!done) must(complete ? t->agent->resume() : story_->go_on(*t));
    story_->done_anew = !done;
    story_->replaced_twice = is_new && story_->asked_anew;
    must(t->agent->ship());
    check_same(t->live(), story_->replaces_live() ? story_->after : story_->before);
    story_->look_at_end(*t, false);
    // What nobody needs any more goes with the next start at the latest.
    t->stop();
    t->start();
    must(t->agent->resume());
    must(t->agent->ship());
    audit(*t, *story_);
  }

  std::unique_ptr<Story> story_;
  Terminal base_{1234};
  uint64_t seed_ = 0, calls_ = 0, faults_ = 0, ended_well_ = 0, failed_ = 0;
};

}  // namespace

TEST_SUITE_BEGIN("crash points");

TEST_CASE("failing calls: a FULL backup") { Faults("backup FULL").all(); }
TEST_CASE("failing calls: an INCREMENTAL backup") { Faults("backup INCREMENTAL").all(); }
TEST_CASE("failing calls: a restore to a file") { Faults("restore to a file").all(); }
TEST_CASE("failing calls: a restore in place") { Faults("restore in place").all(); }
TEST_CASE("failing calls: an undo") { Faults("undo").all(); }
TEST_CASE("failing calls: a prune") { Faults("prune").all(); }
TEST_CASE("failing calls: merging segments") { Faults("merge").all(); }

TEST_SUITE_END();
