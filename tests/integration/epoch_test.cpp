// A till's disk that was cloned, or put back from an old image: what is in the store stays, and each goes on in an
// epoch of its own.
#include "agent/cli/compare_databases.h"
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

void copy_disk(const World& from, const std::string& to) {
  std::filesystem::remove_all(to);
  std::filesystem::create_directories(to);
  std::filesystem::copy(from.folder / "state", to + "/state", std::filesystem::copy_options::recursive);
  for (const char* end : {"", "-wal"})
    if (std::filesystem::exists(from.db + end)) std::filesystem::copy(from.db + end, to + "/pos.db" + end);
}

void put_disk(const std::string& from, World& to) {
  std::filesystem::remove_all(to.folder / "state");
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(to.db + end);
  std::filesystem::copy(from + "/state", to.folder / "state", std::filesystem::copy_options::recursive);
  for (const char* end : {"", "-wal"})
    if (std::filesystem::exists(from + "/pos.db" + end)) std::filesystem::copy(from + "/pos.db" + end, to.db + end);
}

void sell(World& w, int first, int count) {
  auto app = w.application();
  for (int i = first; i < first + count; i++)
    must(app.execute("INSERT INTO sale VALUES(" + std::to_string(i) + ", 'article " + std::to_string(i) + "')"));
}

void open_shop(World& w) {
  auto app = w.application();
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY, text TEXT)"));
}

std::map<std::string, std::string> objects(const World& w) {
  std::map<std::string, std::string> all;
  for (auto& entry : std::filesystem::recursive_directory_iterator(w.store)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::stringstream bytes;
    bytes << in.rdbuf();
    all[std::filesystem::relative(entry.path(), w.store)] = bytes.str();
  }
  return all;
}

// Nothing that was there is another one now, or gone. Names and status are overwritten by design, a probe is put anew.
void check_kept(const std::map<std::string, std::string>& before, const std::map<std::string, std::string>& after) {
  for (auto& [key, bytes] : before) {
    if (key.starts_with("fleet/") || contains(key, "/probe/")) continue;
    INFO(key);
    REQUIRE(after.contains(key));
    CHECK(after.at(key) == bytes);
  }
}

uint64_t epoch_of(World& w) { return w.call("status")["terminal"]["epoch"].get<uint64_t>(); }

void await_epoch(World& w, uint64_t epoch) {
  w.until("the agent is in epoch " + std::to_string(epoch), [&] {
    auto client = ControlClient::connect(w.socket);
    auto status = client ? client->call("status") : Result<Json>(client.error());
    return status && (*status)["terminal"]["epoch"] == epoch;
  });
}

void await_snapshot(World& w, uint64_t epoch) {
  w.until("a snapshot of epoch " + std::to_string(epoch), [&] {
    const Json all = w.call("snapshots");
    return std::any_of(all.begin(), all.end(), [&](auto& one) { return one["epoch"] == epoch; });
  });
}

void check_restores(World& w, const std::vector<std::string>& more = {}) {
  const std::string target = w.folder / "back.db";
  std::filesystem::remove(target);
  std::vector<std::string> words{"restore", "--to", target};
  words.insert(words.end(), more.begin(), more.end());
  auto restored = w.cli(words);
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  CHECK(must(compare_databases(w.db, target)).is_equal());
}

int64_t restored_rows(World& w, const std::vector<std::string>& moment) {
  const std::string target = w.folder / "then.db";
  std::filesystem::remove(target);
  std::vector<std::string> words{"restore", "--to", target};
  words.insert(words.end(), moment.begin(), moment.end());
  auto restored = w.cli(words);
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  auto back = must(Connection::open(target, SQLITE_OPEN_READONLY));
  return must(back.query_integer("SELECT count(*) FROM sale"));
}

}  // namespace

TEST_SUITE_BEGIN("epochs");

TEST_CASE(
    "a disk that is put back from an old image: nothing in the store is touched, and the till goes on in a new epoch") {
  World w;
  open_shop(w);
  sell(w, 1, 10);
  w.start_agent();
  const Json first = w.back_up("full");
  w.flush();
  w.stop_agent();
  copy_disk(w, w.folder / "image");

  w.start_agent();
  sell(w, 11, 20);
  w.flush();
  const Json second = w.back_up("incremental");
  sell(w, 31, 5);
  w.flush();
  w.stop_agent();
  const auto before = objects(w);

  put_disk(w.folder / "image", w);
  w.start_agent();
  sell(w, 11, 3);
  await_epoch(w, 2);
  await_snapshot(w, 2);
  sell(w, 14, 4);
  w.flush();
  check_kept(before, objects(w));
  check_restores(w);
  // Why, and what to do, is said.
  const Json status = w.call("status");
  const auto& problems = status["problems"];
  CHECK(std::any_of(problems.begin(), problems.end(), [](auto& one) { return one["code"] == "epoch"; }));

  // What was sold before the image was put back is there, too.
  const std::string newest = second.at("uuid");
  CHECK(restored_rows(w, {"--snapshot", newest}) == 30);
  CHECK(restored_rows(w, {"--snapshot", first.at("uuid")}) == 10);
  w.stop_agent();
  CHECK(restored_rows(w, {"--snapshot", newest}) == 30);
  for (const char* what : {"verify", "log verify"}) {
    std::vector<std::string> words{"log", "verify"};
    if (std::string(what) == "verify") words = {"verify", "--data"};
    auto verified = w.cli(words);
    INFO(what << ": " << verified.out << verified.err);
    CHECK(verified.status == 0);
  }
  // And a start that finds all as it was stays.
  w.start_agent();
  sell(w, 100, 1);
  w.flush();
  CHECK(epoch_of(w) == 2);
  w.stop_agent();
}

TEST_CASE("a disk that was cloned while nothing was sent: of two tills under one name each has its own epoch") {
  World original;
  open_shop(original);
  sell(original, 1, 10);
  original.start_agent();
  original.back_up("full");
  original.flush();
  original.stop_agent();
  copy_disk(original, original.folder / "image");

  World clone;
  clone.store = original.store;
  clone.store_settings = original.store_settings;
  clone.write_config("");
  put_disk(original.folder / "image", clone);

  original.start_agent();
  sell(original, 11, 5);
  original.flush();
  const auto before = objects(original);
  clone.start_agent();
  sell(clone, 11, 7);
  await_epoch(clone, 2);
  await_snapshot(clone, 2);
  sell(clone, 18, 2);
  clone.flush();
  sell(original, 16, 2);
  original.flush();
  check_kept(before, objects(original));
  CHECK(epoch_of(original) == 1);
  check_restores(clone);
  check_restores(original);
  original.stop_agent();
  clone.stop_agent();
  // The first one is started again: it has not been displaced.
  original.start_agent();
  sell(original, 50, 1);
  original.flush();
  CHECK(epoch_of(original) == 1);
  original.stop_agent();
}

TEST_CASE(
    "a disk that was cloned under a running agent: both notice it at their next start, and end in epochs of their "
    "own") {
  World original;
  open_shop(original);
  sell(original, 1, 10);
  original.start_agent();
  original.back_up("full");
  original.flush();
  // A copy of a running disk, as a hypervisor makes it: all at once.
  original.agent.signal(SIGSTOP);
  copy_disk(original, original.folder / "image");
  original.agent.signal(SIGCONT);
  World clone;
  clone.store = original.store;
  clone.store_settings = original.store_settings;
  clone.write_config("");
  put_disk(original.folder / "image", clone);

  clone.start_agent();
  sell(clone, 11, 7);
  clone.flush();
  sell(original, 11, 5);  // goes into the store beside the other's: it looks once an hour
  original.call("flush");
  original.stop_agent();
  clone.stop_agent();
  const auto before = objects(original);

  original.start_agent();
  sell(original, 30, 1);
  await_epoch(original, 2);
  await_snapshot(original, 2);
  original.flush();
  clone.start_agent();
  sell(clone, 30, 2);
  await_epoch(clone, 3);
  await_snapshot(clone, 3);
  sell(original, 31, 1);
  original.flush();
  clone.flush();
  check_kept(before, objects(original));
  CHECK(epoch_of(original) == 2);
  CHECK(epoch_of(clone) == 3);
  check_restores(original);
  check_restores(clone);
  original.stop_agent();
  clone.stop_agent();
}

TEST_CASE("an agent that is told to stop while it begins a new epoch stops, and goes on with it at its next start") {
  World w;
  open_shop(w);
  sell(w, 1, 10);
  w.start_agent();
  w.back_up("full");
  w.flush();
  w.stop_agent();
  copy_disk(w, w.folder / "image");
  w.start_agent();
  w.flush();
  w.stop_agent();
  put_disk(w.folder / "image", w);
  for (const char* said : {" is lost", "beginning anew"}) {
    std::filesystem::remove(w.agent_log);
    w.agent = must(ChildProcess::start({w.bin + "/tillsyncd", "--config", w.config}, w.agent_log));
    w.until("it says: " + std::string(said), [&] { return contains(w.log_text(), said); });
    w.agent.signal(SIGTERM);
    // 143: the signal, where nobody listened to it.
    const int status = must(w.agent.wait(std::chrono::seconds(60), [] { return false; }));
    CHECK((status == 0 || status == 128 + SIGTERM));
    if (std::string(said) == " is lost") put_disk(w.folder / "image", w);
  }
  w.start_agent();
  const uint64_t epoch = epoch_of(w);
  CHECK(epoch >= 2);
  await_snapshot(w, epoch);
  sell(w, 11, 3);
  w.flush();
  check_restores(w);
  w.stop_agent();
}

TEST_SUITE_END();
