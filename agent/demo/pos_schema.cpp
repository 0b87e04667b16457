#include "agent/demo/pos_schema.h"

#include <array>

#include "agent/demo/pos_dice.h"

namespace tillsync::pos {

namespace {

constexpr const char* kSchema = R"sql(
CREATE TABLE products(
  id INTEGER PRIMARY KEY, sku TEXT UNIQUE NOT NULL, name TEXT NOT NULL, category TEXT, price_cents INTEGER NOT NULL,
  tax_rate REAL NOT NULL, barcode TEXT, updated_at TEXT);
CREATE INDEX products_barcode ON products(barcode);
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT, phone TEXT, email TEXT, points INTEGER DEFAULT 0);
CREATE TABLE stock_levels(
  product_id INTEGER NOT NULL, location TEXT NOT NULL, qty INTEGER NOT NULL, updated_at TEXT,
  PRIMARY KEY(product_id, location));
CREATE TABLE shifts(
  id INTEGER PRIMARY KEY, cashier TEXT, opened_at TEXT, closed_at TEXT, sales INTEGER DEFAULT 0,
  total_cents INTEGER DEFAULT 0);
CREATE TABLE orders(
  id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT UNIQUE NOT NULL, shift_id INTEGER, customer_id INTEGER,
  cashier_id TEXT, created_at TEXT NOT NULL, status TEXT NOT NULL, subtotal_cents INTEGER, tax_cents INTEGER,
  total_cents INTEGER, note TEXT);
CREATE INDEX orders_created ON orders(created_at);
CREATE INDEX orders_customer ON orders(customer_id);
CREATE TABLE order_items(
  id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders(id),
  product_id INTEGER NOT NULL REFERENCES products(id), qty INTEGER NOT NULL, price_cents INTEGER NOT NULL,
  discount_cents INTEGER DEFAULT 0);
CREATE INDEX order_items_order ON order_items(order_id);
CREATE TABLE payments(
  id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders(id), method TEXT, amount_cents INTEGER,
  reference TEXT, paid_at TEXT, receipt BLOB);
CREATE INDEX payments_order ON payments(order_id);
CREATE TABLE stock_movements(
  id INTEGER PRIMARY KEY, product_id INTEGER, order_id INTEGER, delta INTEGER, reason TEXT, moved_at TEXT);
CREATE TABLE settings(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE sessions(token TEXT PRIMARY KEY, cashier TEXT, started_at TEXT, last_seen REAL);
CREATE TABLE audit(at TEXT, what);
CREATE TABLE sale_counter(id INTEGER PRIMARY KEY CHECK(id = 1), n INTEGER NOT NULL);
INSERT INTO sale_counter VALUES(1, 0);
INSERT INTO shifts VALUES(1, 'cashier-1', '2026-01-01T08:00:00Z', NULL, 0, 0);
INSERT INTO settings VALUES('shop', 'Corner shop'), ('currency', 'EUR'), ('tax', 0.19), ('receipt_no', 0), ('logo', x'89504e47');
)sql";

constexpr std::array kCategories{"Beverages", "Bakery", "Dairy",  "Produce",
                                 "Household", "Snacks", "Frozen", "Personal care"};
constexpr std::array kKinds{"Fresh", "Organic", "Classic", "Family", "Light", "Premium", "Daily", "Café"};
constexpr std::array kGoods{"Milk", "Bread", "Apple", "Coffee", "Soap", "Chips", "Pizza", "Juice", "Butter", "Tea"};

template <class Array>
const char* one_of(const Array& words, Dice& dice) {
  return words[static_cast<size_t>(dice.below(words.size()))];
}

Result<void> fill(sqlite3* connection, int products, uint64_t seed) {
  Dice dice(seed, 0);
  constexpr const char* kOpening = "2026-01-01T08:00:00Z";
  TILLSYNC_TRY(run(connection, kSchema));
  TILLSYNC_LET(auto product, Statement::prepare(connection, "INSERT INTO products VALUES(?,?,?,?,?,?,?,?)"));
  TILLSYNC_LET(auto stock, Statement::prepare(connection, "INSERT INTO stock_levels VALUES(?,?,?,?)"));
  for (int id = 1; id <= products; ++id) {
    const std::string name = std::string(one_of(kKinds, dice)) + " " + one_of(kGoods, dice) + " " +
                             std::to_string(dice.between(100, 999)) + " g";
    TILLSYNC_TRY(product(id, "SKU-" + std::to_string(100000 + id), name, one_of(kCategories, dice),
                         dice.between(50, 5049), dice.one_in(2) ? 0.19 : 0.07,
                         std::to_string(4000000000000 + dice.below(999999999)), kOpening));
    TILLSYNC_TRY(stock(id, "FLOOR", dice.between(100, 599), kOpening));
  }
  TILLSYNC_LET(auto customer, Statement::prepare(connection, "INSERT INTO customers VALUES(?,?,?,?,?)"));
  for (int id = 1; id <= kCustomers; ++id) {
    const std::string number = std::to_string(id);
    TILLSYNC_TRY(customer(id, "Customer " + number, "+49" + std::to_string(dice.below(10000000000)),
                          "c" + number + "@example.com", dice.below(500)));
  }
  return {};
}

}  // namespace

Result<void> make_shop(sqlite3* connection, int products, uint64_t seed) {
  TILLSYNC_TRY(run(connection, "BEGIN IMMEDIATE"));
  auto filled = fill(connection, products, seed);
  if (filled) filled = run(connection, "COMMIT");
  if (!filled) (void)run(connection, "ROLLBACK");
  return std::move(filled).with("make the shop");
}

}  // namespace tillsync::pos
