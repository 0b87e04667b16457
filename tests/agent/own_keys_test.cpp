// The first start of a terminal: its id, that it is sealed, its keys. Cut off anywhere, the next one goes on.
#include "agent/keys/own_keys.h"

#include <doctest/doctest.h>

#include "sqlite/file_vfs.h"
#include "support/fake_clock.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/results.h"
#include "support/sampled.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct FirstStart {
  MemoryFileSystem memory;
  FaultyFileSystem files{memory};
  FakeClock clock;
  const uint64_t seed = SeededRandom::seed_of_this_run();
  SeededRandom random{seed};
  Config config = default_config();

  FirstStart() {
    config.terminal.name = "store-1/till-1";
    config.terminal.state_dir = "/state";
    memory.add_directory("/state");
    memory.sync_all();
  }

  struct Known {
    Uuid terminal;
    std::string recipients;
    bool operator==(const Known&) const = default;
  };
  Result<Known> start() {
    FileVfs vfs(files, clock, random);
    TILLSYNC_LET(auto state, StateDb::open("/state/state.db", vfs.name(), clock));
    Known known;
    TILLSYNC_LET(known.terminal, establish_terminal(config, *state, clock, random));
    TILLSYNC_LET(const auto keys, establish_keys(config, files, *state, known.terminal, clock, random));
    known.recipients = keys.ring ? keys.ring->recipients_digest().hex() : "";
    return known;
  }
};

}  // namespace

TEST_SUITE_BEGIN("agent");

TEST_CASE("own keys: a first start that ends at any of its calls, by a kill or a power cut, is gone on with") {
  enum class End { kill, power, power_keeps_some };
  FirstStart whole;
  must(whole.start());
  const uint64_t calls = whole.files.calls();
  REQUIRE(calls > 50);
  SeededRandom random(SeededRandom::seed_of_this_run());
  for (const End end : {End::kill, End::power, End::power_keeps_some}) {
    const Sampled calls_tried(random, 4);
    for (uint64_t n = 1 + calls_tried.first(); n <= calls; n += calls_tried.step()) {
      FirstStart till;
      CAPTURE(till.seed);
      till.files.fail_at(n, ErrorKind::transient, true);
      const auto first = till.start();
      const std::string ended_at = till.files.failed_call();
      CAPTURE(ended_at);
      till.files.reset();
      if (end == End::power) till.memory.crash();
      if (end == End::power_keeps_some) till.memory.crash(till.random);
      const auto second = must(till.start());
      CHECK_FALSE(second.recipients.empty());
      if (first) CHECK(*first == second);
      CHECK(must(till.start()) == second);
      till.config.keys.seal = false;
      CHECK(contains(refused(till.start()).context, "sealed: take seal = false out"));
    }
  }
}

TEST_CASE("own keys: a terminal that began without seals goes on so, and is told how to begin anew with them") {
  FirstStart till;
  till.config.keys.seal = false;
  const auto first = must(till.start());
  CHECK(first.recipients.empty());
  CHECK(must(till.start()) == first);
  till.config.keys.seal = true;
  CHECK(contains(refused(till.start()).context, "not sealed: set seal = false to go on with them"));
}

TEST_SUITE_END();
