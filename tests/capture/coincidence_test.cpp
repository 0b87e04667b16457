// Which transactions of two databases are named as one: those whose commits overlap in time, where only one fits.
#include "actionlog/coincidence.h"
#include "capture/capture_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct TwoDatabases : Till {
  TwoDatabases() {
    must(
        state->lease()->execute("INSERT INTO databases(id, name, path, created_at) VALUES(2, 'stock', 's.db', 0), "
                                "(3, 'audit', 'a.db', 0)"));
  }
  void add(int64_t database, TransactionNo number, std::optional<CommitSpan> span) {
    auto db = state->lease();
    auto insert = must(db->prepare("INSERT INTO transactions VALUES(?, 1, 1, 0, 1, 0, 1, ?, ?, NULL)"));
    insert.bind(1, scoped_id(database, number));
    if (span) insert.bind(2, span->written_at).bind(3, span->seen_at);
    must(insert.run());
  }
  std::vector<Coincident> of(int64_t database, TransactionNo number) {
    auto db = state->lease();
    return must(coincident_with(*db, database, number));
  }
};

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE_FIXTURE(TwoDatabases,
                  "coincidence: each is named by the other when each was written before the other was seen") {
  add(1, 7, CommitSpan{1000, 1003});
  add(2, 4, CommitSpan{1002, 1009});
  add(3, 1, CommitSpan{1010, 1011});
  CHECK(of(1, 7) == std::vector<Coincident>{{"stock", 4}});
  CHECK(of(2, 4) == std::vector<Coincident>{{"pos", 7}});
  CHECK(of(3, 1).empty());
}

TEST_CASE_FIXTURE(TwoDatabases, "coincidence: over three databases") {
  add(1, 1, CommitSpan{1000, 1003});
  add(2, 1, CommitSpan{1000, 1004});
  add(3, 1, CommitSpan{1001, 1002});
  CHECK(of(2, 1) == std::vector<Coincident>{{"audit", 1}, {"pos", 1}});
}

TEST_CASE_FIXTURE(TwoDatabases, "coincidence: where two fit, on either side, none is named") {
  add(1, 1, CommitSpan{1000, 1010});
  add(2, 1, CommitSpan{1001, 1002});
  add(2, 2, CommitSpan{1005, 1006});
  CHECK(of(1, 1).empty());
  CHECK(of(2, 1).empty());
  CHECK(of(2, 2).empty());
}

TEST_CASE_FIXTURE(TwoDatabases, "coincidence: nothing is said of a transaction whose time is not known, or of itself") {
  add(1, 1, std::nullopt);
  add(1, 2, CommitSpan{1000, 1010});
  add(1, 3, CommitSpan{1005, 1010});
  add(2, 1, std::nullopt);
  CHECK(of(1, 1).empty());
  CHECK(of(1, 2).empty());
  CHECK(of(2, 1).empty());
  CHECK(of(2, 99).empty());
}

TEST_CASE_FIXTURE(TwoDatabases, "coincidence: the longest span still counts") {
  add(1, 1, CommitSpan{5000, 5000});
  add(2, 1, CommitSpan{5000, 5000 + kCommitSpanMax});
  CHECK(of(1, 1) == std::vector<Coincident>{{"stock", 1}});
  CHECK(of(2, 1) == std::vector<Coincident>{{"pos", 1}});
}

TEST_SUITE_END();
