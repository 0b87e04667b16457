// One "Back up now" over several databases.
#include <doctest/doctest.h>

#include <map>

#include "agent/tray/backup_run.h"

using namespace tillsync;

namespace {

struct PlayedRun {
  std::map<uint64_t, std::pair<std::string, Json>> asked;
  uint64_t number = 0;
  BackupRun run{[this](const std::string& method, Json params) {
    asked[++number] = {method, std::move(params)};
    return number;
  }};

  // The number of the only request of that method with that text in its params; 0: none.
  uint64_t find(const std::string& method, const std::string& value = "") {
    uint64_t found = 0;
    for (auto& [id, request] : asked) {
      if (request.first != method || request.second.dump().find(value) == std::string::npos) continue;
      REQUIRE(found == 0);
      found = id;
    }
    return found;
  }
  void answer(const std::string& method, const std::string& value, const Result<Json>& result) {
    const uint64_t id = find(method, value);
    REQUIRE(id != 0);
    asked.erase(id);
    REQUIRE(run.answered(id, result));
  }
  void begin_two() {
    answer("status", "", Json{{"databases", {Json{{"name", "pos"}}, Json{{"name", "stock"}}}}});
    answer("backup", "stock", Json{{"uuid", "w-stock"}});
    answer("backup", "pos", Json{{"uuid", "w-pos"}});
  }
  static Json ended(const std::string& status) { return Json{{"status", status}}; }
};

}  // namespace

TEST_SUITE_BEGIN("tray");

TEST_CASE("tray backup: every database is begun, and waited for one after another") {
  PlayedRun played;
  played.begin_two();
  CHECK_FALSE(played.run.percent().has_value());
  CHECK(played.run.progressed(Json{{"uuid", "w-pos"}, {"percent", 50}}));
  CHECK(played.run.percent() == 25);
  CHECK(played.asked.size() == 1);
  const std::string first = played.find("workflow.wait", "w-pos") ? "w-pos" : "w-stock";
  played.answer("workflow.wait", first, PlayedRun::ended("COMPLETED"));
  CHECK_FALSE(played.run.outcome().has_value());
  played.answer("workflow.wait", first == "w-pos" ? "w-stock" : "w-pos", PlayedRun::ended("COMPLETED"));
  REQUIRE(played.run.outcome().has_value());
  CHECK(played.run.outcome()->ended == BackupRun::Outcome::Ended::done);
  CHECK(played.run.percent() == 100);
}

TEST_CASE("tray backup: the first failure is what is told, and whose it is") {
  PlayedRun played;
  played.answer("status", "", Json{{"databases", {Json{{"name", "pos"}}, Json{{"name", "stock"}}}}});
  played.answer("backup", "pos", Error{ErrorKind::corrupt, 0, "damaged"});
  CHECK_FALSE(played.run.outcome().has_value());
  played.answer("backup", "stock", Json{{"uuid", "w-stock"}});
  played.answer("workflow.wait", "w-stock", PlayedRun::ended("CANCELLED"));
  const auto outcome = played.run.outcome();
  REQUIRE(outcome.has_value());
  CHECK(outcome->ended == BackupRun::Outcome::Ended::failed);
  CHECK(outcome->database == "pos");
  CHECK(outcome->error->kind == ErrorKind::corrupt);
}

TEST_CASE("tray backup: an agent that follows nothing, or answers oddly, does not leave it waiting") {
  PlayedRun nothing;
  nothing.answer("status", "", Json{{"databases", Json::array()}});
  REQUIRE(nothing.run.outcome().has_value());
  CHECK(nothing.run.outcome()->error->kind == ErrorKind::not_found);
  PlayedRun no_uuid;
  no_uuid.answer("status", "", Json{{"databases", {Json{{"name", "pos"}}}}});
  no_uuid.answer("backup", "pos", Json::object());
  CHECK(no_uuid.run.outcome().has_value());
  PlayedRun no_shape;
  no_shape.answer("status", "", Json("text"));
  CHECK(no_shape.run.outcome().has_value());
}

TEST_CASE("tray backup: an answer that is only the agent's stopping is asked again, a few times") {
  PlayedRun played;
  played.answer("status", "", Json{{"databases", {Json{{"name", "pos"}}}}});
  played.answer("backup", "pos", Json{{"uuid", "w"}});
  const Result<Json> stopping = Error{ErrorKind::internal, 0, "the agent gave no answer"};
  played.answer("workflow.wait", "w", stopping);
  CHECK(played.find("workflow.wait", "w") != 0);
  played.run.lost();
  played.asked.clear();
  CHECK_FALSE(played.run.outcome().has_value());
  played.run.connected();
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(played.run.outcome().has_value());
    played.answer("workflow.wait", "w", stopping);
  }
  CHECK(played.asked.empty());
  REQUIRE(played.run.outcome().has_value());
  CHECK(played.run.outcome()->ended == BackupRun::Outcome::Ended::failed);
}

TEST_CASE("tray backup: a workflow that is not known any more has failed") {
  PlayedRun played;
  played.answer("status", "", Json{{"databases", {Json{{"name", "pos"}}}}});
  played.answer("backup", "pos", Json{{"uuid", "w"}});
  played.run.lost();
  played.asked.clear();
  played.run.connected();
  played.answer("workflow.wait", "w", Error{ErrorKind::not_found, 0, "no such workflow"});
  REQUIRE(played.run.outcome().has_value());
  CHECK(played.run.outcome()->ended == BackupRun::Outcome::Ended::failed);
}

TEST_CASE("tray backup: answers to others are left to them") {
  PlayedRun played;
  CHECK_FALSE(played.run.answered(99, Json::object()));
  CHECK_FALSE(played.run.progressed(Json{{"uuid", "w"}, {"percent", 1}}));
}

TEST_SUITE_END();
