#include "agent/daemon/disk_ladder.h"

#include <doctest/doctest.h>

using namespace tillsync;

TEST_SUITE_BEGIN("agent");

TEST_CASE("disk ladder: down at once, up with a margin, one rung after the other") {
  DiskLadder ladder(800);
  CHECK(ladder.look(5000) == DiskRung::roomy);
  CHECK(ladder.look(1600) == DiskRung::roomy);
  CHECK(ladder.look(1599) == DiskRung::uploads_first);
  // Not back before there is an eighth more than it took.
  CHECK(ladder.look(1650) == DiskRung::uploads_first);
  CHECK(ladder.look(1699) == DiskRung::uploads_first);
  CHECK(ladder.look(1700) == DiskRung::roomy);
  CHECK(ladder.look(1199) == DiskRung::compact);
  CHECK(ladder.look(1299) == DiskRung::compact);
  CHECK(ladder.look(1300) == DiskRung::uploads_first);
  CHECK(ladder.look(899) == DiskRung::let_go);
  CHECK(ladder.look(0) == DiskRung::let_go);
  CHECK(ladder.look(999) == DiskRung::let_go);
  CHECK(ladder.look(1000) == DiskRung::compact);
  CHECK(ladder.look(100000) == DiskRung::roomy);
}

TEST_CASE("disk ladder: without a floor there is none") {
  DiskLadder ladder(0);
  CHECK(ladder.look(0) == DiskRung::roomy);
}

TEST_SUITE_END();
