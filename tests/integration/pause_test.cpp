// A pause lets go of the application's files; who watches is told; nothing sold meanwhile is lost.
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// Files of the application that the process has open: descriptors and mappings.
std::vector<std::string> open_files(pid_t process, const std::string& database) {
  std::vector<std::string> found;
  const std::string proc = "/proc/" + std::to_string(process);
  std::error_code gone;
  for (auto& entry : std::filesystem::directory_iterator(proc + "/fd", gone)) {
    const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.starts_with(database)) found.push_back(target);
  }
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);)
    if (contains(line, database)) found.push_back(line);
  return found;
}

struct Counted {
  uint64_t sales;
  std::string digest;
};
Counted counted(World& world) {
  return {static_cast<uint64_t>(world.query("SELECT count(*) FROM sale")),
          world.query_text("SELECT group_concat(id || '=' || total) FROM (SELECT * FROM sale ORDER BY id)")};
}
Counted restored(World& world) {
  const std::string file = world.folder / "restored.db";
  std::filesystem::remove(file);
  const auto ran = world.cli({"restore", "--to", file});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  auto database = must(Connection::open(file, SQLITE_OPEN_READONLY));
  return {static_cast<uint64_t>(must(database.query_integer("SELECT count(*) FROM sale"))),
          must(database.query_text("SELECT group_concat(id || '=' || total) FROM (SELECT * FROM sale ORDER BY id)"))};
}

constexpr const char* kShop =
    "PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY, total INTEGER NOT NULL)";
constexpr const char* kSale = "INSERT INTO sale(total) VALUES(abs(random() % 10000))";

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("pause: when it is answered nothing of the database is open, until it is resumed, across a restart") {
  World world;
  auto app = world.application();
  must(app.execute(kShop));
  world.start_agent();
  must(app.execute(kSale));
  world.flush();
  world.back_up("full");
  CHECK(!open_files(world.agent.pid(), world.db).empty());
  const auto paused = world.cli({"pause", "--for", "1h"});
  CHECK(paused.status == 0);
  CHECK(contains(paused.out, "paused until 20"));
  CHECK(open_files(world.agent.pid(), world.db).empty());
  // What an installer does: it wants the database for itself.
  for (int i = 0; i < 50; i++) must(app.execute(kSale));
  must(app.execute("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE; PRAGMA locking_mode=EXCLUSIVE;"));
  must(app.execute(kSale));
  must(app.execute("PRAGMA locking_mode=NORMAL; PRAGMA journal_mode=WAL"));
  Json status = world.call("status");
  CHECK(status["databases"][0]["mode"] == "paused");
  CHECK(status["paused"]["until"].is_string());
  REQUIRE(status["problems"].size() >= 1);
  const auto says = [](const Json& problems) {
    return std::count_if(problems.begin(), problems.end(), [](auto& problem) { return problem["code"] == "paused"; });
  };
  CHECK(says(status["problems"]) == 1);
  // Nothing that needs the database pretends to have it.
  const auto flushed = world.cli({"flush", "--wait"});
  CHECK(flushed.status == 1);
  CHECK(contains(flushed.err, "'tillsync resume'"));
  const auto backed_up = world.cli({"backup", "--wait"});
  CHECK(backed_up.status == 1);
  CHECK(contains(backed_up.err, "'tillsync resume'"));
  const auto in_place = world.cli({"restore", "--in-place", "--yes"});
  CHECK(in_place.status != 0);
  CHECK(open_files(world.agent.pid(), world.db).empty());
  // An installer restarts the machine.
  world.kill_agent();
  world.start_agent();
  world.until("it is paused again", [&] { return world.database()["mode"] == "paused"; });
  CHECK(open_files(world.agent.pid(), world.db).empty());
  must(app.execute(kSale));
  CHECK(world.cli({"resume"}).status == 0);
  world.flush();
  CHECK(world.call("status")["paused"].is_null());
  const Counted now = counted(world), back = restored(world);
  CHECK(now.sales == 53);
  CHECK(back.sales == 53);
  CHECK(back.digest == now.digest);
  // Without a pause it does nothing.
  CHECK(world.cli({"resume"}).status == 0);
}

TEST_CASE("pause: one of a length ends by itself, also when the agent was away at its end") {
  World world;
  auto app = world.application();
  must(app.execute(kShop));
  world.start_agent();
  world.flush();
  world.call("pause", {{"for_ms", 1000}});
  must(app.execute(kSale));
  world.until("capture goes on", [&] { return world.database()["mode"] != "paused"; });
  CHECK(world.flush()["durable_sequence"] == world.database()["sequence"]);
  world.call("pause", {{"for_ms", 1500}});
  world.kill_agent();
  must(app.execute(kSale));
  world.start_agent();
  world.until("capture goes on",
              [&] { return world.database()["mode"] != "paused" && world.call("status")["paused"].is_null(); });
  world.flush();
  CHECK(world.database()["lag_actions"] == 0);
  auto client = must(ControlClient::connect(world.socket));
  CHECK(client.call("pause", {{"for_ms", 1}}).error().kind == ErrorKind::usage);
  CHECK(client.call("pause", {{"for_ms", "1h"}}).error().kind == ErrorKind::usage);
}

TEST_CASE("pause: it ends the first copy of a database early, and a busy till is followed afterwards") {
  World world;
  {
    auto app = world.application();
    must(app.execute(kShop));
    must(
        app.execute("CREATE TABLE ballast(b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE "
                    "i<40000) INSERT INTO ballast SELECT randomblob(2000) FROM n"));
  }
  world.start_agent();
  world.call("pause");
  CHECK(open_files(world.agent.pid(), world.db).empty());
  CHECK(world.database()["sequence"] == 0);
  auto app = world.application();
  std::atomic<bool> done = false;
  std::thread till([&] {
    while (!done) must(app.execute(kSale));
  });
  // Again and again, in the middle of everything.
  for (int i = 0; i < 20; i++) {
    world.call("resume");
    if (i % 3 == 0) world.until("something is captured", [&] { return world.database()["mode"] != "paused"; });
    world.call("pause");
    CHECK(open_files(world.agent.pid(), world.db).empty());
  }
  world.call("resume");
  world.flush();
  done = true;
  till.join();
  world.back_up("full");
  for (int i = 0; i < 10; i++) must(app.execute(kSale));
  world.flush();
  const Counted now = counted(world), back = restored(world);
  CHECK(back.sales == now.sales);
  CHECK(back.digest == now.digest);
}

TEST_CASE("watch: who watches is told the state at once and when it changes, and nothing else") {
  World world;
  auto app = world.application();
  must(app.execute(kShop));
  world.start_agent();
  must(app.execute(kSale));
  world.flush();
  world.back_up("full");
  std::mutex mutex;
  std::vector<Json> told;
  std::atomic<bool> enough = false;
  std::thread watcher([&] {
    auto client = must(ControlClient::connect(world.socket, [&] { return enough.load(); }));
    ControlClient::CallOptions options;
    options.on_notification = [&](const std::string& method, const Json& params) {
      CHECK(method == "state");
      std::lock_guard lock(mutex);
      told.push_back(params);
    };
    CHECK(!client.call("watch", Json::object(), options));
  });
  const auto last = [&] {
    std::lock_guard lock(mutex);
    return told.empty() ? Json::object() : told.back();
  };
  const auto is = [&](const char* state) { return last().value("state", "") == state; };
  world.until("the state is told", [&] { return is("ok"); });
  CHECK(last()["waiting"] == 0);
  CHECK(last()["last_backup_at"].is_string());
  CHECK(last()["safe_until"] == world.database()["last_capture_at"]);
  CHECK(last()["workflow"].is_null());
  world.call("pause");
  world.until("the pause is told", [&] { return is("paused"); });
  CHECK(last()["paused_until"].is_null());
  world.call("resume");
  world.until("its end is told", [&] { return is("ok"); });
  // A store that is away is no alarm at first; sales that wait are told.
  std::filesystem::rename(world.store, world.store + ".away");
  std::ofstream(world.store) << "no folder";
  must(app.execute(kSale));
  world.until("the sale waits", [&] { return last()["waiting"] == 1; });
  std::filesystem::remove(world.store);
  std::filesystem::rename(world.store + ".away", world.store);
  world.until("it is safe", [&] { return last()["waiting"] == 0 && is("ok"); });
  // Moved away, the database is a problem of this moment.
  std::filesystem::rename(world.db, world.db + ".away");
  CHECK(!must(ControlClient::connect(world.socket)).call("flush"));
  world.until("the problem is told", [&] { return is("attention"); });
  std::filesystem::rename(world.db + ".away", world.db);
  world.until("that it is over as well", [&] { return is("ok"); });
  enough = true;
  watcher.join();
  std::lock_guard lock(mutex);
  for (size_t i = 1; i < told.size(); i++) CHECK(told[i] != told[i - 1]);
}

TEST_SUITE_END();
