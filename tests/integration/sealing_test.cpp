// A sealed terminal with the real programs: what a thief of the store sees, what the recovery key gives back, and what
// a terminal that can't read its own backups still does.
#include <set>

#include "agent/cli/compare_databases.h"
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr const char* kMarker = "A ROW THAT NOBODY MAY READ";

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

struct SealedTill : World {
  std::string recovery = folder / "safe/recovery.pem";
  SealedTill() {
    std::filesystem::create_directory(folder / "safe");
    REQUIRE(elsewhere({"keys", "make", "--out", recovery}).status == 0);
    keys("");
    run("PRAGMA journal_mode=WAL; CREATE TABLE confidential_sales(id INTEGER PRIMARY KEY, what TEXT)");
    sell();
  }
  void keys(const std::string& more) { write_config("[keys]\nrecovery = \"" + recovery + ".pub\"\n" + more); }
  void run(const std::string& sql) {
    auto connection = application();
    must(connection.execute(sql));
  }
  void sell() {
    run("INSERT INTO confidential_sales(what) SELECT '" + std::string(kMarker) +
        "' || value FROM json_each('[1,2,3,4,5,6,7,8,9]')");
  }
  // tillsync on a machine that has neither the configuration nor the state of the till.
  Ran elsewhere(const std::vector<std::string>& words) {
    const std::string out = folder / "elsewhere.out", err = folder / "elsewhere.err";
    std::string line = "XDG_STATE_HOME='" + folder / "elsewhere" + "' TILLSYNC_CONFIG= '" + bin + "/tillsync'";
    for (auto& word : words) line += " '" + word + "'";
    const int raw = std::system((line + " >'" + out + "' 2>'" + err + "' </dev/null").c_str());
    return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), content(out), content(err)};
  }
  Ran restore_elsewhere(const std::string& target, const std::string& key) {
    std::vector<std::string> words{"restore",         "--to",       target,          "--store",
                                   "file://" + store, "--terminal", "store-1/till-1"};
    if (!key.empty()) words.insert(words.end(), {"--key", key});
    return elsewhere(words);
  }
  std::set<std::string> objects(const std::string& suffix) {
    std::set<std::string> all;
    for (auto& entry : std::filesystem::recursive_directory_iterator(store))
      if (entry.is_regular_file() && entry.path().string().ends_with(suffix)) all.insert(entry.path());
    return all;
  }
  void check_restored(const std::string& target) {
    auto compared = must(compare_databases(db, target));
    CHECK(compared.is_equal());
  }
  // Bytes of one object in the place of another's, until it goes out of scope.
  struct Replaced {
    std::string path, before;
    Replaced(std::string at, const std::string& bytes) : path(std::move(at)), before(content(path)) { write(bytes); }
    ~Replaced() { write(before); }
    void write(const std::string& bytes) {
      std::filesystem::permissions(path, std::filesystem::perms::owner_all);
      std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    }
  };
  void refuses(const std::string& object) {
    const std::string target = folder / "refused.db";
    auto refused = restore_elsewhere(target, recovery);
    INFO(refused.err);
    CHECK(refused.status == 4);
    CHECK(contains(refused.err, std::filesystem::relative(object, store).string()));
    CHECK_FALSE(std::filesystem::exists(target));
  }
};

}  // namespace

TEST_SUITE_BEGIN("sealing");

TEST_CASE("sealing: the store shows nothing, and the recovery key restores on another machine") {
  SealedTill till;
  till.start_agent();
  till.back_up("full");
  till.sell();
  till.flush();
  till.back_up("incremental");
  till.sell();
  till.flush();
  for (auto& object : till.objects("")) {
    const std::string bytes = content(object);
    CHECK_MESSAGE(!contains(bytes, kMarker), object);
    CHECK_MESSAGE(!contains(bytes, "confidential_sales"), object);
    CHECK_MESSAGE(!contains(bytes, "CREATE TABLE"), object);
    CHECK_MESSAGE((object.ends_with(".json") || bytes[72] == 1), object);
  }
  const Json status = till.call("status");
  CHECK(status["keys"]["sealed"] == true);
  CHECK(status["keys"]["recipients"].size() == 2);
  CHECK(status["problems"].empty());

  till.stop_agent();
  auto without = till.restore_elsewhere(till.folder / "none.db", "");
  CHECK(without.status == 5);
  CHECK(contains(without.err, "--key"));
  CHECK_FALSE(std::filesystem::exists(till.folder / "none.db"));

  REQUIRE(till.elsewhere({"keys", "make", "--out", till.folder / "other.pem"}).status == 0);
  auto wrong = till.restore_elsewhere(till.folder / "none.db", till.folder / "other.pem");
  CHECK(wrong.status == 5);
  CHECK(contains(wrong.err, ".manifest: it is sealed for other keys than this"));
  CHECK_FALSE(std::filesystem::exists(till.folder / "none.db"));

  auto restored = till.restore_elsewhere(till.folder / "back.db", till.recovery);
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  till.check_restored(till.folder / "back.db");

  // From the paper in the safe.
  REQUIRE(
      till.elsewhere({"keys", "export", "--words", "--key", till.recovery, "--out", till.folder / "words"}).status ==
      0);
  auto by_words = till.restore_elsewhere(till.folder / "words.db", till.folder / "words");
  INFO(by_words.err);
  REQUIRE(by_words.status == 0);
  till.check_restored(till.folder / "words.db");
  CHECK(content(till.recovery) == till.elsewhere({"keys", "export", "--key", till.folder / "words"}).out);
  CHECK(content(till.recovery + ".pub") ==
        till.elsewhere({"keys", "export", "--public", "--key", till.folder / "words"}).out);
}

TEST_CASE("sealing: what was changed, exchanged or played back is refused by its name, and nothing is written") {
  SealedTill till;
  till.start_agent();
  till.back_up("full");
  till.sell();
  till.flush();
  till.back_up("incremental");
  till.stop_agent();
  REQUIRE(till.restore_elsewhere(till.folder / "sound.db", till.recovery).status == 0);
  for (const char* suffix : {".manifest", ".pack"}) {
    const std::string object = *till.objects(suffix).rbegin();
    const std::string bytes = content(object);
    for (size_t at : {size_t{3}, size_t{20}, size_t{84}, size_t{130}, size_t{200}, bytes.size() / 2, bytes.size() - 130,
                      bytes.size() - 100, bytes.size() - 10}) {
      CAPTURE(at);
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ 4);
      SealedTill::Replaced tampered(object, changed);
      till.refuses(object);
    }
  }
  const auto manifests = till.objects(".manifest"), packs = till.objects(".pack");
  REQUIRE(manifests.size() == 2);
  REQUIRE(packs.size() == 2);
  {
    // An old one played back as the new one.
    SealedTill::Replaced old(*manifests.rbegin(), content(*manifests.begin()));
    till.refuses(*manifests.rbegin());
  }
  {
    SealedTill::Replaced exchanged(*packs.begin(), content(*packs.rbegin()));
    till.refuses(*packs.begin());
  }
  {
    // That of another terminal, sealed for the same recovery key.
    SealedTill other;
    other.recovery = till.recovery;
    other.keys("");
    other.start_agent();
    other.back_up("full");
    other.stop_agent();
    SealedTill::Replaced foreign(*manifests.rbegin(), content(*other.objects(".manifest").begin()));
    till.refuses(*manifests.rbegin());
  }
  {
    // The terminal is known here: whoever puts another in its place is found out.
    const std::string statement = *till.objects("terminal.json").begin();
    SealedTill::Replaced unsealed(statement, R"({"id":"x","name":"store-1/till-1"})");
    auto refused = till.restore_elsewhere(till.folder / "refused.db", "");
    CHECK(refused.status == 4);
    CHECK(contains(refused.err, "terminal.json: it states no keys"));
  }
  REQUIRE(till.restore_elsewhere(till.folder / "again.db", till.recovery).status == 0);
}

TEST_CASE("sealing: a write-only terminal backs up and verifies, and only the recovery key restores") {
  SealedTill till;
  std::filesystem::create_directory(till.folder / "media");
  std::ofstream(till.folder / "media/menu.txt") << "tea, coffee";
  till.keys("write_only = true\n[[assets]]\nname = \"media\"\npath = \"" + till.folder / "media" + "\"\n");
  till.start_agent();
  till.back_up("full");
  till.sell();
  till.flush();
  CHECK(till.back_up("incremental")["type"] == "INCREMENTAL");
  // Also what was begun before a start goes on.
  till.stop_agent();
  till.start_agent();
  till.sell();
  till.flush();
  CHECK(till.back_up("incremental")["type"] == "INCREMENTAL");
  const Json status = till.call("status");
  CHECK(status["keys"]["write_only"] == true);
  CHECK(status["keys"]["recipients"].size() == 1);
  CHECK(contains(status["drill"]["last_result"].get<std::string>(), "write-only"));
  CHECK(till.call("snapshots").size() == 3);
  // It merges what it can't read back, out of its own rows.
  for (int i = 0; i < 3; i++) {
    till.sell();
    till.flush();
  }
  till.back_up("incremental");
  till.until("segments are merged", [&] { return !till.objects(".merged").empty(); });

  auto refused = till.cli({"restore", "--to", till.folder / "none.db"});
  CHECK(refused.status == 5);
  CHECK(contains(refused.err, "--key"));
  CHECK_FALSE(std::filesystem::exists(till.folder / "none.db"));
  auto direct = till.cli({"restore", "--to", till.folder / "none.db", "--store", "file://" + till.store});
  CHECK(direct.status == 5);
  till.stop_agent();

  auto restored =
      till.elsewhere({"restore", "--to", till.folder / "back.db", "--assets", till.folder / "back", "--store",
                      "file://" + till.store, "--terminal", "store-1/till-1", "--key", till.recovery});
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  till.check_restored(till.folder / "back.db");
  CHECK(content(till.folder / "back/media/menu.txt") == "tea, coffee");
  auto verified = till.elsewhere(
      {"verify", "--data", "--store", "file://" + till.store, "--terminal", "store-1/till-1", "--key", till.recovery});
  INFO(verified.out);
  CHECK(verified.status == 0);
  // Whoever has the recovery key prunes: what was merged a day ago is there once then.
  const size_t segments = till.objects(".seg").size();
  for (auto& path : till.objects(".merged"))
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) - std::chrono::hours(48));
  auto pruned = till.elsewhere(
      {"prune", "--store", "file://" + till.store, "--terminal", "store-1/till-1", "--key", till.recovery});
  INFO(pruned.out << pruned.err);
  CHECK(pruned.status == 0);
  CHECK(till.objects(".seg").size() < segments);
  auto again = till.elsewhere(
      {"log", "verify", "--store", "file://" + till.store, "--terminal", "store-1/till-1", "--key", till.recovery});
  INFO(again.out << again.err);
  CHECK(again.status == 0);
}

TEST_CASE("sealing: after a rotation and a new recovery key everything old and new is read") {
  SealedTill till;
  till.start_agent();
  till.back_up("full");
  till.stop_agent();
  REQUIRE(till.elsewhere({"keys", "make", "--out", till.folder / "safe/second.pem"}).status == 0);
  REQUIRE(till.cli({"keys", "rotate"}).status == 0);
  till.write_config("[keys]\nrecovery = [\"" + till.recovery + ".pub\", \"" + till.folder / "safe/second.pem.pub" +
                    "\"]\n");
  till.sell();
  till.start_agent();
  till.until("what the new keys open is complete", [&] { return till.call("snapshots").size() == 2; });
  till.sell();
  till.flush();
  CHECK(till.objects("keys/2.json").size() == 1);
  const Json shown = till.cli({"--json", "keys", "show"}).json();
  CHECK(shown["statements"].size() == 2);
  CHECK(shown["recipients"].size() == 3);
  CHECK(till.cli({"verify", "--data"}).status == 0);
  till.stop_agent();
  // The new key opens the newest moment by itself: nothing it needs is sealed for others alone.
  for (const char* key : {"safe/recovery.pem", "safe/second.pem"}) {
    const std::string target = till.folder / (std::string(key).substr(5) + ".db");
    auto restored = till.restore_elsewhere(target, till.folder / key);
    INFO(restored.err);
    REQUIRE(restored.status == 0);
    till.check_restored(target);
  }
}

TEST_CASE("sealing: the FULL for a new recovery key comes, also when the first one never ended") {
  SealedTill till;
  till.start_agent();
  till.back_up("full");
  till.stop_agent();
  REQUIRE(till.elsewhere({"keys", "make", "--out", till.folder / "safe/second.pem"}).status == 0);
  till.write_config("[keys]\nrecovery = [\"" + till.recovery + ".pub\", \"" + till.folder / "safe/second.pem.pub" +
                    "\"]\n");
  // Without a store it can't end; and then somebody cancels it.
  std::filesystem::rename(till.store, till.store + ".away");
  till.start_agent();
  std::string running;
  till.until("a FULL is under way", [&] {
    const Json all = till.call("workflows");
    for (auto& one : all)
      if (one["status"] == "PENDING" || one["status"] == "IN_PROGRESS") running = one["uuid"];
    return !running.empty();
  });
  till.call("workflow.cancel", {{"uuid", running}});
  till.until("it has ended", [&] { return till.call("workflows", {{"uuid", running}})[0]["status"] == "CANCELLED"; });
  till.kill_agent();
  std::filesystem::rename(till.store + ".away", till.store);
  till.start_agent();
  till.until("what the new key opens is complete", [&] { return till.call("snapshots").size() == 2; });
  till.stop_agent();
  auto restored = till.restore_elsewhere(till.folder / "back.db", till.folder / "safe/second.pem");
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  till.check_restored(till.folder / "back.db");
}

TEST_CASE("sealing: sealed and unsealed backups of one terminal do not mix, and without seal nothing is") {
  SealedTill till;
  till.write_config("[keys]\nseal = false\n");
  till.start_agent();
  till.back_up("full");
  CHECK(till.call("status")["problems"][0]["code"] == "not_sealed");
  till.stop_agent();
  REQUIRE(till.restore_elsewhere(till.folder / "back.db", "").status == 0);
  till.check_restored(till.folder / "back.db");
  till.keys("");
  till.agent = must(ChildProcess::start({till.bin + "/tillsyncd", "--config", till.config}, till.agent_log));
  CHECK(must(till.agent.wait(std::chrono::seconds(30), [] { return false; })) == 2);
  CHECK(contains(till.log_text(), "keys.seal: the backups of this terminal so far are not sealed"));
}

TEST_SUITE_END();
