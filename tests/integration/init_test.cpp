// A newcomer's first minute: init, the agent, a backup.
#include <sys/stat.h>

#include "agent/cli/setup.h"
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Newcomer {
  TemporaryDirectory folder;
  std::string bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::string database = folder / "shop/pos.db", store = folder / "backups", config = folder / "till/tillsync.toml";
  Newcomer() {
    std::filesystem::create_directory(folder / "shop");
    ::setenv("HOME", folder.path().c_str(), 1);
    auto app = must(Connection::open(database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    must(
        app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY); INSERT INTO sale DEFAULT "
                    "VALUES"));
  }
  World::Ran run(const std::vector<std::string>& words, const std::string& input = "</dev/null") {
    std::string line = "'" + bin + "/tillsync' --config '" + config + "'";
    for (auto& word : words) line += " '" + word + "'";
    const std::string out = folder / "out", err = folder / "err";
    const int raw = std::system((line + " >'" + out + "' 2>'" + err + "' " + input).c_str());
    const auto read = [](const std::string& path) {
      std::stringstream all;
      all << std::ifstream(path).rdbuf();
      return all.str();
    };
    return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), read(out), read(err)};
  }
  std::string text(const std::string& path) {
    std::stringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }
  mode_t mode(const std::string& path) {
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    return info.st_mode & 07777;
  }
};

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE_FIXTURE(Newcomer, "init: three commands from nothing to a durable backup that the recovery key opens") {
  const auto made = run({"init", "--database", database, "--store", store, "--terminal", "store-7/till-1"});
  INFO(made.out, made.err);
  REQUIRE(made.status == 0);
  CHECK(contains(made.out, "Written: " + config));
  CHECK(contains(made.out, "tillsyncd --config " + config));
  const std::string recovery = folder / "tillsync-recovery.pem";
  CHECK(contains(made.out, recovery));
  CHECK(mode(recovery) == 0600);
  CHECK(mode(folder / "till/state") == 0700);
  CHECK(mode(store) == 0700);
  auto agent = must(ChildProcess::start({bin + "/tillsyncd", "--config", config}, folder / "agent.log"));
  World::Ran backup{1, "", ""};
  for (int i = 0; i < 400 && backup.status != 0; i++) {
    backup = run({"backup", "--wait"});
    if (backup.status == 3) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  INFO(backup.err, text(folder / "agent.log"));
  REQUIRE(backup.status == 0);
  agent.signal(SIGTERM);
  CHECK(must(agent.wait(std::chrono::seconds(30), [] { return false; })) == 0);
  // On another machine: nothing but the store, the name and the key.
  std::filesystem::remove_all(folder / "till");
  config = folder / "elsewhere.toml";
  std::ofstream(config) << "";
  const std::string back = folder / "back.db";
  const auto restored =
      run({"restore", "--to", back, "--store", "file://" + store, "--terminal", "store-7/till-1", "--key", recovery});
  INFO(restored.err);
  CHECK(restored.status == 0);
  auto rows = must(Connection::open(back, SQLITE_OPEN_READONLY));
  CHECK(must(rows.query_integer("SELECT count(*) FROM sale")) == 1);
}

TEST_CASE_FIXTURE(Newcomer, "init: a configuration that is there is refused, replaced only by force, and kept") {
  const std::vector<std::string> words{"init", "--database", database, "--store", store, "--no-recovery"};
  CHECK(run(words).status == 1);  // written, and doctor misses the recovery key
  const std::string first = text(config);
  const auto again = run(words);
  CHECK(again.status == 5);
  CHECK(contains(again.err, "--force"));
  CHECK(text(config) == first);
  auto forced = words;
  forced.insert(forced.end(), {"--force", "--json", "--database-name", "tills"});
  const auto replaced = run(forced);
  CHECK(replaced.status == 1);
  CHECK(replaced.json()["replaced"] == config + ".before");
  CHECK(replaced.json()["doctor"]["ok"] == false);
  CHECK(text(config + ".before") == first);
  CHECK(must(load_config(config)).databases.front().name == "tills");
}

TEST_CASE_FIXTURE(Newcomer, "init: what is missing or wrong is said before anything is written") {
  const auto refused = [&](std::vector<std::string> words, int status, const std::string& says) {
    words.insert(words.begin(), "init");
    const auto ran = run(words);
    INFO(ran.err);
    CHECK(ran.status == status);
    CHECK(contains(ran.err, says));
    CHECK(!std::filesystem::exists(folder / "till"));
    CHECK(!std::filesystem::exists(folder / "tillsync-recovery.pem"));
  };
  refused({"--store", store}, 2, "--database FILE");
  refused({"--database", database}, 2, "--store URL");
  refused({"--database", database, "--store", "s3://bucket/x"}, 2, "--credentials FILE");
  refused({"--database", database, "--store", "ftp://x/y"}, 2, "file:///folder or s3://bucket/prefix");
  refused({"--database", folder / "nowhere/pos.db", "--store", store}, 1, "neither it nor its folder is there");
  refused({"--database", database, "--store", store, "--terminal", "a b"}, 2, "terminal");
  refused({"--database", database, "--store", store, "--user", "nobody-of-that-name"}, 2, "no user");
  CHECK(run({"status", "--store", "file:///x"}).status == 2);
  // Nobody can make anything in it, not root either.
  config = "/dev/null/tillsync/tillsync.toml";
  const auto nowhere = run({"init"});
  CHECK(nowhere.status == 5);
  CHECK(contains(nowhere.err, "sudo tillsync init"));
}

TEST_CASE_FIXTURE(Newcomer, "init: an access key and a public key are copied to where the agent finds them") {
  const std::string credentials = folder / "keys.ini";
  std::ofstream(credentials) << "[default]\naws_access_key_id = AKIA\naws_secret_access_key = very-secret\n";
  CHECK(run({"keys", "make", "--out", folder / "safe.pem"}).status == 0);
  const auto made =
      run({"init", "--database", database, "--store", "s3://bucket/shops", "--endpoint", "http://127.0.0.1:9",
           "--path-style", "--credentials", credentials, "--recovery", folder / "safe.pem"});
  CHECK(made.status == 1);  // nobody listens there
  CHECK(contains(made.out, "store"));
  CHECK(!contains(made.out + made.err + text(config), "very-secret"));
  const Config written = must(load_config(config));
  CHECK(written.store.path_style);
  CHECK(written.store.credentials == folder / "till/s3.credentials");
  CHECK(mode(written.store.credentials) == 0600);
  CHECK(text(written.store.credentials) == text(credentials));
  // Of the private key only the public half.
  REQUIRE(written.keys.recovery.size() == 1);
  CHECK(text(written.keys.recovery[0]) == text(folder / "safe.pem.pub"));
}

TEST_CASE("init: every setting of the written file is one, at its default, and names with quotes stay names") {
  Setup setup;
  setup.terminal = "s/1";
  setup.database_name = "pos";
  setup.database_path = "/var/lib/a \"b\"\\c/pos.db";
  setup.store_url = "file:///srv/100%25";
  const std::string text = configuration_text(setup);
  const Config plain = must(parse_config(text, "t"));
  CHECK(plain.databases.front().path == setup.database_path);
  // Every comment that is a setting, taken in.
  std::string all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool setting = line.starts_with("# ") && (contains(line, " = ") || line.starts_with("# [["));
    all += (setting ? line.substr(2) : line) + "\n";
  }
  const Config full = must(parse_config(all, "t"));
  CHECK(full.schedule == plain.schedule);
  CHECK(full.retention == plain.retention);
  CHECK(full.limits == plain.limits);
  CHECK(full.terminal == plain.terminal);
  CHECK(full.assets.size() == 1);
  Config config = full;
  config.databases.front().path = "/home/alice/pos/pos 1%.db";
  const std::string unit = service_drop_in(config, {"alice", "users"});
  CHECK(contains(unit, "User=alice\nGroup=users\nProtectHome=tmpfs\n"));
  CHECK(contains(unit, "BindPaths=-\"/home/alice/pos\"\n"));
  CHECK(contains(unit, "ReadWritePaths=-\"/srv/100%%\"\n"));
  CHECK(contains(unit, "ReadWritePaths=-\"/opt/pos/media\"\n"));
}

TEST_SUITE_END();
