// Capture while our own disk loses its power: state.db and the replica go back to what was synced, whole or torn; the
// application's files stay as they are. The log that goes on afterwards is still exact.
#include <deque>

#include "capture/random_shop.h"
#include "capture/replica_checks.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

class PoweredTill {
 public:
  PoweredTill(uint64_t seed, const std::string& pragmas)
      : random_(seed), till_(seed + 1, pragmas, files_, "/state"), shop_(till_, random_) {
    memory_.add_directory("/state");
    shop_.create();
    for (int i = 0; i < 15; i++) shop_.transaction();
  }

  // One start of the agent, from opening its state to losing the power, then the look at what is left.
  void life() {
    files_.reset();
    powered_ = true;
    // Short ones meet the start and the first write-back, long ones a grown log.
    uint64_t at = 1 + random_.below(random_.chance(30) ? 60 : 700);
    arm(at);
    if (till_.try_open_state()) work(40);
    losses_in_time += !powered_;
    last_call = files_.failed_call();
    shut_down();
    recover();
  }

  // Call n of a write-back fails, capture goes on with the same pages, and then the power goes. False: there was no
  // call n.
  bool failed_write_back(uint64_t n) {
    files_.reset();
    powered_ = true;
    must(till_.try_open_state());
    REQUIRE(capture());
    REQUIRE(follow());
    for (int i = 0; i < 3; i++) shop_.transaction();
    REQUIRE(capture());
    files_.reset();
    files_.fail_at(n, ErrorKind::no_space);
    till_.capturer->request_cut([](Result<SnapshotCut>) {});
    till_.capturer->step();
    last_call = files_.failed_call();
    files_.reset();
    for (int i = 0; i < 3; i++) shop_.transaction();
    bool caught_up = false;
    for (int i = 0; i < 3 && !caught_up; i++) {
      till_.capturer->request_capture([&](Result<Sequence> r) { caught_up = r.has_value(); });
      till_.capturer->step();
    }
    CHECK(caught_up);
    REQUIRE(follow());
    must(till_.state->make_durable());
    durable_ = moments_.back().sequence();
    shut_down();
    recover();
    return !last_call.empty();
  }

  int losses_in_time = 0, went_back = 0, started_over = 0;
  std::string last_call;

 private:
  static constexpr size_t kMomentsMax = 400;

  void arm(uint64_t call) {
    files_.at_call(call, [this] {
      // The test's own look into state.db is not what is tried.
      if (looking_) return arm(files_.calls() + 1);
      memory_.cut_power();
      powered_ = false;
    });
  }

  void shut_down() {
    memory_.cut_power();
    cut_ = {};
    till_.capturer.reset();
    till_.state.reset();
    if (random_.chance(40)) {
      memory_.crash();
    } else {
      memory_.crash(random_);
    }
    files_.reset();
    powered_ = true;
  }

  void work(int rounds) {
    // A commit is one call, and most calls are of cuts, which sync first: in some lives they are rare.
    const uint32_t cuts = random_.chance(50) ? 20 : 2;
    for (int i = 0; i < rounds && powered_; i++) {
      application_goes_on();
      if (random_.chance(25)) continue;  // several at once
      if (!capture()) return;
      if (!follow()) return;
      if (random_.chance(cuts) && !cut()) return;
      if (random_.chance(10)) {
        if (!till_.state->make_durable()) return;
        durable_ = moments_.back().sequence();
      }
      if (random_.chance(5)) {
        till_.clock.advance(std::chrono::seconds(12));
        for (int s = 0; s < 4 && powered_; s++) till_.capturer->step();
      }
    }
  }

  void application_goes_on() {
    shop_.transaction();
    if (random_.below(40) == 0) till_.run("VACUUM");
    // Fails while our connections read: then the log just grows.
    if (random_.below(12) == 0) (void)till_.app.execute("PRAGMA wal_checkpoint(RESTART)").has_value();
  }

  // False when the power went.
  bool capture() {
    bool answered = false;
    till_.capturer->request_capture([&](Result<Sequence> r) { answered = r.has_value(); });
    for (int i = 0; i < 50 && powered_ && !answered; i++) {
      till_.capturer->step();
      till_.clock.advance(std::chrono::milliseconds(1));
      auto problem = till_.capturer->status().problem;
      if (powered_ && problem) FAIL("capture: " << problem->text);
    }
    CHECK((answered || !powered_));
    return powered_ && answered;
  }

  bool cut() {
    bool answered = false;
    Sequence sequence = 0;
    till_.capturer->request_cut([&](Result<SnapshotCut> r) {
      answered = r.has_value();
      if (!answered) return;
      sequence = r->sequence;
      // Kept until the next one: pages that change meanwhile are preserved for it.
      cut_ = std::move(r->image);
    });
    for (int i = 0; i < 50 && powered_ && !answered; i++) till_.capturer->step();
    if (!answered) return false;
    durable_ = sequence;
    return powered_;
  }

  // The newest moment goes on to the end of the log.
  bool follow() {
    looking_ = true;
    if (moments_.empty()) {
      Model model(till_);
      model.start();
      moments_.push_back(std::move(model));
    } else {
      Model next = moments_.back();
      next.follow();
      if (next.sequence() != moments_.back().sequence()) moments_.push_back(std::move(next));
      if (moments_.size() > kMomentsMax) moments_.pop_front();
    }
    check_same(moments_.back().content(), till_.live());
    looking_ = false;
    return powered_;
  }

  void recover() {
    must(till_.try_open_state());
    look_at_state();
    REQUIRE(capture());
    // The first moment of a baseline that survived although nobody was told of it: its rows are those of now.
    REQUIRE(follow());
    check_replica(till_);
    must(till_.state->make_durable());
    durable_ = moments_.back().sequence();
    till_.capturer.reset();
    till_.state.reset();
  }

  void look_at_state() {
    auto db = till_.state->lease();
    CHECK(must(db->query_text("PRAGMA integrity_check")) == "ok");
    bool baseline = must(db->query_integer("SELECT baseline_at IS NOT NULL FROM databases WHERE id=1")) == 1;
    auto sequence = static_cast<Sequence>(must(db->query_integer("SELECT sequence FROM databases WHERE id=1")));
    CHECK(must(db->query_integer("SELECT coalesce(max(id), 0) FROM action_log")) ==
          (sequence ? scoped_id(1, sequence) : 0));
    CHECK(must(db->query_integer("SELECT count(*) FROM action_log")) == static_cast<int64_t>(sequence));
    // What was made durable is there.
    CHECK(sequence >= durable_);
    if (durable_) CHECK(baseline);
    if (baseline) {
      went_back += !moments_.empty() && sequence < moments_.back().sequence();
      while (!moments_.empty() && moments_.back().sequence() > sequence) moments_.pop_back();
    } else {
      started_over += !moments_.empty();
      moments_.clear();
    }
    durable_ = 0;
  }

  MemoryFileSystem memory_;
  FaultyFileSystem files_{memory_};
  SeededRandom random_;
  Till till_;
  RandomShop shop_;
  bool powered_ = true, looking_ = false;
  Sequence durable_ = 0;
  std::unique_ptr<PageImage> cut_;
  std::deque<Model> moments_;  // the model at sequences of the log, oldest first
};

void losses(const std::string& pragmas, int lives) {
  uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  PoweredTill till(seed, pragmas);
  for (int i = 0; i < lives; i++) {
    CAPTURE(i);
    CAPTURE(till.last_call);
    till.life();
  }
  MESSAGE(till.losses_in_time << " losses under load, " << till.went_back << " went back to an earlier sequence, "
                              << till.started_over << " to before the baseline");
  CHECK(till.losses_in_time > lives / 3);
  CHECK(till.went_back > 0);
}

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: 100 power losses under load, the log goes on exactly") {
  losses("PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;", 100);
}
TEST_CASE("capture: power losses with auto-vacuum, where the replica shrinks and grows") {
  losses("PRAGMA page_size=512; PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;", 60);
}
TEST_CASE("capture: power losses while a baseline is made lose no database") {
  uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  for (uint64_t i = 0; i < 12; i++) {
    CAPTURE(i);
    PoweredTill till(seed + i, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;");
    for (int life = 0; life < 2; life++) till.life();
  }
}
TEST_CASE("capture: a write-back fails at a call, capture goes on, then the power goes") {
  uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  PoweredTill till(seed, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;");
  uint64_t n = 1;
  // Not each of the page writes, which are alike: the steps grow.
  for (; n < 400; n += 1 + n / 5) {
    CAPTURE(n);
    if (!till.failed_write_back(n)) break;
    CAPTURE(till.last_call);
  }
  CHECK(n > 20);
}

TEST_SUITE_END();
