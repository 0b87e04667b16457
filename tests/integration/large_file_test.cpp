// A database beyond 1 GiB, and a transaction that no memory of ours could hold, real processes.
#include <cstdlib>

#include "integration/store_side.h"
#include "support/lock_byte_database.h"
#include "support/process_figures.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("integration");

// The page that holds SQLite's lock bytes is no page of the database, neither in a snapshot nor in what is restored.
TEST_CASE("rows on both sides of the page that holds the lock bytes: captured, in a snapshot, restored") {
  World world;
  constexpr uint32_t kPageSize = 65536;
  make_lock_byte_database(world.db, kPageSize);
  world.start_agent();
  world.back_up("full");
  auto app = world.application();
  must(app.execute("PRAGMA busy_timeout = 5000; PRAGMA synchronous = OFF"));
  auto change = [&](int round) {
    std::string n = std::to_string(round);
    must(app.execute("UPDATE low SET v='round " + n + "' WHERE id%3=0; UPDATE high SET v='round " + n +
                     "' WHERE id%5=" + n + "; DELETE FROM high WHERE id%7=" + n));
  };
  change(1);
  world.back_up("incremental");
  change(2);
  world.flush();
  StoreSide side(world);
  auto outcome = side.restore({});
  CHECK(outcome.proven);
  check_equal_to(world.db, side.staging);
  CHECK(std::filesystem::file_size(side.staging) > kLockByte + kPageSize);
  auto restored = must(Connection::open(side.staging, SQLITE_OPEN_READONLY));
  CHECK(must(restored.query_text("PRAGMA integrity_check")) == "ok");
  world.stop_agent();
}

TEST_CASE("a transaction of a million rows: captured within the memory a small one takes, and restored") {
  const int64_t rows = soak() ? 1000000 : 250000;
  // What a sanitizer keeps of freed memory is not the agent's.
  const char* given = std::getenv("ASAN_OPTIONS");
  REQUIRE(::setenv("ASAN_OPTIONS", (std::string(given ? given : "") + ":quarantine_size_mb=1").c_str(), 1) == 0);
  World world;
  auto app = world.application();
  must(
      app.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA busy_timeout=5000;"
                  "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"));
  world.start_agent();
  world.back_up("full");
  auto insert = [&](int64_t count) {
    must(app.execute("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<" + std::to_string(count) +
                     ") INSERT INTO t(v) SELECT hex(randomblob(100)) FROM g"));
    world.flush();
    return memory_kib(world.agent.pid(), "VmHWM") / 1024;
  };
  const double before = insert(10000);
  const auto transaction = world.database()["transaction"].get<int64_t>();
  const double after = insert(rows);
  CHECK(world.database()["transaction"] == transaction + 1);
  CHECK(world.database()["sequence"] == rows + 10000);
  // The rows alone are 200 MB, or 50.
  CAPTURE(before);
  CHECK(after < before + (soak() ? 60 : 30));
  StoreSide side(world);
  CHECK(side.restore({}).proven);
  check_equal_to(world.db, side.staging);
  world.stop_agent();
}

TEST_SUITE_END();
