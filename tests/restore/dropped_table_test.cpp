// A table that is dropped and made again under its name.
#include "actionlog/log_verifier.h"
#include "restore/restore_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

TEST_CASE("restore: an empty table that was dropped and made again is one of those the log counts") {
  RestoreWorld world;
  world.run("CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE tmp(x)");
  world.remember();
  world.snapshot();
  world.sell("DROP TABLE tmp");
  world.sell("CREATE TABLE tmp(x)");
  world.snapshot(SnapshotType::incremental);
  TransactionNo sale = world.sell("INSERT INTO a(v) VALUES('after')");
  world.seal();
  world.check_moment(sale);
  auto verdict = must(verify_log(world.store, world.lineage, {{world.last->sequence, world.last->tables}}, 1));
  CHECK(verdict.ok());
  CHECK(verdict.segments.back().proven);
}

TEST_SUITE_END();
