#include "capture/pairing_spill.h"

namespace tillsync {

namespace {
constexpr int kStepsBetweenLooks = 1000;  // of SQLite's virtual machine
}

PairingSpill::~PairingSpill() {
  db_.close();
  (void)place_.files->remove(place_.path).has_value();
}

Result<std::unique_ptr<PairingSpill>> PairingSpill::create(const Place& place) {
  // A killed process leaves its own behind.
  (void)place.files->remove(place.path).has_value();
  std::unique_ptr<PairingSpill> spill(new PairingSpill(place));
  TILLSYNC_LET(spill->db_, Connection::open(place.path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, place.vfs));
  // To pair a million rows takes seconds in which no row comes out.
  auto is_told = [](void* pulse) {
    static_cast<WorkPulse*>(pulse)->beat();
    return static_cast<WorkPulse*>(pulse)->is_stopped() ? 1 : 0;
  };
  if (place.pulse) sqlite3_progress_handler(spill->db_.handle(), kStepsBetweenLooks, is_told, place.pulse);
  // One transaction that never ends: nothing here is worth a sync.
  TILLSYNC_TRY(spill->db_.execute(
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2048; BEGIN;"
      "CREATE TABLE removed(row INTEGER PRIMARY KEY, key BLOB NOT NULL, record BLOB);"
      "CREATE TABLE created(row INTEGER PRIMARY KEY, key BLOB NOT NULL, record BLOB);"
      "CREATE INDEX removed_key ON removed(key); CREATE INDEX created_key ON created(key)"));
  return spill;
}

Result<void> PairingSpill::add(Side side, ByteView key, int64_t rowid, ByteView record) {
  TILLSYNC_LET(auto insert, side == Side::removed ? db_.cached("INSERT INTO removed(row, key, record) VALUES(?,?,?)")
                                                  : db_.cached("INSERT INTO created(row, key, record) VALUES(?,?,?)"));
  return insert->bind(1, rowid).bind_static(2, key).bind_static(3, record).run();
}

Result<void> PairingSpill::each_removed(const std::function<Result<void>(const Row&)>& visit) {
  TILLSYNC_LET(auto rows, db_.prepare("SELECT key, row, record FROM removed AS r WHERE NOT EXISTS (SELECT 1 FROM "
                                      "created WHERE key=r.key) ORDER BY row"));
  while (true) {
    TILLSYNC_LET(bool row, rows.step());
    if (!row) return {};
    TILLSYNC_TRY(visit({rows.blob(0), rows.blob(2), rows.integer(1)}));
  }
}

Result<void> PairingSpill::each_created(const std::function<Result<void>(const Row&, const Row*)>& visit) {
  TILLSYNC_LET(auto rows, db_.prepare("SELECT c.key, c.row, c.record, r.row, r.record FROM created AS c LEFT JOIN "
                                      "removed AS r ON r.key=c.key ORDER BY c.row"));
  while (true) {
    TILLSYNC_LET(bool row, rows.step());
    if (!row) return {};
    Row created{rows.blob(0), rows.blob(2), rows.integer(1)};
    Row removed{rows.blob(0), rows.blob(4), rows.integer(3)};
    TILLSYNC_TRY(visit(created, rows.is_null(3) ? nullptr : &removed));
  }
}

}  // namespace tillsync
