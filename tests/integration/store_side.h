// What an agent sent to its store, read in this process: the log of a shop sale by sale, and restores out of it.
#pragma once

#include <doctest/doctest.h>

#include <map>

#include "actionlog/log_reader.h"
#include "agent/cli/compare_databases.h"
#include "agent/keys/reader_keys.h"
#include "dbfile/record.h"
#include "integration/world.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "restore/staging.h"
#include "sqlite/file_vfs.h"
#include "store/open_store.h"

namespace tillsync::test {

// ./dev soak asks for the full numbers; ctest runs the same with fewer sales, because sanitizers make the agent ten
// times slower than the shop it follows.
inline bool soak() { return std::getenv("TILLSYNC_SOAK") != nullptr; }

// The store, read in this process.
struct StoreSide {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  FileVfs vfs{files, clock, random};
  std::unique_ptr<ObjectStore> store;
  Lineage lineage;
  std::string staging;

  explicit StoreSide(World& world) {
    store = must(make_store({.url = "file://" + world.store}, files, clock, random));
    const Uuid terminal = world.terminal();
    const Config config = must(load_config(world.config));
    lineage = {terminal, "pos", 1, must(keys_for_reading(*store, files, config, "", terminal))};
    staging = world.folder / "staged.db";
  }

  RestoreOutcome restore(const RestoreMoment& moment) { return carry_out(must(plan_restore(*store, lineage, moment))); }
  RestoreOutcome carry_out(const RestorePlan& plan) {
    Staging staged(*store, files, vfs.name(), staging);
    must(staged.fill(plan, nullptr));
    must(staged.replay(plan, false, nullptr));
    auto outcome = must(staged.prove(nullptr));
    must(staged.seal());
    return outcome;
  }
};

struct LogFacts {
  Sequence last_sequence = 0;
  TransactionNo last_transaction = 0;
  uint64_t single = 0, catch_ups = 0;
  int64_t first_order = 0, last_order = 0;  // the sales that were logged, every one of them once
  int64_t last_sale = 0;
  std::map<int64_t, TransactionNo> transaction_of_sale;  // of those that were captured by themselves
};

// Every segment in order: sequences and transactions without a gap, and which sale each transaction was.
inline LogFacts read_log(StoreSide& side) {
  LogFacts facts;
  LogReader reader(*side.store, side.lineage);
  auto all = must(reader.list());
  must(LogReader::check_whole(all));
  int64_t last_sale = 0;
  for (auto& object : all) {
    Segment segment = must(reader.read(object));
    for (auto& t : segment.transactions) {
      if (t.number != facts.last_transaction) CHECK(t.number == facts.last_transaction + 1);
      facts.last_transaction = t.number;
    }
    std::map<uint32_t, std::vector<int64_t>> sales;
    for (auto& a : segment.actions) {
      REQUIRE(a.sequence == facts.last_sequence + 1);
      facts.last_sequence = a.sequence;
      if (segment.tables[a.table_index] == "orders" && a.kind == ActionKind::create) {
        // Also inside a catch-up, where the counter shows only the last of several.
        if (facts.last_order) REQUIRE(a.rowid.value() == facts.last_order + 1);
        facts.last_order = a.rowid.value();
        if (!facts.first_order) facts.first_order = facts.last_order;
      }
      if (segment.tables[a.table_index] != "sale_counter" || a.after.empty()) continue;
      auto values = decode_record(a.after);
      REQUIRE(values);
      sales[a.transaction_index].push_back(values->back().integer);
    }
    for (auto& [index, numbers] : sales) {
      const SegmentTransaction& t = segment.transactions[index];
      REQUIRE(numbers.size() == 1);
      if (t.flags & kCatchUp) {
        CHECK(numbers[0] > last_sale);
        facts.catch_ups++;
      } else {
        // One transaction of the application is one of the log, in commit order.
        // (the first one in the log is whatever came after the baseline).
        if (last_sale) CHECK(numbers[0] == last_sale + 1);
        facts.single++;
        facts.transaction_of_sale[numbers[0]] = t.number;
      }
      last_sale = numbers[0];
    }
  }
  facts.last_sale = last_sale;
  return facts;
}

inline void check_equal_to(const std::string& expected, const std::string& found) {
  auto compared = must(compare_databases(expected, found));
  for (auto& table : compared.tables) {
    INFO(table.name << ": " << table.expected_rows << " rows expected, " << table.found_rows << " found");
    CHECK(table.is_equal());
  }
  CHECK(compared.is_equal());
}

}  // namespace tillsync::test
