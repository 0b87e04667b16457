// Random transactions over the kinds of table that are hard to follow: large WITHOUT ROWID rows with overflow in
// interior pages, updates of equal size, replaced keys, emptied tables.
#pragma once

#include <functional>

#include "capture/capture_fixture.h"

namespace tillsync::test {

class RandomShop {
 public:
  RandomShop(Till& till, SeededRandom& random)
      : run_([&](const std::string& sql) { till.run(sql); }), random_(random) {}
  // Whose statements are given to somebody else.
  RandomShop(std::function<void(const std::string& sql)> run, SeededRandom& random)
      : run_(std::move(run)), random_(random) {}

  void create() {
    run_(R"(
      CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, note BLOB);
      CREATE INDEX item_name ON item(name);
      CREATE TABLE receipt(number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB, total NUMERIC);
      CREATE TABLE session(token TEXT PRIMARY KEY, n INTEGER, data BLOB);
      CREATE TABLE stock(place TEXT, item INTEGER, qty INT, memo BLOB, PRIMARY KEY(place, item)) WITHOUT ROWID;
      CREATE TABLE audit(at, what);
      CREATE TABLE made(a INTEGER, b INTEGER, c AS (a+b) VIRTUAL, d AS (a*2) STORED, PRIMARY KEY(a)) ;
      CREATE VIRTUAL TABLE search USING fts5(body);
      CREATE TABLE total(k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID;
      CREATE TRIGGER item_audit AFTER UPDATE ON item BEGIN INSERT INTO audit VALUES(NEW.id, 'price'); END;
    )");
  }

  uint64_t below(uint64_t n) { return random_.below(n); }
  std::string blob() {
    static const uint64_t sizes[] = {0, 3, 20, 60, 200, 900, 1500, 4000};
    uint64_t n = sizes[below(8)];
    return "x'" + hex(n) + "'";
  }
  std::string hex(uint64_t n) {
    Bytes raw(n);
    random_.fill(raw);
    return to_hex(raw);
  }
  std::string key() { return "'k" + std::to_string(below(400)) + std::string(below(3) ? 0 : 300, 'x') + "'"; }
  std::string id() { return std::to_string(below(600)); }

  std::string statement() {
    switch (below(22)) {
      case 0:
        return "INSERT OR REPLACE INTO item(id, name, price, note) VALUES(" + id() + ", 'n" + id() + "', " +
               (below(2) ? "3" : "2.5") + ", " + blob() + ")";
      case 1: return "UPDATE item SET price=price+1 WHERE id=" + id();
      case 2: return "DELETE FROM item WHERE id BETWEEN " + id() + " AND " + id();
      case 3: return "INSERT INTO receipt(body, total) VALUES(" + blob() + ", " + id() + ")";
      case 4: return "INSERT OR REPLACE INTO session VALUES(" + key() + ", " + id() + ", " + blob() + ")";
      case 5: return "UPDATE OR IGNORE session SET token=" + key() + " WHERE token=" + key();
      case 6: return "DELETE FROM session WHERE n<" + std::to_string(below(60));
      case 7: return "INSERT OR REPLACE INTO stock VALUES(" + key() + ", " + id() + ", 1, " + blob() + ")";
      case 8:
        return "INSERT OR REPLACE INTO stock SELECT 'bulk" + id() + "', value, 2, zeroblob(" +
               std::to_string(below(700)) + ") FROM generate(" + std::to_string(below(80)) + ")";
      case 9: return "UPDATE stock SET qty=qty+1 WHERE item=" + id();
      case 10: return "UPDATE stock SET memo=randomblob(length(memo)) WHERE item%50=" + std::to_string(below(50));
      case 11: return "DELETE FROM stock WHERE item=" + id() + " OR place=" + key();
      case 12: return "INSERT INTO audit VALUES(" + id() + ", " + blob() + ")";
      case 13: return "DELETE FROM audit WHERE rowid%7=" + std::to_string(below(7));
      case 14: return "INSERT OR REPLACE INTO made(a, b) VALUES(" + id() + ", " + id() + ")";
      case 15: return "INSERT INTO search(body) VALUES('w" + id() + " w" + id() + "')";
      case 16: return "DELETE FROM search WHERE rowid=" + id();
      case 17: return "INSERT OR REPLACE INTO total VALUES(" + key() + ", " + blob() + ")";
      case 18: return "UPDATE receipt SET body=randomblob(length(body)) WHERE number%20=" + std::to_string(below(20));
      case 19: return below(12) ? "SELECT 1" : "DELETE FROM " + std::string(below(2) ? "stock" : "receipt");
      case 20: return "UPDATE total SET v=randomblob(length(v)) WHERE k>" + key() + " AND typeof(v)='blob'";
      default:
        return "INSERT INTO item(name, price, note) SELECT 'bulk', value, zeroblob(" + std::to_string(below(300)) +
               ") FROM generate(" + std::to_string(below(60)) + ")";
    }
  }

  // One transaction, sometimes with a part that is rolled back, sometimes whole for nothing.
  void transaction() {
    run_("BEGIN");
    for (uint64_t n = 1 + below(6); n > 0; n--) step();
    if (below(10) == 0) {
      run_("SAVEPOINT s");
      step();
      run_("ROLLBACK TO s; RELEASE s");
    }
    run_(below(30) ? "COMMIT" : "ROLLBACK");
  }

  // One of its statements.
  void step() {
    auto sql = statement();
    // A list of numbers without the series extension.
    auto at = sql.find("generate(");
    if (at != std::string::npos) {
      auto n = sql.substr(at + 9, sql.find(')', at) - at - 9);
      sql = "WITH RECURSIVE g(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM g WHERE value<" + n + ") " +
            sql.substr(0, at) + "g" + sql.substr(sql.find(')', at) + 1);
    }
    run_(sql);
  }

 private:
  std::function<void(const std::string& sql)> run_;
  SeededRandom& random_;
};

}  // namespace tillsync::test
