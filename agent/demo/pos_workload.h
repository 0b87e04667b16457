// A till at work: makes a point-of-sale database and sells.
//
// Purpose: the application that `tillsync demo` and the tests follow. Each sale is one transaction of 6 to 20 row
// changes over ordinary tables, a composite key, AUTOINCREMENT, a WITHOUT ROWID table, a TEXT key, a table without a
// key, BLOBs with and without overflow pages, NULLs, refunds, deletes, REPLACE, and now and then a sale that is rolled
// back. sale_counter(id=1, n) holds the number of the last sale and changes in the same transaction. A sale depends on
// the seed and its number only, so that two runs with one seed write equal rows. Errors: those of pos_sqlite.h;
// transient means that somebody held a lock for longer than the busy time: nothing of the sale was written, call again.
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace tillsync {

struct PosOptions {
  std::string path;
  std::string journal = "wal";         // wal or delete
  std::string synchronous = "NORMAL";  // OFF, NORMAL, FULL
  int page_size = 4096;                // of a database that is made
  int autocheckpoint = 1000;           // frames after which a commit checkpoints; 0: never
  bool shared = false;                 // other tills sell into this database at the same time
  int products = 1000;
  bool image_receipts = true;  // one receipt in 40 is an image of 5 to 14 kB; otherwise all have 48 bytes
  uint64_t seed = 1;
  std::chrono::milliseconds busy_time{5000};
};

struct Sale {
  int64_t number = 0;    // what sale_counter says from this transaction on
  int64_t order_id = 0;  // orders.id
  std::string uuid;      // orders.uuid
};

class PosWorkload {
 public:
  // Opens the database; makes and fills it when it has no orders table. Goes on after the last sale that is in it.
  static Result<PosWorkload> open(const PosOptions& options);
  PosWorkload(PosWorkload&&) noexcept;
  PosWorkload& operator=(PosWorkload&&) noexcept;
  ~PosWorkload();

  Result<Sale> sell_one();
  // A page-exact copy as of now, made through a second connection into a new file that appears under `path` when whole.
  // Exact also where VACUUM INTO is not: the rowids of a table without a key.
  Result<void> copy_to(const std::string& path) const;
  int64_t last_sale() const;
  uint64_t busy_waits() const;  // how often a lock of somebody else made this connection sleep

 private:
  struct Shop;
  explicit PosWorkload(std::unique_ptr<Shop> shop);
  std::unique_ptr<Shop> shop_;
};

}  // namespace tillsync
