// A database beyond 1 GiB, real processes: the page that holds SQLite's lock bytes is no page of the database, neither
// in a snapshot nor in what is restored.
#include "integration/store_side.h"
#include "support/lock_byte_database.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("integration");

TEST_CASE("rows on both sides of the page that holds the lock bytes: captured, in a snapshot, restored") {
  World world;
  constexpr uint32_t kPageSize = 65536;
  make_lock_byte_database(world.db, kPageSize);
  world.start_agent();
  world.back_up("full");
  auto app = must(Connection::open(world.db, SQLITE_OPEN_READWRITE));
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

TEST_SUITE_END();
