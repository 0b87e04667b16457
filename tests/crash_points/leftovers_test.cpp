// What a start removes: the files of spool, staging and safety that no record names, and no other.

#include <set>

#include "agent/logging/log.h"
#include "crash_points/stories.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

const std::string kState = Terminal::kState;

void files_below(MemoryFileSystem& files, const std::string& folder, std::set<std::string>& found) {
  for (auto& entry : must(files.list(folder))) {
    const std::string path = folder + "/" + entry.name;
    if (entry.type == FileType::directory)
      files_below(files, path, found);
    else if (!path.starts_with(kState + "/state.db"))  // its log and index come and go
      found.insert(path);
  }
}
std::set<std::string> files_of_agent(Terminal& terminal) {
  std::set<std::string> found;
  files_below(terminal.memory, kState, found);
  return found;
}
size_t count_below(const std::set<std::string>& paths, const std::string& folder) {
  return static_cast<size_t>(std::count_if(paths.begin(), paths.end(),
                                           [&](auto& path) { return path.starts_with(kState + "/" + folder + "/"); }));
}
// A part of an object that comes into the store: as a further name of the spooled file, or, where that fails, as a
// copy.
bool is_put(const std::string& call) {
  return call.starts_with("link_new " + std::string(Terminal::kStore)) ||
         call.starts_with("write " + std::string(Terminal::kStore));
}
void leave(Terminal& terminal, const std::string& path) {
  must(must(terminal.memory.open(path, OpenMode::create_new))->write(0, as_bytes("left lying")));
}

}  // namespace

TEST_SUITE_BEGIN("crash points");

TEST_CASE("leftovers: a start removes what no record names, and nothing of what is still to be done") {
  log::set_level(log::Level::off);
  Terminal t(1234);
  // Leaves a safety copy, which an undo goes back to.
  auto in_place = story("restore in place");
  in_place->prepare(t);
  must(in_place->work(t));
  must(t.agent->ship());
  {
    // A restart without its change of schema's snapshot would take one.
    const Uuid backup = must(t.agent->begin_backup("INCREMENTAL"));
    REQUIRE(must(t.agent->run(backup)).state == RunOutcome::State::done);
  }
  const TransactionNo moment = t.agent->database().status().transaction;
  const Content wanted = t.live();

  // A restore waits half-way through its staged file.
  const Uuid restore = must(t.agent->begin_restore({{"transaction", moment}}));
  t.files.on_call([](const std::string& call) {
    return call.starts_with("sync " + kState + "/staging/") ? std::optional(ErrorKind::transient) : std::nullopt;
  });
  REQUIRE(must(t.agent->engine().run(restore)).state == RunOutcome::State::waiting);
  // A backup waits for the store, and then a segment of the log.
  t.write_asset("third.txt", "receipt 3");
  t.run("UPDATE article SET stock = stock + 1");
  const Uuid backup = must(t.agent->begin_backup("INCREMENTAL"));
  t.files.on_call([](const std::string& call) {
    return is_put(call) && contains(call, "/packs/") ? std::optional(ErrorKind::transient) : std::nullopt;
  });
  REQUIRE(must(t.agent->engine().run(backup)).state == RunOutcome::State::waiting);
  t.sell(9);
  t.files.on_call(
      [](const std::string& call) { return is_put(call) ? std::optional(ErrorKind::transient) : std::nullopt; });
  CHECK_FALSE(t.agent->ship());
  t.stop();
  t.files.reset();
  const auto needed = files_of_agent(t);
  CHECK(count_below(needed, "spool") >= 6);  // segment, draft, manifest, pack, and two objects of the assets
  CHECK(std::any_of(needed.begin(), needed.end(), [](auto& path) { return path.ends_with(".seg"); }));
  CHECK(needed.contains(kState + "/staging/" + restore.str() + ".db"));
  CHECK(count_below(needed, "safety") == 1);

  // What others left that were never recorded, and what is nobody's in folders that are not swept.
  const std::string nobody = "01a2148f-85c6-71bc-a933-22e66d8c2a46";
  for (const char* part : {"/spool/X.pack", "/spool/X.draft", "/spool/X.manifest", "/spool/X.seg", "/spool/X.pages",
                           "/staging/X.db", "/staging/X.db-wal", "/staging/X.db.state", "/safety/X.db"}) {
    std::string path = kState + part;
    leave(t, path.replace(path.find('X'), 1, nobody));
  }
  auto expected = needed;
  for (auto& folder : {kState, kState + "/databases", kState + "/spool/folder"}) {
    must(t.memory.make_directories(folder));
    leave(t, folder + "/" + nobody);
    expected.insert(folder + "/" + nobody);
  }
  // A restore has put aside what is there, and not recorded it yet.
  const std::string aside = kState + "/safety/" + restore.str() + ".db";
  leave(t, aside);
  expected.insert(aside);
  t.start();
  const auto found = files_of_agent(t);
  for (auto& path : expected)
    if (!found.contains(path)) FAIL_CHECK("removed: " << path);
  for (auto& path : found)
    if (!expected.contains(path)) FAIL_CHECK("left lying: " << path);

  // Both go on with what was kept.
  must(t.agent->resume());
  for (auto& workflow : {restore, backup})
    CHECK(must(t.agent->engine().describe(workflow)).status == WorkflowStatus::completed);
  const std::string staged = kState + "/staging/" + restore.str() + ".db";
  check_same(dump_file(must(read_file(t.memory, staged))), wanted);
  must(t.agent->ship());
  CHECK(count_below(files_of_agent(t), "spool") == 1);  // in the folder of its own
  // Nobody came for the restored file while that agent ran.
  t.stop();
  t.start();
  CHECK(count_below(files_of_agent(t), "staging") == 0);
  CHECK(count_below(files_of_agent(t), "safety") == 1);
}

TEST_SUITE_END();
