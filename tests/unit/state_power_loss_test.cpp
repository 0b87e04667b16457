// state.db on a file system that loses its power: an earlier commit may come back, never a mix, and nothing that
// make_durable() promised is lost.
#include <doctest/doctest.h>

#include "sqlite/file_vfs.h"
#include "state/state_db.h"
#include "support/fake_clock.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Till {
  MemoryFileSystem memory;
  FaultyFileSystem files{memory};
  FakeClock clock;
  SeededRandom ids{1};
  FileVfs vfs{files, clock, ids};
  int64_t committed = 0;  // newest commit that was answered with success
  int64_t durable = 0;    // newest commit make_durable() covered

  Till() { memory.add_directory("/state"); }
  Result<std::unique_ptr<StateDb>> open() { return StateDb::open("/state/state.db", vfs.name(), clock); }

  // Every commit writes its number twice, with ballast in between that makes checkpoints happen.
  Result<void> work(int rounds) {
    TILLSYNC_LET(auto state, open());
    TILLSYNC_TRY(state->lease()->execute(
        "PRAGMA wal_autocheckpoint=20; CREATE TABLE IF NOT EXISTS ballast(n INTEGER PRIMARY KEY, b)"));
    for (int i = 0; i < rounds; i++) {
      int64_t next = committed + 1;
      {
        auto db = state->lease();
        TILLSYNC_LET(auto transaction, Transaction::begin(*db));
        TILLSYNC_TRY(state->set_setting("first", std::to_string(next)));
        TILLSYNC_LET(auto insert, db->cached("INSERT INTO ballast VALUES(?, zeroblob(9000))"));
        TILLSYNC_TRY(insert->bind(1, next).run());
        TILLSYNC_TRY(state->set_setting("second", std::to_string(next)));
        TILLSYNC_TRY(transaction.commit());
      }
      committed = next;
      if (i % 4 == 3) {
        TILLSYNC_TRY(state->make_durable());
        durable = committed;
      }
    }
    return {};
  }

  // Opens what is left and looks that it is one commit, and late enough.
  void look(int64_t at_least, int64_t at_most) {
    files.reset();
    auto state = must(open());
    CHECK(must(state->lease()->query_text("PRAGMA integrity_check")) == "ok");
    int64_t first = std::stoll(must(state->setting("first")).value_or("0"));
    int64_t second = std::stoll(must(state->setting("second")).value_or("0"));
    CHECK(first == second);
    CHECK(first >= at_least);
    CHECK(first <= at_most);
    if (must(state->lease()->query_integer("SELECT count(*) FROM sqlite_schema WHERE name='ballast'")) == 1)
      CHECK(must(state->lease()->query_integer("SELECT count(*) FROM ballast")) == first);
    committed = durable = first;
    must(state->make_durable());
  }
};

}  // namespace

TEST_SUITE("state") {
  TEST_CASE("state.db: 100 power losses under load leave a whole earlier commit, and all that was made durable") {
    uint64_t seed = SeededRandom::seed_of_this_run();
    CAPTURE(seed);
    SeededRandom random(seed);
    Till till;
    int losses = 0;
    for (int round = 0; round < 100; round++) {
      CAPTURE(round);
      till.files.reset();
      till.files.at_call(1 + random.below(600), [&] { till.memory.cut_power(); });
      bool done = till.work(30).has_value();
      losses += !done;
      till.memory.cut_power();
      till.memory.crash(random);
      // The commit that was under way may have become whole although nobody was told.
      till.look(till.durable, till.committed + 1);
    }
    CHECK(losses > 20);
  }

  TEST_CASE("state.db: a kill at any moment loses no commit that was answered") {
    // A killed process: the kernel keeps what was written; only the calls stop.
    SeededRandom random(11);
    Till till;
    for (int round = 0; round < 40; round++) {
      CAPTURE(round);
      till.files.reset();
      till.files.fail_at(1 + random.below(400), ErrorKind::internal, true);
      (void)till.work(10).has_value();
      till.look(till.committed, till.committed + 1);
    }
  }

  TEST_CASE("state.db: every single failing call is reported, and the next start is whole") {
    for (ErrorKind kind : {ErrorKind::no_space, ErrorKind::transient}) {
      Till till;
      for (uint64_t n = 1;; n++) {
        CAPTURE(n);
        till.files.reset();
        till.files.fail_at(n, kind);
        auto done = till.work(3);
        if (till.files.failed_call().empty()) {
          CHECK(done.has_value());
          break;
        }
        till.look(till.committed, till.committed + 1);
      }
    }
  }

  TEST_CASE("state.db: make_durable syncs in the first call after a start too") {
    Till till;
    for (int start = 0; start < 3; start++) {
      {
        auto state = must(till.open());
        must(state->set_setting("a", std::to_string(start)));
        must(state->make_durable());
        till.memory.cut_power();
      }
      till.memory.crash();
      CHECK(must(must(till.open())->setting("a")) == std::to_string(start));
    }
  }
}
