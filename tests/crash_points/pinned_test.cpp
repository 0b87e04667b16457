// A prune while a restore is under way: what the restore needs stays until it has ended.

#include "agent/logging/log.h"
#include "crash_points/stories.h"
#include "support/unnamed_file.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using std::chrono::hours;

// FULLs, of which the retention keeps the last, and after each a sale that the log alone has.
struct PrunedTerminal : Terminal {
  std::vector<Uuid> made;
  std::vector<TransactionNo> moments;
  std::vector<Content> content;
  PrunedTerminal() : Terminal(1234) {
    log::set_level(log::Level::off);
    config.retention = {1, 0, 0, 0, 0, hours(1)};
    install();
    start();
    for (int i = 1; i <= 4; i++) {
      sell(2 * i);
      run("UPDATE article SET stock = stock + 1");
      must(agent->ship());
      const Uuid workflow = must(agent->begin_backup("FULL"));
      const auto ended = must(agent->run(workflow));
      REQUIRE(ended.state == RunOutcome::State::done);
      made.push_back(
          must(Uuid::parse(must(agent->engine().describe(workflow)).data.at("snapshot_uuid").get<std::string>())));
      sell(2 * i + 1);
      must(agent->ship());
      moments.push_back(agent->database().status().transaction);
      content.push_back(live());
      clock.advance(hours(30));
    }
  }
  bool has(const Uuid& snapshot) {
    return agent->store().head(keys::manifest(prefix_of(agent->lineage()), snapshot)).has_value();
  }
  void prune() {
    must(agent->pruner().prune(""));
    for (auto& problem : agent->pruner().problems()) FAIL_CHECK(problem);
  }
};

}  // namespace

TEST_SUITE_BEGIN("crash points");

TEST_CASE(
    "prune: beside a restore, the snapshot and the log that it goes by stay, also over a start, until it has ended") {
  PrunedTerminal t;
  const Uuid restore = must(t.agent->begin_restore({{"transaction", t.moments[0]}}));
  std::string waits_at = "sync " + std::string(Terminal::kState) + "/staging/";
  bool again = false;
  SUBCASE("while the agent goes on") {}
  SUBCASE("after a start") { again = true; }
  // It has chosen its snapshot, and its record of that failed.
  SUBCASE("before that is recorded") { waits_at = "write " + std::string(Terminal::kState) + "/state.db"; }
  bool chosen = false;
  t.files.on_call([&](const std::string& call) -> std::optional<ErrorKind> {
    chosen |= call.starts_with("open " + std::string(Terminal::kStore)) && call.ends_with(".manifest");
    return chosen && call.starts_with(waits_at) ? std::optional(ErrorKind::transient) : std::nullopt;
  });
  auto outcome = t.agent->engine().run(restore);
  CHECK(chosen);
  CHECK((!outcome || outcome->state == RunOutcome::State::waiting));
  t.files.reset();
  if (again) {
    t.stop();
    t.start();
  }
  t.prune();
  CHECK(t.has(t.made[0]));
  CHECK_FALSE(t.has(t.made[1]));  // nobody needs it
  outcome = t.agent->run(restore);
  REQUIRE(outcome);
  INFO((outcome->error ? outcome->error->context : "no error"));
  REQUIRE(outcome->state == RunOutcome::State::done);
  const std::string staged = std::string(Terminal::kState) + "/staging/" + restore.str() + ".db";
  check_same(dump_file(must(read_file(t.memory, staged))), t.content[0]);
  // It has ended, and the file was fetched.
  auto target = unnamed_file();
  CHECK(must(t.agent->restores().deliver(t.agent->engine(), restore, *target, false))["proven"] == true);
  t.prune();
  CHECK_FALSE(t.has(t.made[0]));
  CHECK(t.has(t.made[3]));
}

TEST_SUITE_END();
