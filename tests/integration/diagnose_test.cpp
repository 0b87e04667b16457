// A support bundle has what helps, and nothing of the shop's.
#include <sys/stat.h>

#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("integration");

TEST_CASE("diagnose: it says how all is, with an agent and without, and holds no row, no key and no password") {
  World world;
  world.store_settings += "proxy = \"http://till:open-sesame@proxy.example.com:3128\"\n";
  world.write_config("");
  auto app = world.application();
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE customer(id TEXT PRIMARY KEY, card TEXT) WITHOUT ROWID"));
  world.start_agent();
  must(app.execute("INSERT INTO customer VALUES('KEY-OF-A-ROW', 'CARD-4711')"));
  world.flush();
  world.back_up("full");
  const std::string file = world.folder / "report.txt";
  const auto ran = world.cli({"diagnose", "--out", file});
  INFO(ran.err);
  CHECK(ran.status == 0);
  struct stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const auto text_of = [](const std::string& path) {
    std::stringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  };
  const std::string text = text_of(file);
  for (const char* has : {"== doctor ==", "== status ==", "== log of the agent ==", "follows 1 database(s)",
                          "== workflows ==", "COMPLETED", "== configuration ==", "http://…@proxy.example.com:3128",
                          "== system ==", "\"free\"", "state.db", "\"put\""})
    CHECK_MESSAGE(contains(text, has), has);
  // The keys are files: none of their lines is in it.
  size_t keys = 0;
  for (auto& entry : std::filesystem::directory_iterator(world.folder / "state/keys")) {
    if (!contains(entry.path().filename().string(), ".pem")) continue;
    std::istringstream lines(text_of(entry.path()));
    for (std::string line; std::getline(lines, line);)
      if (!line.starts_with("-----") && !line.empty()) CHECK(!contains(text, line));
    keys++;
  }
  CHECK(keys >= 2);
  for (const char* secret : {"KEY-OF-A-ROW", "CARD-4711", "open-sesame", "PRIVATE KEY"})
    CHECK_MESSAGE(!contains(text, secret), secret);
  // Never over something else.
  CHECK(world.cli({"diagnose", "--out", file}).status == 1);
  CHECK(text_of(file) == text);
  const auto json = world.cli({"diagnose", "--json"});
  CHECK(json.json()["agent"]["status"]["terminal"]["name"] == "store-1/till-1");
  world.stop_agent();
  const auto alone = world.cli({"diagnose", "--json"});
  CHECK(alone.status == 0);
  CHECK(alone.json()["agent"].is_null());
  CHECK(alone.json()["agent_error"].is_string());
  // One whose configuration is broken needs help most.
  std::ofstream(world.config, std::ios::app) << "\n[no such section]\n";
  const auto broken = world.cli({"diagnose", "--json"});
  CHECK(broken.status == 0);
  CHECK(broken.json()["doctor"]["ok"] == false);
}

TEST_SUITE_END();
