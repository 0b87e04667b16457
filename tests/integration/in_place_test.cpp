// A restore into the database that is followed, by the real agent and the real command line, the shop open.
#include <map>

#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// What every table holds, of a database that is not changed meanwhile.
void check_holds(World& world, const std::string& expected) {
  world.flush();
  check_equal_to(expected, world.db);
}

struct InPlace : World {
  using World::World;
  // A shop with a past and a present, and a copy of each.
  std::string past = folder / "past.db", present = folder / "present.db";
  uint64_t transaction = 0;
  void trade() {
    start_shop({"--sales", "200"});
    wait_for_shop();
    start_agent();
    back_up("full");
    start_shop({"--sales", "100"});
    wait_for_shop();
    flush();
    transaction = database()["transaction"].get<uint64_t>();
    copy_to(past);
    start_shop({"--sales", "150"});
    wait_for_shop();
    flush();
    copy_to(present);
  }
  void copy_to(const std::string& path) {
    auto from = reader();
    auto to = must(Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    auto* backup = sqlite3_backup_init(to.handle(), "main", from.handle(), "main");
    REQUIRE(sqlite3_backup_step(backup, -1) == SQLITE_DONE);
    sqlite3_backup_finish(backup);
  }
  Ran restore(std::vector<std::string> more) {
    std::vector<std::string> words{"restore", "--in-place", "--yes", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return cli(words);
  }
  std::map<std::string, std::string> steps_of(const std::string& type) {
    std::map<std::string, std::string> steps;
    for (auto& workflow : call("workflows"))
      if (workflow["type"] == type && steps.empty())
        for (auto& step : workflow["steps"]) steps[step["name"]] = step["status"];
    return steps;
  }
  size_t files_in(const std::string& name) {
    size_t count = 0;
    for (auto& entry : std::filesystem::directory_iterator(folder / ("state/" + name)))
      count += entry.is_regular_file();
    return count;
  }
};

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("restore in place: to a moment with an application attached, undone, and undone again") {
  InPlace world;
  world.trade();
  auto app = world.application();
  auto count = must(app.prepare("SELECT count(*) FROM orders"));
  REQUIRE(must(count.step()));
  const int64_t orders_now = count.integer(0);
  count.reset();

  auto refused = world.cli({"restore", "--in-place"});
  CHECK(refused.status == 5);
  CHECK(refused.err.find("--yes") != std::string::npos);

  auto ran = world.restore({"--transaction", std::to_string(world.transaction)});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(ran.json()["proven"] == true);
  CHECK(ran.json()["transaction"] == world.transaction);
  REQUIRE(must(count.step()));
  CHECK(count.integer(0) < orders_now);
  count.reset();
  check_holds(world, world.past);
  auto steps = world.steps_of("RESTORE");
  CHECK(steps["ACTIVATE"] == "COMPLETED");
  CHECK(steps["REPLAY_ACTION_LOG"] == "COMPLETED");
  CHECK(world.steps_of("REPLAY")["APPLY_ACTIONS"] == "COMPLETED");
  CHECK(world.files_in("staging") == 0);
  CHECK(world.files_in("safety") == 1);

  // The log knows what happened, and that what came after the moment is undone.
  auto log = world.cli({"log", "--json"});
  std::map<std::string, int> kinds, statuses;
  std::istringstream lines(log.out);
  for (std::string line; std::getline(lines, line);) {
    auto action = Json::parse(line);
    kinds[action["action"]]++;
    statuses[action["status"]]++;
  }
  CHECK(kinds["RESTORE"] == 1);
  CHECK(statuses["ROLLED_BACK"] > 0);
  CHECK(statuses["PENDING"] == 0);

  // Sales go on, and the restore is a moment like another.
  world.start_shop({"--sales", "20"});
  world.wait_for_shop();
  const std::string later = world.folder / "later.db";
  world.flush();
  world.copy_to(later);
  StoreSide side(world);
  CHECK(side.restore({}).proven);
  check_equal_to(later, side.staging);

  auto undone = world.restore({"--undo"});
  INFO(undone.err);
  REQUIRE(undone.status == 0);
  CHECK(undone.json()["proven"] == true);
  check_holds(world, world.present);
  CHECK(world.files_in("safety") == 1);
  auto again = world.restore({"--undo"});
  REQUIRE(again.status == 0);
  check_holds(world, later);
  world.stop_agent();
}

TEST_CASE(
    "restore: SQLite's own check is left out where that is asked for, and never of what goes into a live database") {
  InPlace world;
  world.trade();
  const std::string target = world.folder / "back.db";
  auto plain = world.cli({"restore", "--to", target, "--json"});
  REQUIRE(plain.status == 0);
  CHECK_FALSE(plain.json().contains("note"));
  auto unchecked = world.cli({"restore", "--to", target, "--force", "--no-integrity-check", "--json"});
  INFO(unchecked.err);
  REQUIRE(unchecked.status == 0);
  CHECK(unchecked.json()["proven"] == true);
  CHECK(unchecked.json()["note"].get<std::string>().find("integrity_check was left out") != std::string::npos);
  check_equal_to(world.present, target);
  for (const Json& more : {Json{{"in_place", true}}, Json{{"drill", true}}}) {
    Json params = more;
    params["no_integrity_check"] = true;
    CHECK(refused(must(ControlClient::connect(world.socket)).call("restore", params)).kind == ErrorKind::usage);
  }
}

TEST_CASE("restore in place: a till that does not let go is named, and nothing is changed") {
  InPlace world;
  world.trade();
  {
    auto app = world.application();
    must(app.execute("BEGIN IMMEDIATE; UPDATE sale_counter SET n=n"));
    Json begun = world.call("restore", {{"in_place", true}, {"transaction", world.transaction}});
    world.until("it waits", [&] {
      auto workflow = world.call("workflows", {{"uuid", begun["uuid"]}})[0];
      return workflow["step"] == "ACTIVATE";
    });
    // One at a time: the second would take away what the first put aside.
    for (const Json& more : {Json{{"in_place", true}}, Json{{"in_place", true}, {"undo", true}}}) {
      auto second = must(ControlClient::connect(world.socket)).call("restore", more);
      auto error = refused(std::move(second));
      CHECK(error.kind == ErrorKind::conflict);
      CHECK(error.context.find(begun["uuid"].get<std::string>()) != std::string::npos);
    }
    // It is taken back while it waits, and leaves nothing.
    CHECK(world.cli({"cancel", begun["uuid"].get<std::string>()}).status == 0);
    Json ended = world.call("workflow.wait", {{"uuid", begun["uuid"]}});
    CHECK(ended["status"] == "CANCELLED");
    must(app.execute("ROLLBACK"));
  }
  CHECK(world.files_in("staging") == 0);
  CHECK(world.files_in("safety") == 0);
  check_holds(world, world.present);
  auto undo = world.restore({"--undo"});
  CHECK(undo.status == 1);
  CHECK(undo.err.find("nothing can be undone") != std::string::npos);
  world.stop_agent();
}

TEST_CASE("restore in place: what does not hold what was proven, after the commit, is taken back by itself") {
  InPlace world;
  world.trade();
  Json begun;
  {
    auto app = world.application();
    must(app.execute("BEGIN IMMEDIATE"));
    begun = world.call("restore", {{"in_place", true}, {"transaction", world.transaction}});
    world.until("it is proven and waits", [&] {
      return world.call("workflows", {{"uuid", begun["uuid"]}})[0]["step"] == "ACTIVATE";
    });
    // A disk that changes what was written to it.
    auto staged = must(Connection::open(world.folder / ("state/staging/" + begun["uuid"].get<std::string>() + ".db"),
                                        SQLITE_OPEN_READWRITE));
    must(staged.execute("PRAGMA journal_mode=DELETE; UPDATE sale_counter SET n=n+1000"));
    must(app.execute("ROLLBACK"));
  }
  Json ended = world.call("workflow.wait", {{"uuid", begun["uuid"]}});
  INFO(ended.dump());
  CHECK(ended["status"] == "FAILED");
  CHECK(ended["error"]["message"].get<std::string>().find("put back") != std::string::npos);
  check_holds(world, world.present);
  CHECK(world.files_in("staging") == 0);
  CHECK(world.files_in("safety") == 0);
  // The log has both: there and back.
  StoreSide side(world);
  CHECK(side.restore({}).proven);
  check_equal_to(world.present, side.staging);
  world.stop_agent();
}

TEST_CASE("restore in place: the agent is killed on the way, and it is done or not begun") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  InPlace world;
  world.trade();
  int before = 0, after = 0;
  for (int i = 0; i < 6; i++) {
    Json begun = world.call("restore", {{"in_place", true}, {"transaction", world.transaction}});
    const auto uuid = begun["uuid"].get<std::string>();
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random.below(400000));
    // Killed at a random moment; what is read meanwhile is one content or the other.
    while (std::chrono::steady_clock::now() < until) {
      const auto sales = world.query("SELECT n FROM sale_counter");
      CHECK((sales == 300 || sales == 450));
    }
    (world.call("workflows", {{"uuid", uuid}})[0]["status"] == "COMPLETED" ? after : before)++;
    world.kill_agent();
    world.start_agent();
    Json ended = world.call("workflow.wait", {{"uuid", uuid}});
    INFO(ended.dump());
    REQUIRE(ended["status"] == "COMPLETED");
    check_holds(world, world.past);
    REQUIRE(world.restore({"--undo"}).status == 0);
    check_holds(world, world.present);
    CHECK(world.files_in("staging") == 0);
    CHECK(world.files_in("safety") == 1);
  }
  MESSAGE("killed before the end " << before << ", after it " << after);
  StoreSide side(world);
  CHECK(side.restore({}).proven);
  world.stop_agent();
}

TEST_CASE("restore in place: an agent that is stopped while the log is replayed goes on with it") {
  InPlace world;
  world.trade();
  world.start_shop({"--sales", "1500"});
  world.wait_for_shop();
  const auto flushed = world.flush();
  const std::string end = world.folder / "end.db";
  world.copy_to(end);
  int inside = 0;
  for (int i = 0; i < 3; i++) {
    Json begun = world.call("restore", {{"in_place", true}, {"sequence", flushed["sequence"]}});
    auto step = [&] { return world.call("workflows", {{"uuid", begun["uuid"]}})[0]["step"]; };
    world.until("it replays", [&] { return step() == "REPLAY_ACTION_LOG" || step().is_null(); });
    inside += step() == "REPLAY_ACTION_LOG";
    world.stop_agent();
    world.start_agent();
    Json ended = world.call("workflow.wait", {{"uuid", begun["uuid"]}});
    INFO(ended.dump());
    REQUIRE(ended["status"] == "COMPLETED");
    check_holds(world, end);
  }
  CHECK(inside > 0);
  world.stop_agent();
}

TEST_CASE("restore in place: an older schema is brought forward by the steps of IT, a newer one is refused") {
  InPlace world;
  auto app = world.application();
  must(
      app.execute("PRAGMA journal_mode=WAL; PRAGMA user_version=1; CREATE TABLE t(id INTEGER PRIMARY KEY, name);"
                  "INSERT INTO t VALUES(1, 'tea'), (2, 'milk')"));
  const std::string steps = world.folder / "migrations";
  std::filesystem::create_directory(steps);
  auto configure = [&] {
    std::ifstream in(world.config);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    text.replace(text.find("scan_interval"), 0, "migrations = \"" + steps + "\"\n");
    std::ofstream(world.config, std::ios::trunc) << text;
  };
  configure();
  world.start_agent();
  const auto first = world.back_up("full")["uuid"].get<std::string>();
  must(
      app.execute("ALTER TABLE t ADD COLUMN price INTEGER NOT NULL DEFAULT 0; PRAGMA user_version=2; UPDATE t SET "
                  "price=100"));
  world.flush();
  // Without the step: refused before anything is fetched.
  auto missing = world.restore({"--snapshot", first});
  CHECK(missing.status != 0);
  CHECK(missing.err.find("2") != std::string::npos);
  CHECK(world.query("SELECT sum(price) FROM t") == 200);
  std::ofstream(steps + "/001_first.sql") << "CREATE TABLE t(id INTEGER PRIMARY KEY, name);\n";
  std::ofstream(steps + "/002_price.sql") << "ALTER TABLE t ADD COLUMN price INTEGER NOT NULL DEFAULT 0;\nUPDATE t SET "
                                             "price=id*10;\n";
  auto ran = world.restore({"--snapshot", first});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(world.query("SELECT sum(price) FROM t") == 30);
  CHECK(world.query("PRAGMA user_version") == 2);
  CHECK(world.steps_of("MIGRATION")["APPLY_MIGRATIONS"] == "COMPLETED");
  REQUIRE(world.restore({"--undo"}).status == 0);
  CHECK(world.query("SELECT sum(price) FROM t") == 200);
  // The data is newer than the application's database.
  const auto second = world.back_up("full")["uuid"].get<std::string>();
  must(app.execute("PRAGMA user_version=1"));
  world.flush();
  auto newer = world.restore({"--snapshot", second});
  CHECK(newer.status == 1);
  CHECK(newer.err.find("newer application") != std::string::npos);
  world.stop_agent();
}

TEST_SUITE_END();
