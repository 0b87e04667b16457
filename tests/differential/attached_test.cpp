// Two databases of one application, attached to one connection and both followed: a transaction over both is exactly
// what SQLite says in each log, in every pair of journal modes.
//   TILLSYNC_DIFFERENTIAL_SECONDS   how long, instead of a few pairs
//   TILLSYNC_SCHEMA_SEED            one pair again, as a failure names it
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <set>
#include <string>

#include "capture/random_shop.h"
#include "capture/replica_checks.h"
#include "capture/session_oracle.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct AttachedTotals {
  uint64_t pairs = 0, transactions = 0, in_both = 0, in_none = 0, restarts = 0;
  size_t compared = 0;
};

std::string random_pragmas(SeededRandom& random) {
  static const char* journals[] = {"WAL", "WAL", "WAL", "DELETE", "TRUNCATE", "PERSIST"};
  return "PRAGMA page_size=" + std::to_string(512u << random.below(5)) +
         "; PRAGMA journal_mode=" + journals[random.below(std::size(journals))] + "; PRAGMA synchronous=OFF;";
}

// The same shop under names of its own, so that SQL finds its tables in the attached database.
std::string renamed(const std::string& sql) {
  static const std::set<std::string> names{"item",  "item_name", "item_audit", "receipt", "session",
                                           "stock", "audit",     "made",       "search",  "total"};
  std::string out, word;
  const auto end_word = [&] {
    out += word + (names.contains(word) ? "_b" : "");
    word.clear();
  };
  for (const char c : sql) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
      word += c;
      continue;
    }
    end_word();
    out += c;
  }
  end_word();
  return out;
}

class AttachedRun {
 public:
  AttachedRun(uint64_t seed, AttachedTotals& totals)
      : random_(seed),
        totals_(totals),
        pos_(seed, random_pragmas(random_)),
        stock_(pos_, "stock", 2, random_pragmas(random_)),
        sells_([this](const std::string& sql) { pos_.run(sql); }, random_),
        stores_([this](const std::string& sql) { pos_.run(renamed(sql)); }, random_),
        pos_oracle_(pos_),
        stock_oracle_(stock_, pos_.app, "stock") {}

  void go(int transactions) {
    INFO("schema seed " << random_.seed());
    sells_.create();
    RandomShop([this](const std::string& sql) { stock_.run(renamed(sql)); }, random_).create();
    pos_.run("ATTACH '" + stock_.path + "' AS stock; PRAGMA stock.synchronous=OFF");
    for (int i = 0; i < 10; i++) transaction();
    capture();
    for (Model* model : {&pos_model_, &stock_model_}) model->start();
    for (int i = 0; i < transactions; i++) {
      CAPTURE(i);
      one(i);
      if (random_.below(40) == 0) restart();
    }
    check_replica(pos_);
    check_replica(stock_);
    totals_.pairs++;
  }

 private:
  // Which of the two have a part in it that was committed.
  struct Took {
    bool pos = false, stock = false;
  };
  Took transaction() {
    Took took;
    pos_.run("BEGIN");
    const uint64_t who = random_.below(8);  // more often both
    for (uint64_t n = 2 + random_.below(5); n > 0; n--) {
      const bool pos = who == 0 || (who > 1 && random_.below(2));
      (pos ? sells_ : stores_).step();
      (pos ? took.pos : took.stock) = true;
    }
    if (random_.below(10) == 0) {
      pos_.run("SAVEPOINT s");
      sells_.step();
      stores_.step();
      pos_.run("ROLLBACK TO s; RELEASE s");
    }
    const bool committed = random_.below(15) > 0;
    pos_.run(committed ? "COMMIT" : "ROLLBACK");
    totals_.transactions++;
    return committed ? took : Took{};
  }

  void one(int i) {
    const TransactionNo pos_before = pos_.capturer->status().transaction;
    const TransactionNo stock_before = stock_.capturer->status().transaction;
    pos_oracle_.begin();
    stock_oracle_.begin();
    const Took took = transaction();
    capture();
    const TransactionNo in_pos = pos_.capturer->status().transaction - pos_before;
    const TransactionNo in_stock = stock_.capturer->status().transaction - stock_before;
    // A statement may have found nothing to change.
    CHECK(in_pos <= took.pos);
    CHECK(in_stock <= took.stock);
    totals_.in_both += in_pos && in_stock;
    totals_.in_none += !in_pos && !in_stock;
    totals_.compared += pos_oracle_.check() + stock_oracle_.check();
    pos_model_.follow();
    stock_model_.follow();
    // Everything is read for this; the changesets above were compared each time.
    if (i % 5) return;
    check_same(pos_model_.content(), pos_.live());
    check_same(stock_model_.content(), stock_.live());
  }

  // Whichever is looked at first.
  void capture() {
    const bool pos_first = random_.below(2) == 0;
    (pos_first ? pos_ : stock_).capture();
    (pos_first ? stock_ : pos_).capture();
  }

  // One agent for both.
  void restart() {
    stock_.capturer.reset();
    stock_.state.reset();
    pos_.restart();
    stock_.state = pos_.state;
    must(stock_.follow());
    totals_.restarts++;
    // Attached again: only then is each transaction one of the log.
    capture();
  }

  SeededRandom random_;
  AttachedTotals& totals_;
  Till pos_, stock_;
  RandomShop sells_, stores_;
  Model pos_model_{pos_}, stock_model_{stock_};
  SessionOracle pos_oracle_, stock_oracle_;
};

}  // namespace

TEST_SUITE_BEGIN("differential");

TEST_CASE("differential: transactions over two attached databases, both followed, are in each log as SQLite says") {
  SeededRandom seeds(SeededRandom::seed_of_this_run());
  const char* seconds = std::getenv("TILLSYNC_DIFFERENTIAL_SECONDS");
  const char* again = std::getenv("TILLSYNC_SCHEMA_SEED");
  const auto started = std::chrono::steady_clock::now();
  auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(); };
  AttachedTotals totals;
  do {
    const uint64_t seed = again ? std::strtoull(again, nullptr, 10) : seeds.next();
    AttachedRun(seed, totals).go(60);
  } while (!again && (seconds ? elapsed() < std::atof(seconds) : totals.pairs < 4));
  MESSAGE(totals.pairs << " pairs, " << totals.transactions << " transactions in " << elapsed() << " s, "
                       << totals.in_both << " logged in both, " << totals.in_none << " in neither; " << totals.compared
                       << " row changes compared with the session extension; the agent restarted " << totals.restarts
                       << " times");
  // Where that was not so, nothing would have been tried.
  CHECK(totals.in_both > totals.transactions / 5);
}

TEST_SUITE_END();
