// The real tillsync-tray and the real tillsyncd, a till that sells, and a desktop that is played.
#include "integration/world.h"
#include "tests/tray/tray_world.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("tray");

TEST_CASE("tray with the real agent: backs up, pauses, resumes, and sees it go and come back") {
  TILLSYNC_NEEDS_SESSION_BUS();
  World till;
  auto app = till.application();
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY)"));
  till.start_agent();
  TrayWorld desk;
  desk.tray = desk.run({"--config", till.config}, desk.log);
  desk.until("the tray registers", [&] { return !desk.panel->registered.empty(); });
  const auto shows = [&](const std::string& text) {
    desk.until("the tray says " + text + ", not " + desk.panel->line(),
               [&] { return contains(desk.panel->line(), text); });
  };
  const auto can = [&](MenuItem item) {
    desk.until("an entry can be chosen", [&] {
      const auto entry = desk.panel->menu()[id_of(item)];
      return entry.enabled && entry.visible;
    });
  };

  must(app.execute("INSERT INTO sale DEFAULT VALUES"));
  can(MenuItem::back_up_now);
  desk.panel->click(id_of(MenuItem::back_up_now));
  const auto done = desk.notified("Backup done");
  CHECK(contains(done.body, "is in the store"));
  shows("Last backup just now, all sales safe");
  const Json snapshots = till.call("snapshots");
  REQUIRE(snapshots.is_array());
  CHECK(snapshots.size() >= 1);

  can(MenuItem::pause);
  desk.panel->click_in_group(id_of(MenuItem::pause));
  desk.notified("tillsync pauses");
  shows("Paused until ");
  CHECK(till.call("status")["paused"].is_object());
  const Json captured = till.database()["sequence"];
  must(app.execute("INSERT INTO sale DEFAULT VALUES"));
  till.stop_agent();
  shows("is not running");
  till.start_agent();
  shows("Paused until ");
  can(MenuItem::resume);
  desk.panel->click(id_of(MenuItem::resume));
  desk.notified("tillsync goes on");
  shows("all sales safe");
  CHECK(till.call("status")["paused"].is_null());
  desk.until("the sale of the pause is captured", [&] { return till.database()["sequence"] > captured; });

  till.kill_agent();
  shows("is not running");
  till.start_agent();
  shows("all sales safe");
}

TEST_SUITE_END();
