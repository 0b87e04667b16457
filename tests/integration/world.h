// A till with a real agent, a real shop and the real command line: processes of their own, in a folder of their own.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "agent/cli/child_process.h"
#include "agent/control/client.h"
#include "ports/object_keys.h"
#include "sqlite/connection.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

struct World {
  TemporaryDirectory folder;  // first: everything else lies in it
  std::string bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::string db = folder / "pos.db";
  std::string config = folder / "tillsync.toml";
  std::string socket = folder / "control.sock";
  std::string store = folder / "store";
  std::string store_settings = "url = \"file://" + store + "\"\n";
  std::string agent_log = folder / "agent.log";
  ChildProcess agent, shop;

  std::string log_flush;
  // Nothing happens that a test did not ask for, whatever the day.
  std::string schedule = "incremental = \"\"\nfull = \"\"\nverify = \"\"\ndrill = \"\"\n";

  std::string database_settings = "scan_interval = \"1s\"\n";

  explicit World(const std::string& more = "", const std::string& flush_after = "200ms") : log_flush(flush_after) {
    std::filesystem::create_directory(store);
    write_config(more);
  }
  // A world that was left, perhaps in a hurry, and is gone on with.
  struct Kept {
    std::string path;
  };
  World(const Kept& kept, const std::string& more) : folder(TemporaryDirectory::kept(kept.path)), log_flush("200ms") {
    std::filesystem::create_directory(store);
    write_config(more);
  }
  void write_config(const std::string& more, const std::string& extra_databases = "") {
    std::ofstream out(config, std::ios::trunc);
    out << "[terminal]\nname = \"store-1/till-1\"\nstate_dir = \"" << folder / "state"
        << "\"\ncontrol = \"" << socket << "\"\n"
        << "[[database]]\nname = \"pos\"\npath = \"" << db << "\"\n"
        << database_settings << extra_databases << "[store]\n"
        << store_settings << "[schedule]\nlog_flush = \"" << log_flush << "\"\n"
        << schedule << "[limits]\nmin_free = \"0B\"\n"
        << more;
  }

  std::string log_text() {
    std::ifstream in(agent_log);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
  }
  void start_agent() {
    agent = must(ChildProcess::start({bin + "/tillsyncd", "--config", config}, agent_log));
    until("the agent answers", [&] {
      if (!agent.is_running()) FAIL("the agent ended: " << log_text());
      auto client = ControlClient::connect(socket);
      return client && client->call("store.info").has_value();
    });
  }
  void kill_agent() { agent.kill(); }
  void stop_agent() {
    agent.signal(SIGTERM);
    CHECK(must(agent.wait(std::chrono::seconds(30), [] { return false; })) == 0);
  }

  // Polls, because what is waited for happens in another process and has no event of its own.
  template <class F>
  void until(const std::string& what, F done, std::chrono::seconds limit = std::chrono::seconds(120)) {
    auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) FAIL("never happened: " << what << "\n" << log_text());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  Json call(const std::string& method, const Json& params = Json::object()) {
    auto client = must(ControlClient::connect(socket));
    return must(client.call(method, params));
  }
  Json database() { return call("status")["databases"][0]; }
  Json flush() { return call("flush", {{"wait", true}})["databases"][0]; }
  Json back_up(const std::string& type) {
    Json started = call("backup", {{"type", type}});
    Json ended = call("workflow.wait", {{"uuid", started["uuid"]}});
    INFO(ended.dump());
    REQUIRE(ended["status"] == "COMPLETED");
    return ended["result"];
  }

  struct Ran {
    int status;
    std::string out, err;
    Json json() const { return Json::parse(out); }
  };
  // tillsync, as a person runs it.
  Ran cli(std::vector<std::string> words) {
    static std::atomic<int> number = 0;
    std::string out = folder / ("out-" + std::to_string(++number)), err = out + ".err";
    std::string line;
    for (auto& word : words) line += " '" + word + "'";
    int raw = std::system(
        ("'" + bin + "/tillsync' --config '" + config + "'" + line + " >'" + out + "' 2>'" + err + "' </dev/null")
            .c_str());
    auto read = [](const std::string& path) {
      std::ifstream in(path);
      std::stringstream all;
      all << in.rdbuf();
      return all.str();
    };
    return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), read(out), read(err)};
  }

  void start_shop(std::vector<std::string> options) {
    std::vector<std::string> words{bin + "/pos_writer", "--db", db};
    words.insert(words.end(), options.begin(), options.end());
    shop = must(ChildProcess::start(words, folder / "shop.log"));
  }
  void wait_for_shop() {
    CHECK(must(shop.wait(std::chrono::minutes(10), [] { return false; })) == 0);
  }

  Uuid terminal() { return must(Uuid::parse(call("store.info")["terminal_id"].get<std::string>())); }
  // As the till's application opens it. Like every database that more than one process opens, it needs a busy timeout:
  // whoever opens it first, an agent that starts too, holds it for an instant while it makes the wal-index.
  Connection application() {
    auto connection = must(Connection::open(db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    must(connection.execute("PRAGMA busy_timeout = 60000"));
    return connection;
  }
  // As another program of the till reads: patient while the application opens, closes or changes the journal mode.
  Connection reader() {
    auto connection = must(Connection::open(db, SQLITE_OPEN_READONLY));
    must(connection.execute("PRAGMA busy_timeout = 60000"));
    return connection;
  }
  int64_t query(const std::string& sql) { return must(reader().query_integer(sql)); }
  std::string query_text(const std::string& sql) { return must(reader().query_text(sql)); }
};

}  // namespace tillsync::test
