#include "agent/demo/pos_workload.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <thread>
#include <vector>

#include "agent/demo/pos_dice.h"
#include "agent/demo/pos_schema.h"
#include "agent/demo/pos_sqlite.h"

namespace tillsync {

using pos::Dice;
using pos::run;
using pos::Statement;

namespace {

// The shop has a clock of its own, seven seconds from sale to sale, so that equal seeds write equal rows.
std::string shop_time(int64_t sale) {
  const int64_t seconds = sale * 7;
  const int64_t days = seconds / 86400;
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", static_cast<int>(2026 + days / 336),
                static_cast<int>(1 + days / 28 % 12), static_cast<int>(1 + days % 28),
                static_cast<int>(seconds / 3600 % 24), static_cast<int>(seconds / 60 % 60),
                static_cast<int>(seconds % 60));
  return text;
}

struct Line {
  int64_t product = 0, quantity = 0, price_cents = 0;
};

constexpr int64_t kSalesPerShift = 150;

}  // namespace

struct PosWorkload::Shop {
  PosOptions options;
  uint64_t busy_waits = 0;
  pos::Handle connection;
  Statement order, item, movement, payment, stock, shift, points, refund, forget, counter, session, end_session,
      setting, audit, audit_forget, close_shift, open_shift, last_counted, newest_shift;
  int64_t last_sale = 0;
  int64_t shift_id = 1;

  Result<void> open();
  Result<void> prepare();
  Result<void> look_up();
  Result<void> declined_sale(int64_t number, Dice& dice);
  Result<Sale> write_sale(int64_t number, Dice& dice);
  Result<void> write_lines(int64_t order_id, const std::vector<Line>& lines, const std::string& now, Dice& dice);
  Result<void> write_housekeeping(int64_t number, int64_t order_id, const std::string& now, Dice& dice);
};

Result<void> PosWorkload::Shop::open() {
  TILLSYNC_LET(connection, pos::open_handle(options.path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  // SQLite's own waiting times, and a count of them.
  sqlite3_busy_handler(
      connection.get(),
      [](void* argument, int count) {
        constexpr int kDelaysMs[] = {1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100};
        auto& shop = *static_cast<Shop*>(argument);
        int64_t waited = 0;
        for (int i = 0; i < count; ++i) waited += kDelaysMs[std::min(i, 11)];
        if (waited >= shop.options.busy_time.count()) return 0;
        ++shop.busy_waits;
        std::this_thread::sleep_for(std::chrono::milliseconds(kDelaysMs[std::min(count, 11)]));
        return 1;
      },
      this);
  TILLSYNC_TRY(run(connection.get(), "PRAGMA page_size=" + std::to_string(options.page_size)));
  TILLSYNC_TRY(run(connection.get(), "PRAGMA journal_mode=" + options.journal));
  TILLSYNC_TRY(run(connection.get(), "PRAGMA wal_autocheckpoint=" + std::to_string(options.autocheckpoint)));
  TILLSYNC_TRY(run(connection.get(), "PRAGMA synchronous=" + options.synchronous));
  TILLSYNC_LET(auto look,
               Statement::prepare(connection.get(), "SELECT count(*) FROM sqlite_schema WHERE name='orders'"));
  TILLSYNC_LET(const int64_t there, look.integer());
  if (there == 0) TILLSYNC_TRY(pos::make_shop(connection.get(), options.products, options.seed));
  return prepare();
}

Result<void> PosWorkload::Shop::prepare() {
  const std::pair<Statement*, const char*> all[] = {
      {&order,
       "INSERT INTO "
       "orders(uuid,shift_id,customer_id,cashier_id,created_at,status,subtotal_cents,tax_cents,total_cents,note)"
       " VALUES(?,?,?,?,?,'PAID',?,?,?,?)"},
      {&item, "INSERT INTO order_items(order_id,product_id,qty,price_cents,discount_cents) VALUES(?,?,?,?,?)"},
      {&movement, "INSERT INTO stock_movements(product_id,order_id,delta,reason,moved_at) VALUES(?,?,?,'SALE',?)"},
      {&payment, "INSERT INTO payments(order_id,method,amount_cents,reference,paid_at,receipt) VALUES(?,?,?,?,?,?)"},
      {&stock, "UPDATE stock_levels SET qty=qty-?, updated_at=? WHERE product_id=? AND location='FLOOR'"},
      {&shift, "UPDATE shifts SET sales=sales+1, total_cents=total_cents+? WHERE id=?"},
      {&points, "UPDATE customers SET points=points+? WHERE id=?"},
      {&refund, "UPDATE orders SET status='REFUNDED', note=NULL WHERE id=?"},
      {&forget, "DELETE FROM stock_movements WHERE id=?"},
      {&counter, "UPDATE sale_counter SET n=? WHERE id=1"},
      {&session, "INSERT OR REPLACE INTO sessions VALUES(?,?,?,?)"},
      {&end_session, "DELETE FROM sessions WHERE token=?"},
      {&setting, "INSERT INTO settings VALUES('receipt_no',?) ON CONFLICT(key) DO UPDATE SET value=excluded.value"},
      {&audit, "INSERT INTO audit VALUES(?,?)"},
      {&audit_forget, "DELETE FROM audit WHERE rowid=(SELECT min(rowid) FROM audit)"},
      {&close_shift, "UPDATE shifts SET closed_at=? WHERE id=?"},
      {&open_shift, "INSERT INTO shifts VALUES(?,?,?,NULL,0,0)"},
      {&last_counted, "SELECT n FROM sale_counter"},
      {&newest_shift, "SELECT max(id) FROM shifts"},
  };
  for (auto& [statement, sql] : all) {
    TILLSYNC_LET(*statement, Statement::prepare(connection.get(), sql));
  }
  TILLSYNC_TRY(look_up());
  TILLSYNC_LET(auto goods, Statement::prepare(connection.get(), "SELECT count(*) FROM products"));
  TILLSYNC_LET(const int64_t count, goods.integer());
  if (count < 1) return Error{ErrorKind::usage, 0, options.path + ": a shop without products can't sell"};
  options.products = static_cast<int>(count);
  return {};
}

// Where the sales are: as of the last look, or of the transaction that is open.
Result<void> PosWorkload::Shop::look_up() {
  TILLSYNC_LET(last_sale, last_counted.integer());
  TILLSYNC_LET(shift_id, newest_shift.integer());
  return {};
}

// The card is refused after everything was entered: whoever follows this database must never see the rows.
Result<void> PosWorkload::Shop::declined_sale(int64_t number, Dice& dice) {
  TILLSYNC_TRY(run(connection.get(), "BEGIN IMMEDIATE"));
  auto written = order(dice.uuid(), shift_id, nullptr, "nobody", shop_time(number), 1, 1, 1, "declined");
  auto undone = run(connection.get(), "ROLLBACK");
  if (!written) return written;
  return undone;
}

Result<Sale> PosWorkload::Shop::write_sale(int64_t number, Dice& dice) {
  const std::string now = shop_time(number);
  if (number % kSalesPerShift == 0) {
    TILLSYNC_TRY(close_shift(now, shift_id));
    TILLSYNC_TRY(open_shift(shift_id + 1, "cashier-" + std::to_string(1 + shift_id % 4), now));
  }
  const int64_t in_shift = shift_id + (number % kSalesPerShift == 0 ? 1 : 0);

  std::vector<Line> lines(static_cast<size_t>(dice.between(1, 5)));
  int64_t total = 0;
  for (auto& line : lines) {
    // The smaller of two throws: some goods sell far more often, as in a shop.
    const auto products = static_cast<uint64_t>(options.products);
    line = {1 + std::min(dice.below(products), dice.below(products)), dice.between(1, 3), dice.between(50, 5049)};
    total += line.quantity * line.price_cents;
  }
  const int64_t customer = dice.one_in(3) ? dice.between(1, pos::kCustomers) : 0;
  const std::string cashier = "cashier-" + std::to_string(1 + in_shift % 4);
  const char* note = dice.one_in(20) ? "gift wrap, naïve ☕" : "";
  const int64_t tax = total * 19 / 119;
  const std::string uuid = dice.uuid();
  if (customer != 0)
    TILLSYNC_TRY(order(uuid, in_shift, customer, cashier, now, total - tax, tax, total, note));
  else
    TILLSYNC_TRY(order(uuid, in_shift, nullptr, cashier, now, total - tax, tax, total, note));
  const int64_t order_id = sqlite3_last_insert_rowid(connection.get());

  TILLSYNC_TRY(write_lines(order_id, lines, now, dice));
  // An image does not fit in its page.
  const bool is_image = dice.one_in(40) && options.image_receipts;
  const size_t receipt_size = is_image ? static_cast<size_t>(dice.between(5000, 14000)) : 48;
  TILLSYNC_TRY(payment(order_id, dice.one_in(2) ? "CARD" : "CASH", total, dice.hex(6), now, dice.blob(receipt_size)));
  TILLSYNC_TRY(shift(total, in_shift));
  if (customer != 0) TILLSYNC_TRY(points(total / 100, customer));
  TILLSYNC_TRY(write_housekeeping(number, order_id, now, dice));
  TILLSYNC_TRY(counter(number));
  return Sale{number, order_id, uuid};
}

Result<void> PosWorkload::Shop::write_lines(int64_t order_id, const std::vector<Line>& lines, const std::string& now,
                                            Dice& dice) {
  for (const auto& line : lines) {
    TILLSYNC_TRY(item(order_id, line.product, line.quantity, line.price_cents, dice.one_in(10) ? 50 : 0));
    TILLSYNC_TRY(movement(line.product, order_id, -line.quantity, now));
    TILLSYNC_TRY(stock(line.quantity, now, line.product));
  }
  return {};
}

Result<void> PosWorkload::Shop::write_housekeeping(int64_t number, int64_t order_id, const std::string& now,
                                                   Dice& dice) {
  TILLSYNC_TRY(setting(number));
  if (dice.one_in(4)) {
    const std::string token = "till-" + std::to_string(dice.between(1, 12));
    TILLSYNC_TRY(session(token, "cashier-" + std::to_string(dice.between(1, 4)), now, static_cast<double>(number) / 3));
  }
  if (dice.one_in(30)) TILLSYNC_TRY(end_session("till-" + std::to_string(dice.between(1, 12))));
  if (dice.one_in(5)) TILLSYNC_TRY(audit(now, "drawer opened"));
  if (dice.one_in(25)) TILLSYNC_TRY(audit(now, number));
  if (dice.one_in(40)) TILLSYNC_TRY(audit_forget());
  if (order_id > 10 && dice.one_in(50)) TILLSYNC_TRY(refund(dice.between(1, order_id - 1)));
  if (order_id > 10 && dice.one_in(60)) TILLSYNC_TRY(forget(dice.between(1, order_id - 1)));
  return {};
}

PosWorkload::PosWorkload(std::unique_ptr<Shop> shop) : shop_(std::move(shop)) {}
PosWorkload::PosWorkload(PosWorkload&&) noexcept = default;
PosWorkload& PosWorkload::operator=(PosWorkload&&) noexcept = default;
PosWorkload::~PosWorkload() = default;
int64_t PosWorkload::last_sale() const { return shop_->last_sale; }
uint64_t PosWorkload::busy_waits() const { return shop_->busy_waits; }

Result<PosWorkload> PosWorkload::open(const PosOptions& options) {
  auto shop = std::make_unique<Shop>();
  shop->options = options;
  TILLSYNC_TRY(shop->open());
  return PosWorkload(std::move(shop));
}

Result<Sale> PosWorkload::sell_one() {
  Shop& shop = *shop_;
  int64_t number = shop.last_sale + 1;
  Dice dice(shop.options.seed, static_cast<uint64_t>(number));
  if (dice.one_in(60)) TILLSYNC_TRY(shop.declined_sale(number, dice));
  TILLSYNC_TRY(run(shop.connection.get(), "BEGIN IMMEDIATE"));
  Result<void> looked = shop.options.shared ? shop.look_up() : Result<void>();
  if (looked && shop.options.shared) {
    number = shop.last_sale + 1;
    dice = Dice(shop.options.seed, static_cast<uint64_t>(number));
  }
  auto sale = looked ? shop.write_sale(number, dice) : Result<Sale>(looked.error());
  Result<void> committed = sale ? run(shop.connection.get(), "COMMIT") : Result<void>(sale.error());
  if (!committed) {
    (void)run(shop.connection.get(), "ROLLBACK");
    return std::move(committed).error().with("sale " + std::to_string(number));
  }
  shop.last_sale = number;
  if (number % kSalesPerShift == 0) ++shop.shift_id;
  return sale;
}

Result<void> PosWorkload::copy_to(const std::string& path) const {
  const std::string unfinished = path + ".tmp";
  {
    TILLSYNC_LET(auto from, pos::open_handle(shop_->options.path, SQLITE_OPEN_READWRITE));
    TILLSYNC_LET(auto to, pos::open_handle(unfinished, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    sqlite3_busy_timeout(from.get(), 5000);
    sqlite3_db_config(from.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_backup* backup = sqlite3_backup_init(to.get(), "main", from.get(), "main");
    if (backup == nullptr) return pos::failure(to.get(), sqlite3_errcode(to.get()), "copy to " + path);
    const int code = sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    if (code != SQLITE_DONE) return pos::failure(to.get(), code, "copy to " + path);
  }
  if (std::rename(unfinished.c_str(), path.c_str()) != 0) return Error{ErrorKind::internal, errno, "rename to " + path};
  return {};
}

}  // namespace tillsync
