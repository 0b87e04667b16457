// What the tray shows and asks, without a bus, a clock or an agent.
#include "tests/tray/model_fixture.h"
#include "version.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

const Json kOneDatabase = Json{{"databases", {Json{{"name", "pos"}}}}};

}  // namespace

TEST_SUITE_BEGIN("tray");

TEST_CASE("tray model: all is well") {
  PlayedTray tray;
  tray.connect(tray.ok());
  CHECK(tray.view().icon == TrayIcon::ok);
  CHECK(tray.view().line == "Last backup 3 minutes ago, all sales safe");
  CHECK(tray.view().details.empty());
  tray.pass(2min);
  CHECK(tray.view().line == "Last backup 5 minutes ago, all sales safe");
  PlayedTray german(Language::german);
  german.connect(german.ok());
  CHECK(german.view().line == "Letzte Sicherung vor 3 Minuten, alle Verkäufe sicher");
}

TEST_CASE("tray model: sales that are not in the store yet are not called safe") {
  PlayedTray tray;
  Json state = tray.ok();
  state["waiting"] = 12;
  state["safe_until"] = tray.ago(5min);
  tray.connect(state);
  CHECK(tray.view().line == "Last backup 3 minutes ago, sales safe up to 13:55");
  CHECK(tray.view().details == "12 changes are on their way to the store");
  state["safe_until"] = tray.ago(1s);
  tray.say(state);
  CHECK(tray.view().line == "Last backup 3 minutes ago, sales safe up to a moment ago");
  CHECK(tray.view().details.empty());
  CHECK(tray.model.changes_after(tray.now) == Milliseconds(59s));
  tray.pass(59s);
  CHECK(tray.view().line == "Last backup 3 minutes ago, sales safe up to 13:59");
  state["safe_until"] = nullptr;
  tray.say(state);
  CHECK(tray.view().line == "Last backup 3 minutes ago");
  CHECK(tray.model.changes_after(tray.now) == Milliseconds(1s));
  state["last_backup_at"] = nullptr;
  tray.say(state);
  CHECK(tray.view().line == "No backup yet");
}

TEST_CASE("tray model: sales that nobody captures are not called safe, though none of them waits") {
  PlayedTray tray;
  Json state = tray.ok();
  state["safe_until"] = tray.ago(10min);
  state["state"] = "paused";
  tray.connect(state);
  CHECK(contains(tray.view().details, "Last backup 3 minutes ago, sales safe up to 13:50"));
  state["state"] = "attention";
  state["problems"] = {tray.problem("capture_failed")};
  tray.say(state);
  tray.choose(MenuItem::show_status);
  CHECK(contains(tray.last().body, "Last backup 3 minutes ago, sales safe up to 13:50"));
}

TEST_CASE("tray model: nothing is known before the agent said how it is") {
  PlayedTray tray;
  CHECK(tray.view().icon == TrayIcon::no_agent);
  tray.connect();
  CHECK(tray.view().icon == TrayIcon::no_agent);
  CHECK_FALSE(tray.entry(MenuItem::back_up_now).enabled);
  CHECK(tray.waits("watch"));
}

TEST_CASE("tray model: work is named, with percent and time left") {
  PlayedTray tray;
  Json state = tray.ok();
  state["state"] = "working";
  state["workflow"] = {{"uuid", "u"}, {"type", "BACKUP"}, {"step", "x"}, {"percent", 45.7}, {"eta_ms", 130'000}};
  tray.connect(state);
  CHECK(tray.view().icon == TrayIcon::working);
  CHECK(tray.view().line == "Backing up, 45 %, about 2 minutes left");
  CHECK(tray.view().details == "Last backup 3 minutes ago, all sales safe");
  CHECK(tray.entry(MenuItem::back_up_now).label == "Backing up… 45 %");
  CHECK_FALSE(tray.entry(MenuItem::back_up_now).enabled);
  state["workflow"] = {{"uuid", "u"}, {"type", "BACKUP"}, {"step", "x"}, {"percent", nullptr}, {"eta_ms", nullptr}};
  tray.say(state);
  CHECK(tray.view().line == "Backing up");
  CHECK(tray.entry(MenuItem::back_up_now).label == "Backing up…");
  state["workflow"]["type"] = "RESTORE";
  tray.say(state);
  CHECK(tray.view().line == "Restoring");
  CHECK(tray.entry(MenuItem::back_up_now).enabled);
  state["workflow"]["type"] = "MIGRATION";
  tray.say(state);
  CHECK(tray.view().line == "Working");
}

TEST_CASE("tray model: one problem is said in its own words, several are counted") {
  PlayedTray tray;
  tray.connect(tray.attention({tray.problem("store"), tray.problem("no_recovery_key", "advice")}));
  CHECK(tray.view().icon == TrayIcon::attention);
  CHECK(tray.view().line == "store is broken");
  CHECK(tray.view().details == "What to do: mend store");
  tray.say(tray.attention({tray.problem("store"), tray.problem("disk_low"), tray.problem("prune"),
                           tray.problem("verify"), tray.problem("drill")}));
  CHECK(tray.view().line == "5 problems need attention");
  CHECK(tray.view().details == "store is broken\ndisk_low is broken\nprune is broken\nand 2 more");
}

TEST_CASE("tray model: a German operator reads what is known of a problem, and IT what the agent says") {
  PlayedTray tray(Language::german);
  tray.connect(tray.attention({tray.problem("store")}));
  CHECK(tray.view().line == "Der Speicher der Sicherungen ist nicht zu gebrauchen");
  CHECK(contains(tray.view().details, "Was zu tun ist: Prüfen Sie die Netzverbindung"));
  tray.choose(MenuItem::show_status);
  CHECK(tray.last().summary == "tillsync braucht Aufmerksamkeit");
  CHECK(contains(tray.last().body, "Für die IT: store is broken"));
  tray.say(tray.attention({tray.problem("something_new")}));
  CHECK(tray.view().line == "something_new is broken");
  CHECK(tray.view().details == "Was zu tun ist: mend something_new");
}

TEST_CASE("tray model: a long line is cut between characters") {
  PlayedTray tray;
  Json problem = tray.problem("x");
  std::string text = "a";
  for (int i = 0; i < 100; ++i) text += "ä";
  problem["text"] = text;
  tray.connect(tray.attention({problem}));
  const std::string line = tray.view().line;
  CHECK(line.size() <= 123);
  CHECK(line.ends_with("ä…"));
}

TEST_CASE("tray model: a pause has an end or none, and can be ended") {
  PlayedTray tray;
  Json state = tray.ok();
  state["state"] = "paused";
  state["paused_until"] = to_rfc3339(tray.now.wall + 1h);
  tray.connect(state);
  CHECK(tray.view().icon == TrayIcon::paused);
  CHECK(tray.view().line == "Paused until 15:00");
  CHECK_FALSE(tray.entry(MenuItem::pause).visible);
  CHECK(tray.entry(MenuItem::resume).visible);
  CHECK_FALSE(tray.entry(MenuItem::back_up_now).enabled);
  state["paused_until"] = to_rfc3339(tray.now.wall + 24h);
  tray.say(state);
  CHECK(tray.view().line == "Paused until 2026-11-27 14:00");
  state["paused_until"] = nullptr;
  tray.say(state);
  CHECK(tray.view().line == "Paused until you resume");
  tray.choose(MenuItem::resume);
  tray.answer("resume", Json::object());
  CHECK(tray.last().summary == "tillsync goes on");
  tray.say(tray.ok());
  CHECK(tray.entry(MenuItem::pause).visible);
  CHECK_FALSE(tray.entry(MenuItem::resume).visible);
}

TEST_CASE("tray model: pause is asked once for an hour, and what came of it is told") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.choose(MenuItem::pause);
  tray.choose(MenuItem::pause);  // impatient
  const Json params = tray.answer("pause", Json{{"paused_until", to_rfc3339(tray.now.wall + 1h)}});
  CHECK(params == Json{{"for_ms", 3'600'000}});
  CHECK_FALSE(tray.waits("pause"));
  CHECK(tray.last().body == "Paused until 15:00.\nWhat is sold meanwhile is backed up afterwards.");
  tray.choose(MenuItem::pause);
  tray.answer("pause", Error{ErrorKind::denied, 0, "no"});
  CHECK(tray.last().summary == "Could not pause");
  CHECK(tray.last().body == "It is not permitted.\nno");
  tray.choose(MenuItem::pause);
  tray.lose();
  CHECK(tray.last().summary == "Could not pause");
}

TEST_CASE("tray model: back up now begins, goes on and ends, for the operator to see") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.choose(MenuItem::back_up_now);
  CHECK(tray.last().summary == "Backup begun");
  CHECK_FALSE(tray.last().is_update);
  CHECK(tray.view().icon == TrayIcon::working);
  CHECK_FALSE(tray.entry(MenuItem::back_up_now).enabled);
  tray.choose(MenuItem::back_up_now);  // does nothing now
  tray.answer("status", kOneDatabase);
  CHECK_FALSE(tray.waits("status"));
  CHECK(tray.answer("backup", Json{{"uuid", "w1"}, {"snapshot_uuid", "s1"}}) == Json{{"database", "pos"}});
  tray.pass(3s);
  tray.model.notified("progress", Json{{"uuid", "w1"}, {"percent", 40}}, tray.now);
  tray.collect();
  CHECK(tray.last().percent == 40);
  CHECK(tray.last().is_update);
  CHECK(tray.entry(MenuItem::back_up_now).label == "Backing up… 40 %");
  const size_t told = tray.notifications.size();
  tray.model.notified("progress", Json{{"uuid", "w1"}, {"percent", 41}}, tray.now);  // too soon
  tray.model.notified("progress", Json{{"uuid", "another"}, {"percent", 99}}, tray.now);
  tray.collect();
  CHECK(tray.notifications.size() == told);
  CHECK(tray.answer("workflow.wait", Json{{"status", "COMPLETED"}, {"result", Json::object()}}) ==
        Json{{"uuid", "w1"}});
  CHECK(tray.last().summary == "Backup done");
  CHECK(tray.last().body == "Everything that was sold until 14:00 is in the store.");
  CHECK(tray.view().icon == TrayIcon::ok);
  CHECK(tray.entry(MenuItem::back_up_now).enabled);
}

TEST_CASE("tray model: a backup that fails says why, once") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.choose(MenuItem::back_up_now);
  tray.answer("status", kOneDatabase);
  tray.answer("backup", Json{{"uuid", "w1"}});
  tray.answer("workflow.wait",
              Json{{"status", "FAILED"}, {"error", {{"kind", "no_space"}, {"message", "the store is full"}}}});
  CHECK(tray.last().summary == "Backup failed");
  CHECK(tray.last().body ==
        "There is no room left on the disk or in the store. Try again later. If it fails again, tell IT.\n"
        "For IT: the store is full");
  const size_t told = tray.notifications.size();
  tray.say(tray.attention({tray.problem("backup")}));
  CHECK(tray.notifications.size() == told);
  PlayedTray german(Language::german);
  german.connect(german.ok());
  german.choose(MenuItem::back_up_now);
  german.answer("status", Error{ErrorKind::internal, 0, "bug"});
  CHECK(german.last().summary == "Sicherung fehlgeschlagen");
  CHECK(contains(german.last().body, "Für die IT: bug"));
}

TEST_CASE("tray model: a backup that somebody cancels is not called failed") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.choose(MenuItem::back_up_now);
  tray.answer("status", kOneDatabase);
  tray.answer("backup", Json{{"uuid", "w1"}});
  tray.answer("workflow.wait", Json{{"status", "CANCELLED"}, {"error", {{"kind", "cancelled"}, {"message", "x"}}}});
  CHECK(tray.last().summary == "Backup cancelled");
}

TEST_CASE("tray model: a backup goes on over a restart of the agent") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.choose(MenuItem::back_up_now);
  tray.answer("status", kOneDatabase);
  tray.answer("backup", Json{{"uuid", "w1"}});
  CHECK(tray.waits("workflow.wait"));
  tray.lose();
  CHECK(tray.view().icon == TrayIcon::no_agent);
  CHECK(tray.last().summary == "Backup begun");
  tray.connect(tray.ok());
  CHECK(tray.answer("workflow.wait", Json{{"status", "COMPLETED"}}) == Json{{"uuid", "w1"}});
  CHECK(tray.last().summary == "Backup done");
}

TEST_CASE("tray model: an agent that goes away before a backup began has not begun it") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.choose(MenuItem::back_up_now);
  SUBCASE("not even asked for the databases") {}
  SUBCASE("asked to begin") { tray.answer("status", kOneDatabase); }
  tray.lose();
  CHECK(tray.last().summary == "Backup failed");
  CHECK(contains(tray.last().body, "went away before the backup began"));
}

TEST_CASE("tray model: an agent that goes and comes back") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.lose();
  CHECK(tray.view().icon == TrayIcon::no_agent);
  CHECK(tray.view().line == "tillsync is not running, new sales are not backed up");
  CHECK(contains(tray.view().details, "systemctl start tillsync"));
  for (const MenuItem item : {MenuItem::back_up_now, MenuItem::pause}) CHECK_FALSE(tray.entry(item).enabled);
  for (const MenuItem item : {MenuItem::show_status, MenuItem::about}) CHECK(tray.entry(item).enabled);
  tray.connect();
  CHECK(tray.view().icon == TrayIcon::no_agent);
  tray.say(tray.ok());
  CHECK(tray.view().icon == TrayIcon::ok);
  CHECK(tray.notifications.empty());
}

TEST_CASE("tray model: an absence is told once, when it is longer than a restart") {
  PlayedTray tray;
  CHECK(tray.model.changes_after(tray.now) == Milliseconds(2min));
  tray.pass(119s);
  tray.lose();  // another attempt
  CHECK(tray.notifications.empty());
  tray.pass(1s);
  REQUIRE(tray.notifications.size() == 1);
  CHECK(tray.last().icon == TrayIcon::no_agent);
  CHECK(tray.last().summary == "tillsync needs attention");
  CHECK(tray.last().body == tray.view().line + "\n" + tray.view().details);
  CHECK_FALSE(tray.model.changes_after(tray.now).has_value());
  tray.pass(10h);
  CHECK(tray.notifications.size() == 1);
  tray.connect(tray.ok());
  tray.lose();
  tray.pass(2min);
  CHECK(tray.notifications.size() == 2);
}

TEST_CASE("tray model: a clock that is set does not make an absence longer") {
  PlayedTray tray;
  tray.now.wall += 24h;
  tray.pass(1s);
  CHECK(tray.notifications.empty());
}

TEST_CASE("tray model: an operator without permission is told whom to ask") {
  PlayedTray tray;
  tray.connect();
  tray.lose(ErrorKind::denied);
  CHECK(tray.view().icon == TrayIcon::attention);
  CHECK(tray.view().line == "This user may not ask tillsync how the sales are");
  CHECK(tray.view().details == "Ask IT to add you to the group tillsync, then log out and in again");
  CHECK_FALSE(tray.entry(MenuItem::back_up_now).enabled);
  tray.pass(10min);
  CHECK(tray.notifications.empty());
  tray.choose(MenuItem::show_status);
  CHECK(tray.last().summary == "tillsync needs attention");
  CHECK(tray.last().body == tray.view().line + "\n" + tray.view().details);
  PlayedTray by_method;
  by_method.connect();
  by_method.answer("watch", Error{ErrorKind::denied, 0, "no"});
  CHECK(by_method.view().line == tray.view().line);
}

TEST_CASE("tray model: an agent that is not understood is another version") {
  PlayedTray tray;
  tray.connect();
  SUBCASE("older") { tray.answer("watch", Error{ErrorKind::usage, 0, "this agent does not know the method watch"}); }
  SUBCASE("newer") { tray.say(Json{{"state", "splendid"}}); }
  SUBCASE("odd") { tray.say(Json{{"state", "ok"}, {"last_backup_at", 5}}); }
  CHECK(tray.view().icon == TrayIcon::attention);
  CHECK(tray.view().line == "This icon does not understand the tillsync that is running");
  tray.choose(MenuItem::show_status);
  CHECK(contains(tray.last().body, "For IT: "));
}

TEST_CASE("tray model: a problem is told when it comes, not when it flickers") {
  PlayedTray tray;
  tray.connect(tray.ok());
  tray.say(tray.attention({tray.problem("store")}));
  REQUIRE(tray.notifications.size() == 1);
  CHECK(tray.last().body == "store is broken\nWhat to do: mend store");
  tray.say(tray.attention({tray.problem("store")}));
  tray.say(tray.ok());
  tray.pass(30min);
  tray.say(tray.attention({tray.problem("store")}));
  CHECK(tray.notifications.size() == 1);
  tray.say(tray.attention({tray.problem("store"), tray.problem("disk_low")}));
  REQUIRE(tray.notifications.size() == 2);
  CHECK(tray.last().body == "disk_low is broken\nWhat to do: mend disk_low");
  tray.pass(5h);  // it was there all the time
  tray.say(tray.attention({tray.problem("store"), tray.problem("disk_low")}));
  CHECK(tray.notifications.size() == 2);
  tray.say(tray.ok());
  tray.pass(2h);
  tray.say(tray.attention({tray.problem("store")}));
  CHECK(tray.notifications.size() == 3);
}

TEST_CASE("tray model: advice neither changes the icon nor is told by itself") {
  PlayedTray tray;
  Json state = tray.ok();
  state["problems"] = {tray.problem("no_recovery_key", "advice")};
  tray.connect(state);
  CHECK(tray.view().icon == TrayIcon::ok);
  CHECK(tray.notifications.empty());
  tray.choose(MenuItem::show_status);
  CHECK(tray.last().summary == "tillsync");
  CHECK(tray.last().body ==
        "Last backup 3 minutes ago, all sales safe\n"
        "Advice: no_recovery_key is broken\nWhat to do: mend no_recovery_key");
}

TEST_CASE("tray model: the status names every problem with its remedy, up to what fits") {
  PlayedTray tray;
  tray.connect(tray.attention({tray.problem("a"), tray.problem("b"), tray.problem("c"), tray.problem("d")}));
  tray.choose(MenuItem::show_status);
  CHECK(tray.last().stays);
  CHECK(tray.last().body ==
        "Last backup 3 minutes ago, sales safe up to a moment ago\n"
        "a is broken\nWhat to do: mend a\nb is broken\nWhat to do: mend b\nc is broken\nWhat to do: mend c\n"
        "and 1 more");
}

TEST_CASE("tray model: about names the version") {
  PlayedTray tray;
  tray.choose(MenuItem::about);
  CHECK(tray.last().summary == std::string("tillsync ") + TILLSYNC_VERSION);
}

TEST_CASE("tray model: it wakes up when an age reads otherwise, and not before") {
  PlayedTray tray;
  tray.connect(tray.ok());
  const auto after = tray.model.changes_after(tray.now);
  REQUIRE(after == Milliseconds(1min));
  const TrayView before = tray.view();
  tray.pass(*after - 1ms);
  CHECK(tray.view() == before);
  tray.pass(1ms);
  CHECK_FALSE(tray.view() == before);
  Json state = tray.ok();
  state["last_backup_at"] = tray.ago(3h);
  tray.say(state);
  CHECK(tray.model.changes_after(tray.now) == Milliseconds(1h));
  tray.say(tray.attention({tray.problem("store")}));
  CHECK_FALSE(tray.model.changes_after(tray.now).has_value());
}

TEST_CASE("tray model: every state has its words in both languages, and they differ") {
  const auto lines_of = [](Language language) {
    std::vector<std::string> lines;
    PlayedTray tray(language);
    const auto add = [&] {
      for (const auto& entry : tray.view().menu)
        if (!entry.label.empty()) lines.push_back(entry.label);
    };
    add();
    tray.connect(tray.ok());
    add();
    Json state = tray.ok();
    state["state"] = "paused";
    tray.say(state);
    add();
    state["state"] = "working";
    tray.say(state);
    add();
    tray.say(tray.attention({tray.problem("store")}));
    add();
    tray.lose(ErrorKind::denied);
    add();
    return lines;
  };
  const auto english = lines_of(Language::english), german = lines_of(Language::german);
  REQUIRE(english.size() == german.size());
  for (size_t i = 0; i < english.size(); ++i) CHECK(english[i] != german[i]);
}

TEST_CASE("tray model: the menu's numbers and order are the same in every state") {
  PlayedTray tray;
  const auto numbers = [&] {
    std::vector<int> out;
    for (const auto& entry : tray.view().menu) out.push_back(static_cast<int>(entry.item));
    return out;
  };
  const std::vector<int> expected{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(numbers() == expected);
  tray.connect(tray.ok());
  CHECK(numbers() == expected);
  Json state = tray.ok();
  state["state"] = "paused";
  tray.say(state);
  CHECK(numbers() == expected);
}

TEST_SUITE_END();
