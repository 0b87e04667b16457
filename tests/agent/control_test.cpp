// Local control over real sockets: what works, and what a bad client can't do.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <vector>

#include "tests/agent/control_fixture.h"

using namespace tillsync;
using namespace std::chrono_literals;

namespace {

void echo(Request request, const Responder& answer) { answer.result(request.params); }

ControlClient connect(const std::string& path) {
  auto client = ControlClient::connect(path);
  REQUIRE(client.has_value());
  return std::move(*client);
}

const std::string kPing = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"echo\",\"params\":{\"a\":1}}\n";

template <class Condition>
bool soon(Condition condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

}  // namespace

TEST_SUITE_BEGIN("control");

TEST_CASE("control: a call is answered with its result") {
  TemporaryFolder folder;
  TestServer server(folder / "run/control.sock");
  server.handle("echo", echo);
  auto client = connect(folder / "run/control.sock");
  CHECK(client.call("echo", Json{{"text", "käse\n"}}).value() == Json{{"text", "käse\n"}});
  CHECK(client.call("echo").value() == Json::object());
}

TEST_CASE("control: the socket is for its owner only and goes with its server") {
  TemporaryFolder folder;
  struct stat info {};
  {
    TestServer server(folder / "control.sock");
    REQUIRE(::stat((folder / "control.sock").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
  }
  CHECK(::stat((folder / "control.sock").c_str(), &info) != 0);
}

TEST_CASE("control: an error arrives as it was, with kind, code and words") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  server.handle("fail", [](Request, const Responder& answer) {
    answer.error(Error{ErrorKind::corrupt, 11, "page 7 is torn"});
  });
  server.handle("throw", [](Request request, const Responder&) { (void)request.params.at("missing"); });
  server.handle("forget", [](Request, const Responder&) {});
  auto client = connect(folder / "s");
  auto failed = client.call("fail");
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().kind == ErrorKind::corrupt);
  CHECK(failed.error().code == 11);
  CHECK(failed.error().context == "page 7 is torn");
  CHECK(client.call("throw").error().kind == ErrorKind::internal);
  CHECK(client.call("forget").error().kind == ErrorKind::internal);
  CHECK(client.call("unheard of").error().kind == ErrorKind::usage);
}

TEST_CASE("control: notifications come before the answer, also from another thread") {
  TemporaryFolder folder;
  std::thread worker;
  TestServer server(folder / "s");
  server.handle("work", [&](Request, const Responder& answer) {
    worker = std::thread([answer] {
      for (int i = 0; i < 100; ++i) answer.notify("progress", Json{{"percent", i}});
      answer.result("done");
      answer.notify("progress", Json{{"percent", 101}});
      answer.result("done twice");
    });
  });
  auto client = connect(folder / "s");
  std::vector<int> seen;
  ControlClient::CallOptions options;
  options.on_notification = [&](const std::string& method, const Json& params) {
    CHECK(method == "progress");
    seen.push_back(params["percent"].get<int>());
  };
  CHECK(client.call("work", Json::object(), options).value() == "done");
  worker.join();
  REQUIRE(seen.size() == 100);
  CHECK(seen.back() == 99);
}

TEST_CASE("control: a descriptor comes along with its request") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  server.handle("fill", [](Request request, const Responder& answer) {
    const bool written = request.file && request.file->write(0, as_bytes("restored"));
    answer.result(Json{{"fd", written}, {"own", request.peer.uid == ::getuid() && request.peer.pid == ::getpid()}});
  });
  auto client = connect(folder / "s");
  UniqueFd file(::open((folder / "target").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ControlClient::CallOptions options;
  options.fd = file.get();
  const Json with = client.call("fill", Json{{"padding", std::string(200000, 'x')}}, options).value();
  CHECK(with["fd"] == true);
  CHECK(with["own"] == true);
  CHECK(client.call("fill").value()["fd"] == false);
  std::string text;
  std::ifstream(folder / "target") >> text;
  CHECK(text == "restored");
}

TEST_CASE("control: half a request is not carried out") {
  TemporaryFolder folder;
  std::atomic<int> calls = 0;
  TestServer server(folder / "s");
  server.handle("echo", [&](Request request, const Responder& answer) {
    ++calls;
    answer.result(request.params);
  });
  RawClient raw(folder / "s");
  raw.send(kPing + kPing.substr(0, 20));
  raw.end();
  CHECK(Json::parse(raw.line())["id"] == 7);
  CHECK(raw.line() == "");
  CHECK(calls == 1);
  CHECK(soon([&] { return server.connection_count() == 0; }));
}

TEST_CASE("control: many requests in one packet are answered in turn, byte by byte as well") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  server.handle("echo", echo);
  RawClient raw(folder / "s");
  std::string all;
  for (int i = 0; i < 200; ++i) all += kPing;
  raw.send(all);
  for (int i = 0; i < 200; ++i) REQUIRE(Json::parse(raw.line())["result"]["a"] == 1);
  for (const char c : kPing) raw.send(std::string(1, c));
  CHECK(Json::parse(raw.line())["id"] == 7);
}

TEST_CASE("control: a request without end is refused and closed") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  RawClient raw(folder / "s");
  raw.send(std::string(3 << 20, 'x'));
  CHECK(raw.line().find("larger than the agent takes") != std::string::npos);
  CHECK(soon([&] { return server.connection_count() == 0; }));
}

TEST_CASE("control: a request of almost the limit passes, one of more does not") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  server.handle("echo", [](Request, const Responder& answer) { answer.result(1); });
  auto client = connect(folder / "s");
  CHECK(client.call("echo", Json{{"x", std::string((256 << 10) - 200, 'x')}}).has_value());
  CHECK_FALSE(client.call("echo", Json{{"x", std::string((256 << 10) + 10, 'x')}}).has_value());
}

TEST_CASE("control: what is no request gets an error, and the connection goes on") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  server.handle("echo", echo);
  RawClient raw(folder / "s");
  const std::string deep =
      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":" + std::string(100000, '[') + "\n";
  for (const std::string& bad :
       {std::string("nonsense\n"), std::string("[]\n"), deep,
        std::string("{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}\n"),
        std::string("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"echo\"}\n"),
        std::string("{\"id\":1,\"method\":\"echo\"}\n"), std::string("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":3}\n"),
        std::string("\xff\xfe\n"),
        std::string("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[1]}\n")}) {
    raw.send(bad);
    CHECK(Json::parse(raw.line()).contains("error"));
  }
  raw.send("\n" + kPing);
  CHECK(Json::parse(raw.line())["result"]["a"] == 1);
}

TEST_CASE("control: a client that never reads is dropped, others go on") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  std::atomic<bool> stop = false, begun = false;
  std::thread worker;
  server.handle("flood", [&](Request, const Responder& answer) {
    worker = std::thread([&stop, answer] {
      const Json chunk{{"x", std::string(100000, 'x')}};
      while (!stop && answer.is_wanted()) {
        answer.notify("progress", chunk);
        std::this_thread::sleep_for(1ms);
      }
    });
    begun = true;
  });
  server.handle("echo", echo);
  RawClient raw(folder / "s");
  raw.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"flood\"}\n");
  REQUIRE(soon([&] { return begun.load(); }));
  CHECK(soon([&] { return server.connection_count() == 0; }));
  stop = true;
  worker.join();
  CHECK(connect(folder / "s").call("echo").has_value());
}

TEST_CASE("control: a client that stalls with little to read is dropped in time") {
  TemporaryFolder folder;
  ControlOptions options;
  options.send_stall_max = 100ms;
  TestServer server(folder / "s", options);
  server.handle("big", [](Request, const Responder& answer) { answer.result(std::string(3 << 20, 'x')); });
  RawClient raw(folder / "s");
  raw.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n");
  CHECK(soon([&] { return server.connection_count() == 0; }));
}

TEST_CASE("control: an answer larger than the queue reaches a client that reads") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  server.handle("big", [](Request, const Responder& answer) { answer.result(std::string(20 << 20, 'x')); });
  CHECK(connect(folder / "s").call("big").value().get_ref<const std::string&>().size() == 20 << 20);
}

TEST_CASE("control: the connections over the limit are told so") {
  TemporaryFolder folder;
  TestServer server(folder / "s");
  server.handle("echo", echo);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(std::make_unique<RawClient>(folder / "s"));
    REQUIRE(clients.back()->is_connected());
  }
  CHECK(soon([&] { return server.connection_count() == 64; }));
  CHECK(connect(folder / "s").call("echo").error().kind == ErrorKind::throttled);
  clients[0]->send(kPing);
  CHECK(Json::parse(clients[0]->line())["id"] == 7);
  clients.clear();
  CHECK(soon([&] { return server.connection_count() == 0; }));
  CHECK(connect(folder / "s").call("echo").has_value());
}

TEST_CASE("control: requests that wait are bounded, those after them are read later") {
  TemporaryFolder folder;
  std::atomic<int> begun = 0;
  std::vector<Responder> waiting;
  TestServer server(folder / "s");
  server.handle("wait", [&](Request, const Responder& answer) {
    waiting.push_back(answer);
    ++begun;
  });
  server.handle("release", [&](Request, const Responder& answer) {
    for (const auto& one : waiting) one.result(1);
    waiting.clear();
    answer.result(1);
  });
  RawClient raw(folder / "s");
  std::string all;
  for (int i = 0; i < 40; ++i) all += "{\"jsonrpc\":\"2.0\",\"id\":" + std::to_string(i) + ",\"method\":\"wait\"}\n";
  raw.send(all);
  CHECK(soon([&] { return begun == 16; }));
  std::this_thread::sleep_for(50ms);
  CHECK(begun == 16);
  auto other = connect(folder / "s");
  CHECK(other.call("release").has_value());
  for (int i = 0; i < 16; ++i) CHECK(Json::parse(raw.line())["id"] == i);
  CHECK(soon([&] { return begun == 32; }));
  CHECK(other.call("release").has_value());
  CHECK(soon([&] { return begun == 40; }));
  CHECK(other.call("release").has_value());
}

TEST_CASE("control: no agent is told from every other failure") {
  TemporaryFolder folder;
  auto none = ControlClient::connect(folder / "none");
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().kind == ErrorKind::offline);
  CHECK(is_agent_absent(none.error()));
  CHECK(none.error().context.find("the agent is not running") == 0);
  CHECK_FALSE(is_agent_absent(Error{ErrorKind::offline, 0, "store"}));
}

TEST_CASE("control: a socket left over is replaced, a living one and a file are not") {
  TemporaryFolder folder;
  const std::string path = folder / "s";
  {
    boost::asio::io_context loop;
    auto left_over = ControlServer::listen(loop, ControlOptions{.path = path});
    REQUIRE(left_over.has_value());
    REQUIRE(::rename(path.c_str(), (path + ".kept").c_str()) == 0);
  }
  REQUIRE(::rename((path + ".kept").c_str(), path.c_str()) == 0);
  TestServer server(path);
  boost::asio::io_context loop;
  auto second = ControlServer::listen(loop, ControlOptions{.path = path});
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().kind == ErrorKind::conflict);
  std::ofstream(folder / "file") << "x";
  CHECK(ControlServer::listen(loop, ControlOptions{.path = folder / "file"}).error().kind == ErrorKind::conflict);
}

TEST_CASE("control: a call ends at its deadline, and when it is cancelled") {
  TemporaryFolder folder;
  std::vector<Responder> waiting;
  TestServer server(folder / "s");
  server.handle("wait", [&](Request, const Responder& answer) { waiting.push_back(answer); });
  ControlClient::CallOptions options;
  options.deadline = std::chrono::steady_clock::now() + 50ms;
  CHECK(connect(folder / "s").call("wait", Json::object(), options).error().kind == ErrorKind::timeout);
  auto client = ControlClient::connect(folder / "s", [] { return true; });
  CHECK(client->call("wait").error().kind == ErrorKind::cancelled);
  server.stop();
  waiting.clear();
}

TEST_CASE("control: who may do what is told by user and groups") {
  const uid_t own = 500;
  const ControlGroups groups{100, 200}, none;
  const auto may = [&](const Peer& peer, const ControlGroups& of) {
    return std::pair(is_allowed(peer, Access::operate, own, of), is_allowed(peer, Access::administer, own, of));
  };
  const auto nothing = std::pair(false, false), operates = std::pair(true, false), everything = std::pair(true, true);
  CHECK(may({0, 0, 1, {}}, groups) == everything);
  CHECK(may({own, 7, 1, {}}, groups) == everything);
  CHECK(may({own, 7, 1, {}}, none) == everything);
  CHECK(may({600, 7, 1, {}}, groups) == nothing);
  CHECK(may({600, 100, 1, {}}, groups) == operates);
  CHECK(may({600, 7, 1, {8, 100}}, groups) == operates);
  CHECK(may({600, 200, 1, {}}, groups) == everything);
  CHECK(may({600, 7, 1, {200, 8}}, groups) == everything);
  CHECK(may({600, 100, 1, {200}}, none) == nothing);
  CHECK(may({600, 0, 1, {0}}, none) == nothing);
}

TEST_SUITE_END();
