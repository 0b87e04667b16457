// A restore to a file is made in the file itself, by its descriptor; the agent keeps no copy of its own.
#include <fcntl.h>

#include "agent/control/unique_fd.h"
#include "world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Till : World {
  Till() {
    start_shop({"--sales", "400", "--seed", "11"});
    wait_for_shop();
    start_agent();
    back_up("full");
    start_shop({"--sales", "60", "--seed", "12"});
    wait_for_shop();
    flush();
  }
  UniqueFd make(const std::string& path, int flags = O_RDWR) {
    UniqueFd fd(::open(path.c_str(), O_CREAT | O_CLOEXEC | flags, 0600));
    REQUIRE(fd);
    return fd;
  }
  Result<Json> call_with(const UniqueFd& file, const std::string& method, const Json& params) {
    auto client = must(ControlClient::connect(socket));
    ControlClient::CallOptions options;
    options.fd = file.get();
    return client.call(method, params, options);
  }
  std::vector<std::string> staged() {
    std::vector<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(folder / "state/staging"))
      names.push_back(entry.path().filename());
    return names;
  }
  void check_whole(const std::string& path) {
    auto restored = must(Connection::open(path, SQLITE_OPEN_READWRITE));
    CHECK(must(restored.query_text("PRAGMA integrity_check")) == "ok");
    CHECK(must(restored.query_integer("SELECT n FROM sale_counter")) == query("SELECT n FROM sale_counter"));
    CHECK(must(restored.query_text("PRAGMA journal_mode")) == "wal");
  }
};

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("restore to a file: it is made where it was asked for, and nothing is staged") {
  Till till;
  const std::string target = till.folder / "restored.db";
  auto file = till.make(target);
  const Json begun = must(till.call_with(file, "restore", {}));
  const Json ended = till.call("workflow.wait", {{"uuid", begun["uuid"]}});
  INFO(ended.dump());
  REQUIRE(ended["status"] == "COMPLETED");
  CHECK(till.staged().empty());
  auto other = till.make(till.folder / "other.db");
  auto answer = till.call_with(other, "restore.deliver", {{"uuid", begun["uuid"]}});
  REQUIRE(!answer);
  CHECK(answer.error().kind == ErrorKind::conflict);
  const Json as_given{{"uuid", begun["uuid"]}, {"into_given", true}};
  CHECK(kind_of(till.call_with(other, "restore.deliver", as_given)) == ErrorKind::conflict);
  const Json document = must(till.call_with(file, "restore.deliver", as_given));
  CHECK(document["proven"] == true);
  CHECK(document["bytes"] == std::filesystem::file_size(target));
  CHECK_FALSE(document.contains("into_given"));
  till.check_whole(target);

  const auto ran = till.cli({"restore", "--to", till.folder / "by-command.db", "--json"});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(ran.json()["proven"] == true);
  CHECK(till.staged().empty());
  till.check_whole(till.folder / "by-command.db");
  till.stop_agent();
}

TEST_CASE("restore to a file: a file that holds something, or can't be read back, is refused and left as it is") {
  Till till;
  const std::string target = till.folder / "mine.txt";
  std::ofstream(target) << "mine";
  auto full = till.make(target);
  auto answer = till.call_with(full, "restore", {});
  REQUIRE(!answer);
  CHECK(answer.error().kind == ErrorKind::usage);
  CHECK(std::filesystem::file_size(target) == 4);

  auto blind = till.make(till.folder / "blind.db", O_WRONLY);
  const Json begun = must(till.call_with(blind, "restore", {}));
  const Json ended = till.call("workflow.wait", {{"uuid", begun["uuid"]}});
  CHECK(ended["status"] == "FAILED");
  auto early = till.call_with(blind, "restore.deliver", {{"uuid", begun["uuid"]}, {"into_given", true}});
  REQUIRE(!early);
  CHECK(early.error().kind == ErrorKind::conflict);
  till.stop_agent();
}

TEST_CASE("restore to a file: without one it is staged, and delivered once") {
  Till till;
  const Json begun = till.call("restore");
  REQUIRE(till.call("workflow.wait", {{"uuid", begun["uuid"]}})["status"] == "COMPLETED");
  CHECK_FALSE(till.staged().empty());
  const std::string target = till.folder / "restored.db";
  auto file = till.make(target);
  const Json document = must(till.call_with(file, "restore.deliver", {{"uuid", begun["uuid"]}}));
  CHECK(document["proven"] == true);
  CHECK(till.staged().empty());
  till.check_whole(target);
  auto again = till.call_with(file, "restore.deliver", {{"uuid", begun["uuid"]}});
  REQUIRE(!again);
  CHECK(again.error().kind == ErrorKind::not_found);
  till.stop_agent();
}

TEST_CASE("restore to a file: an agent that is killed on the way has lost the file, and delivers a copy") {
  Till till;
  const std::string target = till.folder / "restored.db";
  auto file = till.make(target);
  const Json begun = must(till.call_with(file, "restore", {}));
  till.kill_agent();
  till.start_agent();
  const Json ended = till.call("workflow.wait", {{"uuid", begun["uuid"]}});
  INFO(ended.dump());
  REQUIRE(ended["status"] == "COMPLETED");
  const Json document = must(till.call_with(file, "restore.deliver", {{"uuid", begun["uuid"]}, {"into_given", true}}));
  CHECK(document["proven"] == true);
  CHECK(till.staged().empty());
  till.check_whole(target);
  till.stop_agent();
}

TEST_SUITE_END();
