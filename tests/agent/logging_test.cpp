#include <doctest/doctest.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/logging/log_context.h"
#include "agent/logging/log_output.h"
#include "agent/logging/repeat_limit.h"
#include "linux/journal_linux.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("logging");

TEST_CASE("log: of a message that repeats the first few are shown, the rest is counted and told") {
  RepeatLimit limit;
  const auto start = RepeatLimit::Time(std::chrono::hours(1000));
  std::vector<RepeatLimit::Left> over;
  CHECK(limit.passes(start, 3, "workflow 019a-77-- - : -", over));
  for (int i = 0; i < 100; i++) {
    const std::string message = "store: put of object 00" + std::to_string(i) + " failed at 12:00:" + std::to_string(i);
    CHECK(limit.passes(start + std::chrono::milliseconds(i * 100), 3, message, over) == (i < RepeatLimit::kShown));
  }
  CHECK(over.empty());
  // Another level, or other words, are another message.
  CHECK(limit.passes(start + std::chrono::seconds(10), 2, "store: put of object 001 failed at 12:00:1", over));
  CHECK(limit.passes(start + std::chrono::seconds(10), 3, "store: put of object 001 failed", over));
  CHECK(over.empty());
  CHECK(limit.passes(start + RepeatLimit::kSpan, 1, "something else", over));
  REQUIRE(over.size() == 1);
  CHECK(over[0].count == 100 - RepeatLimit::kShown);
  CHECK(over[0].level == 3);
  CHECK(over[0].message == "store: put of object 0099 failed at 12:00:99");
  over.clear();
  CHECK(limit.passes(start + RepeatLimit::kSpan, 3, "store: put of object 7 failed at 12:01:0", over));
  CHECK(over.empty());
  CHECK(limit.rest().empty());
}

TEST_CASE("log: a clock that is set back, and more kinds of messages than are told apart, lose nothing") {
  RepeatLimit limit;
  const auto start = RepeatLimit::Time(std::chrono::hours(1000));
  std::vector<RepeatLimit::Left> over;
  for (int i = 0; i < 10; i++) limit.passes(start, 3, "again", over);
  CHECK(limit.passes(start - std::chrono::hours(5), 3, "again", over));
  REQUIRE(over.size() == 1);
  CHECK(over[0].count == 5);
  for (size_t i = 0; i < 2 * RepeatLimit::kKinds; i++) CHECK(limit.passes(start, 3, std::string(i + 1, 'x'), over));
  for (int i = 0; i < 7; i++) limit.passes(start, 4, "the end", over);
}

TEST_CASE("log: the journal is sent every field, and a text of several lines whole") {
  TemporaryDirectory folder;
  const std::string path = folder / "journal";
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), at.sun_path);
  REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  Journal journal(path);
  CHECK(journal.send({{"MESSAGE", "one line"}, {"PRIORITY", "6"}, {"TILLSYNC_DATABASE", "pos"}}));
  char bytes[4096];
  auto n = ::recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
  CHECK(std::string(bytes, static_cast<size_t>(n)) == "MESSAGE=one line\nPRIORITY=6\nTILLSYNC_DATABASE=pos\n");
  CHECK(journal.send({{"MESSAGE", "one\ntwo"}}));
  n = ::recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
  using namespace std::string_literals;
  CHECK(std::string(bytes, static_cast<size_t>(n)) == "MESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\n"s);
  ::close(socket);
  CHECK(!Journal(folder / "nobody").send({{"MESSAGE", "x"}}));
  ::setenv("JOURNAL_STREAM", "1:2", 1);
  CHECK(!Journal::has_stderr());
  ::unsetenv("JOURNAL_STREAM");
}

TEST_CASE("log: fields are those of the thread, as long as they are meant") {
  CHECK(LogContext::of_this_thread().empty());
  {
    const LogContext database("database", "pos");
    const LogContext workflow("workflow", "1");
    REQUIRE(LogContext::of_this_thread().size() == 2);
    CHECK(LogContext::of_this_thread()[1].second == "1");
  }
  CHECK(LogContext::of_this_thread().empty());
}

TEST_CASE("log: a file is bounded, has its levels, and the newest lines are kept for whoever asks") {
  TemporaryDirectory folder;
  LogConfig config;
  config.file = folder / "agent.log";
  config.file_size = 64 << 10;
  config.files = 2;
  const auto before = spdlog::default_logger();
  REQUIRE(set_up_logging(config, "info"));
  spdlog::debug("not shown");
  for (int i = 0; i < 2000; i++)
    spdlog::info("{} {}", std::string(static_cast<size_t>(1 + i % 100), 'x'), "a message that goes on and on and on");
  spdlog::warn("the last one");
  const auto recent = recent_log();
  CHECK(recent.size() <= kRecentMax);
  REQUIRE(!recent.empty());
  CHECK(recent.back().ends_with("Z warning the last one\n"));
  spdlog::set_default_logger(before);
  uint64_t bytes = 0;
  size_t files = 0;
  std::string all;
  for (auto& entry : std::filesystem::directory_iterator(folder.path())) {
    bytes += entry.file_size();
    files++;
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    all += text.str();
  }
  CHECK(files <= 2);
  CHECK(bytes <= 2 * config.file_size);
  CHECK(all.find("Z warning the last one\n") != std::string::npos);
  CHECK(all.find("not shown") == std::string::npos);
  // 2,000 messages of 100 kinds; the rest of each is told at the end.
  CHECK(all.find("(15 more like this were left out) x a message") != std::string::npos);
  config.file = folder / "nowhere/agent.log/x/\n";
  std::ofstream(folder / "nowhere") << "a file";
  CHECK(set_up_logging(config, "info").error().kind == ErrorKind::usage);
}

TEST_SUITE_END();
