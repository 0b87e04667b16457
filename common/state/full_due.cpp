#include "state/full_due.h"

namespace tillsync {

namespace {
std::string setting_of(int64_t database) { return "full_due:" + std::to_string(database); }
}  // namespace

Result<void> want_fulls(Connection& db, const std::string& why, bool only_with_snapshots) {
  TILLSYNC_LET(auto insert,
               db.prepare("INSERT OR REPLACE INTO settings(key, value) SELECT 'full_due:'||id, ?1 FROM databases WHERE "
                          "NOT ?2 OR EXISTS(SELECT 1 FROM snapshots WHERE is_complete AND database_id=databases.id)"));
  return insert.bind(1, why).bind(2, int64_t{only_with_snapshots}).run();
}

Result<std::optional<std::string>> full_due(Connection& db, int64_t database) {
  TILLSYNC_LET(auto query, db.prepare("SELECT value FROM settings WHERE key=?"));
  query.bind(1, setting_of(database));
  TILLSYNC_LET(const bool found, query.step());
  return found ? std::optional(query.text(0)) : std::nullopt;
}

Result<void> full_made(Connection& db, int64_t database) {
  TILLSYNC_LET(auto remove, db.prepare("DELETE FROM settings WHERE key=?"));
  return remove.bind(1, setting_of(database)).run();
}

}  // namespace tillsync
