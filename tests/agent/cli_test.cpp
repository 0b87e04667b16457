// The command line: where arguments may stand, what is asked of whom, what is printed, and how it ends.
#include <doctest/doctest.h>

#include "tests/agent/cli_fixture.h"
#include "version.h"

using namespace tillsync;

namespace {

const std::string kUuid = "019d0000-0000-7000-8000-000000000001";

std::string text_of(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

Handler answers(Json document) {
  return [document = std::move(document)](Request, const Responder& answer) { answer.result(document); };
}
Handler fails(ErrorKind kind) {
  return [kind](Request, const Responder& answer) { answer.error(Error{kind, 0, "it failed"}); };
}

}  // namespace

TEST_SUITE_BEGIN("cli");

TEST_CASE("cli: --help and --version end with 0, nothing and nonsense with 2") {
  CliFixture cli;
  CHECK(cli.run_bare({"--help"}).status == 0);
  CHECK(cli.run_bare({"--help"}).out.find("restore") != std::string::npos);
  CHECK(cli.run_bare({"--help"}).out.find("demo-shop") == std::string::npos);
  CHECK(cli.run_bare({"restore", "--help"}).out.find("--transaction") != std::string::npos);
  CHECK(cli.run_bare({"--version"}).out == "tillsync " TILLSYNC_VERSION "\n");
  for (const auto& words : std::vector<std::vector<std::string>>{
           {},
           {"sell"},
           {"status", "--fast"},
           {"backup", "--type", "half"},
           {"restore"},
           {"restore", "--to", "/x", "--at", "noon"},
           {"verify", "--snapshot", "7"},
           {"restore", "--to", "/x", "--at", "2026-01-01T00:00:00Z", "--sequence", "4"},
           {"restore", "--to", "/x", "--snapshot", kUuid, "--transaction", "4"},
           {"log", "--from", "-3"},
           {"flush", "--wait", "--timeout", "soon"}}) {
    const auto run = cli.run_bare(words);
    CHECK(run.status == 2);
    CHECK(run.out.empty());
    CHECK_FALSE(run.err.empty());
  }
}

TEST_CASE("cli: global options stand before or after the command") {
  CliFixture cli;
  TestServer server(cli.socket);
  server.handle("status", answers(Json{{"problems", Json::array()}}));
  const std::string expected = "{\"problems\":[]}\n";
  CHECK(cli.run_bare({"--config", cli.config, "--json", "status"}).out == expected);
  CHECK(cli.run_bare({"status", "--json", "--config", cli.config}).out == expected);
  CHECK(cli.run_bare({"--json", "status", "--config", cli.config}).out == expected);
  CHECK(
      cli.run_bare({"log", "verify", "--store", "file:///s", "--terminal", "till-3", "--key", "/k", "--json"}).status ==
      0);
  CHECK(cli.store.access.terminal == "till-3");
  CHECK(cli.store.access.key == "/k");
  CHECK(cli.store.access.config.store.url == "file:///s");
}

TEST_CASE("cli: a configuration that is named has to be there and right") {
  CliFixture cli;
  CHECK(cli.run_bare({"status", "--config", cli.folder / "none.toml"}).status == 2);
  cli.write_config("colour = 3\n");
  const auto run = cli.run({"status"});
  CHECK(run.status == 2);
  CHECK(run.err.find("till.toml:3: terminal.colour: unknown key") != std::string::npos);
}

TEST_CASE("cli: without an agent the status is 3, and what to do is said") {
  CliFixture cli;
  for (const char* command : {"status", "backup", "flush", "snapshots", "log", "workflows"}) {
    const auto run = cli.run({command});
    CHECK(run.status == 3);
    CHECK(run.err.find("the agent is not running") != std::string::npos);
    CHECK(run.out.empty());
  }
}

TEST_CASE("cli: each kind of error has its exit status") {
  CliFixture cli;
  TestServer server(cli.socket);
  const std::vector<std::pair<ErrorKind, int>> expected{
      {ErrorKind::offline, 1}, {ErrorKind::not_found, 1}, {ErrorKind::internal, 1}, {ErrorKind::conflict, 1},
      {ErrorKind::usage, 2},   {ErrorKind::corrupt, 4},   {ErrorKind::denied, 5},   {ErrorKind::timeout, 1}};
  for (const auto& [kind, status] : expected) {
    server.handle("status", fails(kind));
    const auto run = cli.run({"status"});
    CHECK(run.status == status);
    CHECK(run.err == "tillsync: it failed\n");
  }
}

TEST_CASE("cli: Ctrl-C ends a wait with 130") {
  CliFixture cli;
  std::vector<Responder> waiting;
  {
    TestServer server(cli.socket);
    server.handle("flush", [&](Request, const Responder& answer) { waiting.push_back(answer); });
    cli.interrupted = true;
    CHECK(cli.run({"flush", "--wait"}).status == 130);
    server.stop();
    waiting.clear();
  }
}

TEST_CASE("cli: backup prints the snapshot's uuid, with --wait it ends with the snapshot's document") {
  CliFixture cli;
  TestServer server(cli.socket);
  Json asked;
  server.handle("backup", [&](Request request, const Responder& answer) {
    asked = request.params;
    answer.result(Json{{"uuid", "w"}, {"snapshot_uuid", kUuid}});
  });
  server.handle("workflow.wait", [&](Request request, const Responder& answer) {
    CHECK(request.params["uuid"] == "w");
    answer.notify("progress", Json{{"uuid", "w"}, {"step", "UPLOAD_PACKS"}, {"percent", 40}});
    answer.result(Json{{"status", "COMPLETED"}, {"result", {{"uuid", kUuid}, {"type", "FULL"}, {"size", 4096}}}});
  });
  CHECK(cli.run({"backup"}).out == kUuid + "\n");
  CHECK(asked == Json::object());
  const auto waited = cli.run(
      {"backup", "--type", "full", "--name", "n", "--description", "d", "--no-dedup", "--database", "pos", "--wait"});
  CHECK(waited.out == kUuid + "\n");
  CHECK(waited.err.find("UPLOAD_PACKS  40 %") != std::string::npos);
  CHECK(asked == Json{{"type", "full"}, {"database", "pos"}, {"name", "n"}, {"description", "d"}, {"dedup", false}});
  const auto json = cli.run({"backup", "--wait", "--json"});
  CHECK(Json::parse(json.out)["type"] == "FULL");
  CHECK(json.err.empty());
}

TEST_CASE("cli: a workflow that failed ends the command with its error, a wait that is over with 1") {
  CliFixture cli;
  std::vector<Responder> waiting;
  TestServer server(cli.socket);
  server.handle("backup", answers(Json{{"uuid", "w"}, {"snapshot_uuid", kUuid}}));
  server.handle("workflow.wait", answers(Json{{"status", "FAILED"},
                                              {"error", {{"kind", "corrupt"}, {"message", "page 7"}}},
                                              {"result", nullptr}}));
  const auto run = cli.run({"backup", "--wait"});
  CHECK(run.status == 4);
  CHECK(run.err.find("page 7") != std::string::npos);
  server.handle("workflow.wait",
                answers(Json{{"status", "CANCELLED"}, {"error", {{"kind", "cancelled"}, {"message", "cancelled"}}}}));
  CHECK(cli.run({"backup", "--wait"}).status == 1);
  server.handle("workflow.wait", [&](Request, const Responder& answer) { waiting.push_back(answer); });
  const auto late = cli.run({"backup", "--wait", "--timeout", "50ms"});
  CHECK(late.status == 1);
  CHECK(late.err.find("the agent goes on") != std::string::npos);
  server.stop();
  waiting.clear();
}

TEST_CASE("cli: restore writes through a descriptor, and the file appears whole under its name") {
  CliFixture cli;
  TestServer server(cli.socket);
  Json asked;
  bool prove = true;
  bool given = false;
  server.handle("restore", [&](Request request, const Responder& answer) {
    asked = request.params;
    given = request.file != nullptr;
    answer.result(Json{{"uuid", "r"}});
  });
  server.handle("workflow.wait", answers(Json{{"status", "COMPLETED"}, {"result", Json::object()}}));
  server.handle("restore.deliver", [&](Request request, const Responder& answer) {
    const bool written = request.file && request.file->write(0, as_bytes("restored"));
    CHECK(request.params == Json{{"uuid", "r"}, {"into_given", given}});
    answer.result(Json{{"sequence", 7}, {"proven", written && prove}});
  });
  const std::string target = cli.folder / "out.db";
  const auto parts = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(cli.folder.path))
      count += entry.path().extension() == ".tillsync-part" ? 1 : 0;
    return count;
  };
  SUBCASE("a new file") {
    const auto run = cli.run({"restore", "--to", target, "--at", "2026-11-22T20:00:00+01:00", "--json"});
    CHECK(run.status == 0);
    CHECK(Json::parse(run.out)["sequence"] == 7);
    CHECK(given);
    CHECK(text_of(target) == "restored");
    CHECK(asked == Json{{"at", "2026-11-22T19:00:00.000Z"}});
  }
  SUBCASE("a file that is there is refused, and replaced with --force") {
    std::ofstream(target) << "precious";
    CHECK(cli.run({"restore", "--to", target}).status == 5);
    CHECK(text_of(target) == "precious");
    CHECK(cli.run({"restore", "--to", target, "--force"}).status == 0);
    CHECK(text_of(target) == "restored");
  }
  SUBCASE("what is unsafe is refused, with --force too") {
    std::ofstream(target + "-wal") << "frames";
    CHECK(cli.run({"restore", "--to", target, "--force"}).status == 5);
    const std::string live = cli.folder / "pos.db";
    std::ofstream(live) << "live";
    cli.write_config("[[database]]\nname = \"pos\"\npath = \"" + live + "\"\n");
    CHECK(cli.run({"restore", "--to", live, "--force"}).status == 5);
    CHECK(text_of(live) == "live");
    CHECK(cli.run({"restore", "--to", cli.folder.path, "--force"}).status == 5);
    CHECK(cli.run({"restore", "--to", cli.folder / "none/x.db"}).status == 1);
  }
  SUBCASE("what is not proven is not made") {
    prove = false;
    CHECK(cli.run({"restore", "--to", target}).status == 4);
    CHECK_FALSE(std::filesystem::exists(target));
    CHECK(cli.run({"restore", "--to", target, "--keep-going"}).status == 4);
    CHECK(text_of(target) == "restored");
  }
  SUBCASE("a failure leaves nothing behind") {
    server.handle("restore", fails(ErrorKind::not_found));
    CHECK(cli.run({"restore", "--to", target}).status == 1);
    CHECK_FALSE(std::filesystem::exists(target));
  }
  CHECK(parts() == 0);
}

TEST_CASE("cli: with --store, or without an agent, the store is read directly") {
  CliFixture cli;
  CHECK(cli.run({"snapshots", "--store", "file:///s"}).status == 0);
  cli.write_config("[store]\nurl = \"file:///configured\"\n");
  CHECK(cli.run({"snapshots", "--database", "pos"}).status == 0);
  CHECK(cli.store.access.config.store.url == "file:///configured");
  CHECK(cli.store.last_params == Json{{"database", "pos"}});
  const std::string target = cli.folder / "out.db";
  CHECK(cli.run({"restore", "--to", target, "--sequence", "9"}).status == 0);
  CHECK(text_of(target) == "restored");
  CHECK(cli.store.last_params == Json{{"sequence", 9}});
  CHECK(cli.run({"log", "--json"}).out ==
        "{\"sequence\":1,\"action\":\"CREATE\"}\n{\"sequence\":2,\"action\":\"DELETE\"}\n");
  CHECK(cli.store.made == std::vector<std::string>{"snapshots", "snapshots", "restore", "log"});
  CHECK(cli.run({"restore", "--to", target, "--force", "--no-integrity-check"}).status == 0);
  CHECK(cli.store.last_params == Json{{"no_integrity_check", true}});
  CHECK(cli.run({"restore", "--in-place", "--no-integrity-check"}).status == 2);
  CHECK(cli.run({"log", "--follow"}).status == 3);
  CHECK(cli.run({"snapshots", "--store", "ftp://s"}).status == 2);
}

TEST_CASE("cli: restore --assets asks for those of the restored snapshot, a folder with content is refused first") {
  CliFixture cli;
  cli.store.restored["snapshot_uuid"] = kUuid;
  const std::string target = cli.folder / "out.db", assets = cli.folder / "assets";
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"restore", "--to", target, "--assets", assets, "--store", "file:///s"};
    words.insert(words.end(), more.begin(), more.end());
    return cli.run(words);
  };
  std::filesystem::create_directory(assets);
  std::ofstream(assets + "/mine") << "mine";
  CHECK(run({}).status == 5);
  CHECK(cli.store.made.empty());
  const auto forced = run({"--force", "--database", "pos"});
  CHECK(forced.status == 0);
  CHECK(cli.store.made == std::vector<std::string>{"restore", "assets"});
  CHECK(cli.store.last_params == Json{{"snapshot", kUuid}, {"database", "pos"}});
  CHECK(forced.out.find("Asset media: nothing of it is in this snapshot") != std::string::npos);
  CHECK(forced.out.find("permission denied") != std::string::npos);
  CHECK(text_of(assets + "/mine") == "mine");
  std::filesystem::remove(target);
  std::filesystem::remove_all(assets);
  std::ofstream{assets} << "a file";
  CHECK(run({}).status == 5);
  CHECK_FALSE(std::filesystem::exists(target));
}

TEST_CASE("cli: an interrupted restore leaves nothing behind and ends with 130") {
  CliFixture cli;
  cli.interrupted = true;
  CHECK(cli.run({"restore", "--to", cli.folder / "out.db", "--store", "file:///s"}).status == 130);
  for (const auto& entry : std::filesystem::directory_iterator(cli.folder.path))
    CHECK(entry.path().string().find("out.db") == std::string::npos);
}

TEST_CASE("cli: what does not match its proof ends with 4, after its document") {
  CliFixture cli;
  cli.store.verification =
      Json{{"ok", false}, {"snapshots", {{{"uuid", kUuid}, {"ok", false}, {"error", "pack missing"}}}}};
  for (const auto& words : std::vector<std::vector<std::string>>{{"verify", "--data", "--store", "file:///s"},
                                                                 {"log", "verify", "--store", "file:///s"}}) {
    const auto run = cli.run(words);
    CHECK(run.status == 4);
    CHECK(run.out.find("pack missing") != std::string::npos);
  }
  CHECK(cli.run({"verify", "--snapshot", kUuid, "--store", "file:///s"}).status == 4);
  CHECK(cli.store.last_params == Json{{"snapshot", kUuid}, {"data", false}});
  CHECK(cli.run({"verify"}).status == 2);
}

TEST_CASE("cli: the log is read page by page, and followed") {
  CliFixture cli;
  TestServer server(cli.socket);
  std::vector<Json> asked;
  server.handle("log", [&](Request request, const Responder& answer) {
    asked.push_back(request.params);
    const auto action = [](int sequence) { return Json{{"sequence", sequence}, {"action", "UPDATE"}}; };
    if (asked.size() == 1) return answer.result(Json{{"actions", {action(1), action(2)}}, {"next", 2}});
    if (asked.size() == 2) return answer.result(Json{{"actions", {action(3)}}, {"next", nullptr}});
    if (asked.size() == 3) return answer.result(Json{{"actions", Json::array()}, {"next", 3}});
    if (asked.size() == 4) return answer.result(Json{{"actions", {action(4)}}, {"next", 4}});
    answer.error(Error{ErrorKind::internal, 0, "the end of this test"});
  });
  SUBCASE("once") {
    const auto run =
        cli.run({"log", "--json", "--table", "orders", "--from", "1", "--to", "9", "--since", "2026-01-01 00:00:00"});
    CHECK(run.status == 0);
    CHECK(std::count(run.out.begin(), run.out.end(), '\n') == 3);
    CHECK(asked[0] ==
          Json{{"table", "orders"}, {"from", 1}, {"to", 9}, {"since", "2026-01-01T00:00:00.000Z"}, {"limit", 1000}});
    CHECK(asked[1]["after"] == 2);
  }
  SUBCASE("with --follow") {
    const auto run = cli.run({"log", "--json", "--follow"});
    CHECK(run.status == 1);
    CHECK(std::count(run.out.begin(), run.out.end(), '\n') == 4);
    CHECK(asked[2]["wait"] == true);
    CHECK(asked[2]["after"] == 3);
    CHECK(asked[4]["after"] == 4);
  }
}

TEST_CASE("cli: prune asks the agent, or the store, and says with its status what was left as it is") {
  CliFixture cli;
  const Json damaged{{"dry_run", false},
                     {"databases", {{{"database", "pos"}, {"problems", {"a manifest: it is truncated"}}}}}};
  {
    TestServer server(cli.socket);
    Json asked;
    server.handle("prune", [&](Request request, const Responder& answer) {
      asked = request.params;
      answer.result(Json{{"dry_run", true}, {"databases", Json::array()}});
    });
    CHECK(cli.run({"prune", "--dry-run", "--database", "pos"}).status == 0);
    CHECK(asked == Json{{"database", "pos"}, {"dry_run", true}});
    server.handle("prune", answers(damaged));
    const auto run = cli.run({"prune"});
    CHECK(run.status == 4);
    CHECK(run.out.find("it is truncated") != std::string::npos);
    server.handle("prune", fails(ErrorKind::denied));
    CHECK(cli.run({"prune"}).status == 5);
  }
  // No agent: the store, with the retention of a configuration only where that was named.
  cli.write_config("[retention]\nlast = 9\n");
  CHECK(cli.run({"prune", "--store", "file:///s"}).status == 0);
  CHECK(cli.store.last_params["retention"]["last"] == 9);
  CHECK(cli.store.last_params["dry_run"] == false);
  CHECK(cli.run_bare({"prune", "--store", "file:///s", "--dry-run"}).status == 0);
  CHECK_FALSE(cli.store.last_params.contains("retention"));
  CHECK(cli.store.made == std::vector<std::string>{"prune", "prune"});
}

TEST_SUITE_END();
