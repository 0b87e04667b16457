// `tillsync doctor`, as somebody runs it on a till that is to be made safe.
#include <set>

#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Clinic : World {
  Clinic() {
    auto app = application();
    must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY)"));
  }
  Json examine(int status) {
    const auto ran = cli({"doctor", "--json"});
    INFO(ran.out << ran.err);
    CHECK(ran.status == status);
    return ran.json();
  }
};

// The first of that kind that is not ok.
Json complaint(const Json& found, const std::string& check) {
  for (auto& one : found["checks"])
    if (one["check"] == check && one["state"] != "ok") return one;
  return Json();
}

void check_complaint(const Json& found, const std::string& check, const std::string& state, const std::string& text) {
  const Json one = complaint(found, check);
  INFO(found.dump(1));
  REQUIRE(one.is_object());
  CHECK(one["state"] == state);
  CHECK(contains(one["text"].get<std::string>(), text));
  CHECK_FALSE(one["remedy"].get<std::string>().empty());
}

// Of its own that it left in the store.
size_t left_in(const std::string& store) {
  size_t count = 0;
  for (auto& entry : std::filesystem::recursive_directory_iterator(store))
    count += contains(entry.path().filename(), "doctor");
  return count;
}

}  // namespace

TEST_SUITE_BEGIN("doctor");

TEST_CASE("doctor: a till that is well has nothing but what was left out on purpose") {
  Clinic w;
  REQUIRE(w.cli({"keys", "make", "--out", w.folder / "recovery.pem"}).status == 0);
  w.write_config("[keys]\nrecovery = \"" + w.folder / "recovery.pem.pub" + "\"\n");
  w.start_agent();
  w.flush();
  const Json found = w.examine(0);
  CHECK(found["ok"] == true);
  CHECK(left_in(w.store) == 0);
  std::set<std::string> looked_at;
  for (auto& one : found["checks"]) looked_at.insert(one["check"]);
  CHECK(looked_at ==
        std::set<std::string>{"agent", "clock", "configuration", "database", "keys", "state_dir", "store"});
  // A person reads a line for each.
  const auto read = w.cli({"doctor"});
  CHECK(read.status == 0);
  CHECK(contains(read.out, "it runs, version"));
  CHECK(contains(read.out, "nothing can be overwritten"));
  // What the agent says is said here, too.
  std::filesystem::rename(w.store, w.store + ".away");
  std::ofstream(w.store) << "no folder";
  must(w.application().execute("INSERT INTO sale VALUES(1)"));
  w.until("the agent misses its store", [&] {
    const Json status = w.call("status");
    const auto& problems = status["problems"];
    return std::any_of(problems.begin(), problems.end(), [](auto& one) { return one["code"] == "store"; });
  });
  const Json sick = w.examine(1);
  check_complaint(sick, "agent", "problem", "store");
  check_complaint(sick, "store", "problem", w.store);
  w.stop_agent();
}

TEST_CASE("doctor: what is wrong before the first start is said, each with what to do") {
  Clinic w;
  w.write_config("");
  Json found = w.examine(1);
  check_complaint(found, "agent", "problem", "no agent answers");
  check_complaint(found, "keys", "problem", "only this terminal");
  CHECK(complaint(found, "store").is_null());
  CHECK(left_in(w.store) == 0);

  must(w.application().execute("PRAGMA journal_mode=DELETE"));
  check_complaint(w.examine(1), "database", "warning", "not in WAL mode");
  { std::ofstream(w.db, std::ios::trunc) << std::string(4096, 'x'); }
  check_complaint(w.examine(1), "database", "problem", w.db);
  std::filesystem::remove(w.db);
  check_complaint(w.examine(1), "database", "problem", w.db);

  w.write_config("[keys]\nrecovery = \"" + w.folder / "nowhere.pub" + "\"\n");
  check_complaint(w.examine(1), "keys", "problem", "nowhere.pub");
  { std::ofstream(w.config, std::ios::app) << "colour = \"red\"\n"; }
  check_complaint(w.examine(2), "configuration", "problem", "colour");
}

TEST_SUITE_END();
