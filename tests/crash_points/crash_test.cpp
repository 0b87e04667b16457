// The agent ends at call n of the file port, or of the folders of assets, by a kill or by the power, and goes on from
// what is left: for every kind of work, and every n. TILLSYNC_CRASH_POINTS=all runs every call; without it a seeded
// sample is run, and a number is how many calls of each kind and way to end.

#include <cstdlib>

#include "agent/logging/log.h"
#include "crash_points/stories.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr uint64_t kTakingUp = 2048;  // bytes: the state beside a staged file, and four of its header
constexpr uint64_t kSample = 20, kAfterAssets = 40;

class Crashes {
 public:
  explicit Crashes(const std::string& name, bool names_can_change_places = true)
      : story_(story(name)), names_can_change_places_(names_can_change_places) {
    log::set_level(log::Level::off);
    seed_ = SeededRandom::seed_of_this_run();
    story_->prepare(base_);
    base_.stop();
    base_.close_application();
    base_.memory.sync_all();
    reference();
  }

  void all() {
    SeededRandom random(seed_);
    const char* wish = std::getenv("TILLSYNC_CRASH_POINTS");
    const bool every = wish && std::string(wish) == "all";
    const uint64_t sample = wish && !every ? std::strtoull(wish, nullptr, 10) : kSample;
    CAPTURE(seed_);
    if (const char* one = std::getenv("TILLSYNC_CRASH_POINT")) {
      for (Crash how : {Crash::kill, Crash::strict_power, Crash::power}) crash_at(std::strtoull(one, nullptr, 10), how);
      return;
    }
    uint64_t points = 0;
    for (Crash how : {Crash::kill, Crash::strict_power, Crash::power}) {
      if (every) {
        for (uint64_t n = 1; n <= calls_; n++, points++) crash_at(n, how);
      } else {
        // One in each stretch, so that no step goes without.
        for (uint64_t i = 0; i < sample; i++, points++) crash_at(1 + (i * calls_ + random.below(calls_)) / sample, how);
      }
    }
    // A kill loses one step at most. The largest fills the staged file, which has the size of the safety copy, and sets
    // the two bytes of the journal mode; whoever takes the file up sets those once more, and writes what it is.
    if (story_->replaces_live()) CHECK(again_[Crash::kill].staging <= once_.safety + kTakingUp);
    MESSAGE(story_->name() << ": " << calls_ << " calls, " << points << " crashes, " << twice_
                           << " of them once more while it went on; live database new at " << new_at_crash_
                           << ". Bytes written in one run: " << to_string(once_) << ". Written again at worst, kill: "
                           << to_string(again_[Crash::kill]) << "; power: " << to_string(again_[Crash::power])
                           << "; power that keeps nothing: " << to_string(again_[Crash::strict_power]));
  }

  // What is put back into a folder of others is not the agent's own: every call in it where TILLSYNC_CRASH_POINTS is
  // set, whatever it says, and every ninth, from a random one on, where it is not.
  void all_of_assets() {
    CAPTURE(seed_);
    CHECK(asset_calls_.size() > 50);
    // And those after the last of them, when the step is recorded: what it put back may not be undone then.
    for (uint64_t i = 1, last = asset_calls_.back(); i <= kAfterAssets && last + i <= calls_; i++)
      asset_calls_.push_back(last + i);
    SeededRandom random(seed_);
    const size_t step = std::getenv("TILLSYNC_CRASH_POINTS") ? 1 : 9;
    size_t points = 0;
    for (Crash how : {Crash::kill, Crash::strict_power, Crash::power})
      for (size_t i = random.below(step); i < asset_calls_.size(); i += step, points++) crash_at(asset_calls_[i], how);
    MESSAGE(story_->name() << ": " << asset_calls_.size() << " calls of the folders of assets and after, " << points
                           << " crashes in three ways");
  }

 private:
  std::unique_ptr<Terminal> terminal() {
    auto made = std::make_unique<Terminal>(1235);
    made->copy_from(base_);
    made->open_application();
    made->count_folders();
    made->names_can_change_places = names_can_change_places_;
    return made;
  }

  void reference() {
    auto t = terminal();
    story_->before = t->live();
    t->start();
    t->files.reset();
    t->files.on_call([&](const std::string& call) -> std::optional<ErrorKind> {
      if (call.starts_with("assets: ")) asset_calls_.push_back(t->files.calls());
      return std::nullopt;
    });
    must(story_->work(*t));
    calls_ = t->files.calls();
    t->files.on_call(nullptr);
    once_ = BytesWritten::of(*t);
    story_->after = t->live();
    must(t->agent->ship());
    story_->look_at_end(*t, true);
    audit(*t, *story_);
  }

  void crash_at(uint64_t n, Crash how) {
    // Of its own for each point, so that one can be run again alone.
    SeededRandom loss(seed_ + n * 3 + static_cast<uint64_t>(how));
    auto t = terminal();
    t->start();
    t->arm(n, how);
    (void)story_->work(*t).has_value();
    const std::string first = story_->name() + ", " + test::to_string(how) + " at call " + std::to_string(n) + " of " +
                              std::to_string(calls_) + ": " + t->files.failed_call();
    INFO(first);
    if (!t->crashed()) return;
    BytesWritten written = BytesWritten::of(*t);
    take_down(*t, how, loss);
    Content wanted = story_->replaces_live() ? story_->after : story_->before;
    if (story_->sells_meanwhile()) {
      t->sell(120);
      wanted = t->live();
    }
    bool once_more = loss.chance(30);
    std::string second = "no second crash";
    if (once_more) {
      const uint64_t m = 1 + loss.below(calls_);
      t->arm(m, how);
      auto started = AgentProcess::start(*t);
      if (started) {
        t->agent = std::move(*started);
        (void)story_->go_on(*t).has_value();
      }
      once_more = t->crashed();
      if (once_more) second = "second crash at call " + std::to_string(m) + ": " + t->files.failed_call();
      if (!once_more) t->files.reset();
      take_down(*t, once_more ? how : Crash::kill, loss, !story_->sells_meanwhile());
    }
    twice_ += once_more;
    INFO(second);
    t->start();
    must(story_->go_on(*t));
    if (!once_more) count_again(how, written, BytesWritten::of(*t));
    must(t->agent->ship());
    story_->look_at_end(*t, false);
    audit(*t, *story_);
    check_same(t->live(), wanted);
  }

  // What the application finds afterwards is what was there or what was to be there.
  void take_down(Terminal& t, Crash how, SeededRandom& loss, bool look = true) {
    t.after_crash(how, loss);
    if (how != Crash::kill) t.open_application();
    if (!look) return;
    const Content found = t.live();
    const bool is_new = story_->replaces_live() && found == story_->after;
    new_at_crash_ += is_new;
    if (!is_new) check_same(found, story_->before);
  }

  void count_again(Crash how, const BytesWritten& first, const BytesWritten& then) {
    auto most = [](uint64_t& worst, uint64_t a, uint64_t b, uint64_t once) {
      if (a + b > once) worst = std::max(worst, a + b - once);
    };
    BytesWritten& again = again_[how];
    most(again.store, first.store, then.store, once_.store);
    most(again.spool, first.spool, then.spool, once_.spool);
    most(again.staging, first.staging, then.staging, once_.staging);
    most(again.safety, first.safety, then.safety, once_.safety);
  }
  static std::string to_string(const BytesWritten& bytes) {
    return "store " + std::to_string(bytes.store) + ", spool " + std::to_string(bytes.spool) + ", staging " +
           std::to_string(bytes.staging) + ", safety " + std::to_string(bytes.safety);
  }

  std::unique_ptr<Story> story_;
  bool names_can_change_places_;
  Terminal base_{1234};
  uint64_t seed_ = 0, calls_ = 0, twice_ = 0, new_at_crash_ = 0;
  std::vector<uint64_t> asset_calls_;
  BytesWritten once_;
  std::map<Crash, BytesWritten> again_;
};

}  // namespace

TEST_SUITE_BEGIN("crash points");

TEST_CASE("crash points: a FULL backup goes on from any call") { Crashes("backup FULL").all(); }
TEST_CASE("crash points: an INCREMENTAL backup goes on from any call") { Crashes("backup INCREMENTAL").all(); }
TEST_CASE("crash points: a restore to a file goes on from any call") { Crashes("restore to a file").all(); }
TEST_CASE("crash points: a restore in place goes on from any call, and leaves old or new") {
  Crashes("restore in place").all();
}
TEST_CASE("crash points: assets of a restore in place are put back from any call, and what is not of them stays") {
  Crashes("restore in place").all_of_assets();
}
TEST_CASE("crash points: the same of assets where the file system can't exchange names") {
  Crashes("restore in place", false).all_of_assets();
}
TEST_CASE("crash points: an undo goes on from any call, and leaves old or new") { Crashes("undo").all(); }
TEST_CASE("crash points: a prune that was ended at any call is finished by the next") { Crashes("prune").all(); }
TEST_CASE("crash points: merging segments goes on from any call") { Crashes("merge").all(); }

TEST_SUITE_END();
