// The command line in this process, with a fake agent and a fake store behind it.
#pragma once

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "agent/cli/cli.h"
#include "tests/agent/control_fixture.h"

namespace tillsync {

struct FakeStore : StoreCommands {
  struct Calls {
    std::vector<std::string> made;
    Json last_params;
    StoreAccess access;
    Json verification = {{"ok", true}};
    Json pruned = {{"dry_run", false}, {"databases", Json::array()}};
    Json restored = {{"sequence", 9}, {"transaction", 3}, {"tables", Json::array()},
                     {"bytes", 8},    {"elapsed_ms", 5},  {"proven", true}};
  };
  explicit FakeStore(Calls& to) : calls(to) {}
  Calls& calls;
  void note(const char* name, const Json& params) {
    calls.made.push_back(name);
    calls.last_params = params;
  }
  Result<Json> snapshots(const Json& params) override {
    note("snapshots", params);
    return Json::array();
  }
  Result<void> log(const Json& params, const Sink& sink) override {
    note("log", params);
    TILLSYNC_TRY(sink(Json{{"sequence", 1}, {"action", "CREATE"}}));
    return sink(Json{{"sequence", 2}, {"action", "DELETE"}});
  }
  Result<Json> restore(const Json& params, int fd, const Progress& progress) override {
    note("restore", params);
    if (!progress(Json{{"step", "FETCH_PACKS"}, {"percent", 50}})) return Error{ErrorKind::cancelled, 0, "stopped"};
    if (::write(fd, "restored", 8) != 8) return Error{ErrorKind::no_space, 0, "full"};
    return calls.restored;
  }
  // One asset, of which the snapshot has nothing.
  Result<AssetSource> assets(const Json& params) override {
    note("assets", params);
    AssetSource source;
    source.assets.emplace_back();
    source.assets.back().name = "media";
    source.assets.back().notes = {"/opt/pos/media: permission denied"};
    return source;
  }
  Result<Json> verify(const Json& params, const Progress&) override {
    note("verify", params);
    return calls.verification;
  }
  Result<Json> prune(const Json& params, const Progress&) override {
    note("prune", params);
    return calls.pruned;
  }
  Result<Json> log_verify(const Json& params, const Progress&) override {
    note("log verify", params);
    return calls.verification;
  }
};

struct CliRun {
  int status = -1;
  std::string out, err;
};

// A folder with a configuration that names it.
struct CliFixture {
  TemporaryFolder folder;
  std::string socket = folder / "control.sock";
  std::string config = folder / "till.toml";
  FakeStore::Calls store;
  bool interrupted = false;

  CliFixture() { write_config(""); }
  void write_config(const std::string& more) {
    std::ofstream(config) << "[terminal]\ncontrol = \"" << socket << "\"\n" << more;
  }
  CliRun run(std::vector<std::string> words) {
    words.insert(words.begin(), {"--config", config});
    return run_bare(words);
  }
  CliRun run_bare(const std::vector<std::string>& words) {
    std::ostringstream out, err;
    CliEnvironment environment{.out = out, .err = err};
    environment.is_interrupted = [this] { return interrupted; };
    environment.open_store = [this](const StoreAccess& access) -> Result<std::unique_ptr<StoreCommands>> {
      store.access = access;
      return std::unique_ptr<StoreCommands>(std::make_unique<FakeStore>(store));
    };
    CliRun result;
    result.status = run_cli(words, environment);
    result.out = out.str();
    result.err = err.str();
    return result;
  }
};

}  // namespace tillsync
