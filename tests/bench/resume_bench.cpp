// What a kill costs, and what the workflow engine costs: backups and restores of a large database by the real agent.
//
//   resume_bench [resume|overhead|drill]... [--mb N] [--rounds N]
//
//   resume    the agent is killed in the middle of a step of a FULL backup, or of a restore in place, and goes on.
//             Bytes that it wrote (spool, store, staged file, safety copy, state.db), beside those of a run that
//             nobody disturbed: what is more was done again. Kills that came after the end of the step do not count
//   overhead  of a FULL backup: the time of the whole, and what of it lies outside of its steps: commits of state.db,
//             waits between steps; and how long one report of progress takes
//   drill     a restore drill beside a restore to a file of the same moment, in pairs
// Nothing named: all.
#define DOCTEST_CONFIG_IMPLEMENT
#include <CLI/CLI.hpp>
#include <map>

#include "integration/world.h"
#include "platform/linux/system_clock_linux.h"
#include "support/process_figures.h"
#include "workflow/progress.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;
using Steady = std::chrono::steady_clock;

constexpr double kMb = 1e6;

// A shop with a history of so many MB, which nothing compresses.
struct Shop : World {
  explicit Shop(int64_t megabytes) : World("", "1s") {
    start_shop({"--sales", "100"});
    wait_for_shop();
    auto app = must(Connection::open(db, SQLITE_OPEN_READWRITE));
    must(app.execute(
        "PRAGMA busy_timeout=60000; PRAGMA synchronous=OFF; CREATE TABLE history(id INTEGER PRIMARY KEY, body)"));
    auto insert =
        must(app.prepare("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<5000) INSERT INTO "
                         "history(body) SELECT randomblob(1000) FROM g"));
    while (must(app.query_integer("PRAGMA page_count")) * 4096 < megabytes * 1000000) must(insert.run());
    insert = {};
    must(app.execute("PRAGMA wal_checkpoint(TRUNCATE)"));
    start_agent();
    flush();
  }
  // By all write calls of the agent since its start.
  double written() {
    std::ifstream in("/proc/" + std::to_string(agent.pid()) + "/io");
    std::string name;
    double value = 0;
    while (in >> name >> value)
      if (name == "wchar:") return value;
    return 0;
  }
  // As it is in state.db; of an agent that does not run.
  std::string status_of(const std::string& uuid, const std::string& step) {
    auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READONLY));
    must(state.execute("PRAGMA busy_timeout = 60000"));
    return must(
        state.query_text("SELECT s.status FROM workflow_steps s JOIN workflows w ON w.id=s.workflow_id WHERE w.uuid='" +
                         uuid + "' AND s.step_type='" + step + "'"));
  }
  Json workflow(const std::string& uuid) { return call("workflows", {{"uuid", uuid}})[0]; }
  Json wait_for_end(const std::string& uuid) {
    Json ended = call("workflow.wait", {{"uuid", uuid}});
    if (ended["status"] != "COMPLETED") throw std::logic_error(ended.dump());
    return workflow(uuid);
  }
};

double at(const Json& time) { return static_cast<double>(to_ms(must(parse_rfc3339(time.get<std::string>())))); }

struct Work {
  const char* name;
  const char* method;
  Json params;
  std::vector<std::string> steps;  // in which the agent is killed
};

void resume(Shop& shop, int rounds) {
  shop.back_up("full");
  // Something to replay, and to put back.
  const auto transaction = shop.database()["transaction"].get<uint64_t>() + 1;
  for (const char* rows : {"0", "1"}) {
    auto app = must(Connection::open(shop.db, SQLITE_OPEN_READWRITE));
    must(app.execute(std::string("PRAGMA busy_timeout=60000; PRAGMA synchronous=OFF; UPDATE history SET "
                                 "body=randomblob(1000) WHERE id % 10 = ") +
                     rows));
    app = {};
    shop.flush();
  }
  const std::vector<Work> all{
      {"restore in place",
       "restore",
       {{"in_place", true}, {"transaction", transaction}},
       {"RESTORE_DATABASE", "REPLAY_ACTION_LOG", "FINAL_VALIDATION", "CLEAR_EXISTING_DATA", "ACTIVATE"}},
      {"FULL backup, nothing shared",
       "backup",
       {{"type", "full"}, {"dedup", false}},
       {"CAPTURE_TABLE_DATA", "UPLOAD"}}};
  for (auto& work : all) {
    auto begin = [&] { return shop.call(work.method, work.params)["uuid"].get<std::string>(); };
    // The first one puts back what is not the moment's; the next ones find it so.
    shop.wait_for_end(begin());
    shop.flush();
    // Nobody disturbs it; what each of its steps writes is seen at its end.
    double before = shop.written(), last = before;
    std::string step;
    std::map<std::string, double> of_step;
    const std::string undisturbed = begin();
    while (true) {
      Json now = shop.workflow(undisturbed);
      const std::string current = now["step"].is_string() ? now["step"].get<std::string>() : "";
      if (current != step) {
        const double written = shop.written();
        of_step[step] += written - last;
        last = written;
        step = current;
      }
      if (now["status"] == "COMPLETED") break;
      if (now["status"] == "FAILED") throw std::logic_error(now.dump());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const double whole = shop.written() - before;
    std::printf("resume: %s: %.1f MB written when nobody disturbs it\n", work.name, whole / kMb);
    for (auto& wanted : work.steps) {
      std::vector<double> again;
      double in_step = 0;
      int late = 0;
      while (static_cast<int>(again.size()) < rounds && late < 2 * rounds) {
        before = shop.written();
        const std::string uuid = begin();
        double at_begin = -1, killed_at = 0;
        // At half of what the step writes, or right after its begin where that is next to nothing.
        while (true) {
          killed_at = shop.written();
          Json now = shop.workflow(uuid);
          if (now["status"] == "COMPLETED") break;
          if (now["step"] == wanted && at_begin < 0) at_begin = killed_at;
          if (at_begin >= 0 &&
              (of_step[wanted] < 10 * kMb || killed_at - at_begin >= of_step[wanted] / 2 || now["step"] != wanted))
            break;
        }
        killed_at = shop.written();
        shop.kill_agent();
        const bool is_in_it = shop.status_of(uuid, wanted) == "IN_PROGRESS";
        shop.start_agent();
        shop.wait_for_end(uuid);
        if (at_begin < 0 || !is_in_it) {
          late++;
          continue;
        }
        in_step = std::max(in_step, killed_at - at_begin);
        again.push_back(killed_at - before + shop.written() - whole);
      }
      if (late > 0)
        std::printf("resume: %s, %s: over before it was killed, %d times\n", work.name, wanted.c_str(), late);
      if (again.empty()) continue;
      std::printf(
          "resume: %s, killed in %s (which writes %.1f MB) at %.1f MB of it, %d times: done again %.1f MB (%.1f to "
          "%.1f)\n",
          work.name, wanted.c_str(), of_step[wanted] / kMb, in_step / kMb, static_cast<int>(again.size()),
          median(again) / kMb, quantile(again, 0) / kMb, quantile(again, 1) / kMb);
      std::fflush(stdout);
    }
  }
}

void overhead(Shop& shop, int64_t megabytes, int rounds) {
  std::vector<double> shares, wholes;
  for (int i = 0; i < rounds; i++) {
    const Json started = shop.call("backup", {{"type", "full"}, {"dedup", false}});
    const Json ended = shop.wait_for_end(started["uuid"]);
    double inside = 0;
    for (auto& step : ended["steps"]) inside += at(step["ended_at"]) - at(step["started_at"]);
    const double whole = at(ended["completed_at"]) - at(ended["created_at"]);
    wholes.push_back(whole);
    shares.push_back(100 * (whole - inside) / whole);
  }
  // What a step says of its progress is inside of it.
  SystemClock clock;
  ProgressBoard board(clock);
  const Uuid uuid{};
  board.begin_step(uuid, "BACKUP", "CAPTURE_TABLE_DATA", 1, 8);
  constexpr uint64_t kReports = 1000000;
  const auto start = Steady::now();
  for (uint64_t i = 0; i < kReports; i++) board.update(uuid, i, i * 4096, kReports * 4096);
  const double ns = std::chrono::duration<double, std::nano>(Steady::now() - start).count() / kReports;
  // At most one report a page.
  const double reports_ms = ns * static_cast<double>(megabytes) * 1e6 / 4096 / 1e6;
  std::printf(
      "overhead: FULL of %ld MB, %d times: %.0f ms (%.0f to %.0f), outside of its steps %.2f %% (%.2f to %.2f); a "
      "report of progress %.0f ns, one a page would be %.2f %%\n",
      static_cast<long>(megabytes), rounds, median(wholes), quantile(wholes, 0), quantile(wholes, 1), median(shares),
      quantile(shares, 0), quantile(shares, 1), ns, 100 * reports_ms / median(wholes));
}

// Both through the command line, as a person waits for them.
void drill(Shop& shop, int rounds) {
  shop.back_up("full");
  std::vector<double> restores, drills, ratios;
  const std::string to = shop.folder / "restored.db";
  auto timed = [&](std::vector<std::string> words) {
    const auto start = Steady::now();
    auto ran = shop.cli(std::move(words));
    if (ran.status != 0) throw std::logic_error(ran.err);
    return std::chrono::duration<double, std::milli>(Steady::now() - start).count();
  };
  for (int i = 0; i <= rounds; i++) {
    const double restored = timed({"restore", "--to", to, "--force"}), drilled = timed({"drill"});
    if (i == 0) continue;  // the first pair warms up
    restores.push_back(restored);
    drills.push_back(drilled);
    ratios.push_back(drilled / restored);
  }
  std::printf("drill: %d pairs: drill %.0f ms, restore to a file %.0f ms, ratio %.2f (%.2f to %.2f)\n", rounds,
              median(drills), median(restores), median(ratios), quantile(ratios, 0), quantile(ratios, 1));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> what;
  int64_t megabytes = 500;
  int rounds = 3;
  CLI::App app{"what a kill costs, and what the workflow engine costs"};
  app.add_option("what", what)->check(CLI::IsMember({"resume", "overhead", "drill"}));
  app.add_option("--mb", megabytes)->check(CLI::Range(10, 10000));
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  doctest::Context context;  // World reports through it
  context.setAsDefaultForAssertsOutOfTestCases();
  if (what.empty()) what = {"overhead", "drill", "resume"};
  Shop shop(megabytes);
  for (auto& one : what) {
    if (one == "resume") resume(shop, rounds);
    if (one == "overhead") overhead(shop, megabytes, rounds);
    if (one == "drill") drill(shop, rounds);
    std::fflush(stdout);
  }
  shop.stop_agent();
}
