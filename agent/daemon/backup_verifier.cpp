#include "agent/daemon/backup_verifier.h"

#include "agent/daemon/blind_verifier.h"

#include "agent/logging/log.h"
#include "base/json.h"
#include "snapshot/epochs.h"
#include "workflow/records.h"

namespace tillsync {

Result<VerificationRecord> BackupVerifier::verify(const FollowedDatabase& database) {
  VerificationRecord record;
  if (services_.is_write_only()) {
    TILLSYNC_TRY(verify_sealed_bytes(services_, database, stopping_, record));
  } else {
    // What an epoch left behind may be a log that two copies wrote into: its snapshots are what is restored from it.
    TILLSYNC_LET(const auto epochs, list_epochs(*services_.store, services_.terminal, database.config().name));
    for (auto& epoch : epochs) TILLSYNC_TRY(check_snapshots(database, epoch, record));
    TILLSYNC_TRY(check_log(database, record));
  }
  record.finished_at = services_.clock->now();
  TILLSYNC_TRY(keep(database.id(), record));
  for (auto& finding : record.findings) log::error("{}: {}", database.config().name, finding);
  log::info("{}: verified {} snapshots ({} read back) and {} segments: {}", database.config().name, record.snapshots,
            record.proven, record.segments,
            record.findings.empty() ? "all whole" : std::to_string(record.findings.size()) + " findings");
  return record;
}

Result<void> BackupVerifier::check_snapshots(const FollowedDatabase& database, const Lineage& lineage,
                                             VerificationRecord& record) {
  const std::string staging = services_.staging_folder() + "/verify-" + std::to_string(database.id()) + ".db";
  SnapshotVerifier verifier(*services_.store, lineage, *services_.files, services_.vfs->name(), staging);
  std::optional<Manifest> newest, newest_full;
  TILLSYNC_LET(const auto uuids, list_snapshots(*services_.store, lineage));
  for (auto& uuid : uuids) {
    if (stopping_) return Error{ErrorKind::cancelled, 0, "stopped"};
    TILLSYNC_LET(const SnapshotVerdict verdict, verifier.check(uuid));
    auto manifest = read_manifest(*services_.store, lineage, uuid);
    if (!manifest && manifest.error().kind == ErrorKind::not_found) continue;  // pruned meanwhile
    record.snapshots++;
    record.bytes += verdict.bytes_read;
    if (verdict.error) {
      record.findings.push_back("snapshot " + uuid.str() + ": " + verdict.error->context);
      continue;
    }
    TILLSYNC_TRY(manifest);
    if (manifest->is_page_level()) continue;
    auto newer = [&](std::optional<Manifest>& than) {
      if (!than || manifest->sequence >= than->sequence) than = *manifest;
    };
    newer(newest);
    if (manifest->type == SnapshotType::full) newer(newest_full);
  }
  if (newest_full) TILLSYNC_TRY(prove(database, verifier, *newest_full, record));
  if (newest && (!newest_full || newest->uuid != newest_full->uuid))
    TILLSYNC_TRY(prove(database, verifier, *newest, record));
  return {};
}

Result<void> BackupVerifier::prove(const FollowedDatabase& database, SnapshotVerifier& verifier,
                                   const Manifest& manifest, VerificationRecord& record) {
  TILLSYNC_LET(auto known, read_verified(*services_.store, manifest));
  if (!known) {
    const uint64_t needed = uint64_t{manifest.page_size} * manifest.page_count + services_.config->limits.min_free;
    TILLSYNC_LET(uint64_t free, services_.files->free_space(services_.staging_folder()));
    if (free < needed) {
      log::warn("{}: snapshot {} is not read back: that needs {} bytes free here, there are {}", database.config().name,
                manifest.uuid.str(), needed, free);
      return {};
    }
    TILLSYNC_LET(const SnapshotVerdict verdict,
                 verifier.prove(manifest.uuid, [this](uint64_t, uint64_t) { return !stopping_; }));
    record.bytes += verdict.bytes_read;
    if (verdict.error) {
      auto still_there = read_manifest(*services_.store, manifest.lineage, manifest.uuid);
      if (still_there || still_there.error().kind != ErrorKind::not_found)
        record.findings.push_back("snapshot " + manifest.uuid.str() + ": " + verdict.error->context);
      return {};
    }
    known = VerifiedMark{manifest.uuid, manifest.checksum, services_.clock->now(),
                         verdict.replay_proven ? "replay" : "read-back", verdict.bytes_read};
    TILLSYNC_TRY(put_verified(*services_.store, manifest, *known, *services_.random));
  }
  record.proven++;
  auto db = services_.state->lease();
  TILLSYNC_LET(auto mark,
               db->prepare("UPDATE snapshots SET is_verified=1, updated_at=? WHERE uuid=? AND NOT is_verified"));
  return mark.bind(1, to_ms(services_.clock->now())).bind(2, manifest.uuid.str()).run();
}

Result<void> BackupVerifier::check_log(const FollowedDatabase& database, VerificationRecord& record) {
  const Lineage lineage = database.lineage();
  const uint64_t before = record.bytes;
  TILLSYNC_LET(const KnownStates known, known_states(*services_.store, lineage));
  TILLSYNC_LET(const LogVerdict verdict,
               verify_log(*services_.store, lineage, known, 1, [&](uint64_t, uint64_t bytes, uint64_t) {
                 record.bytes = before + bytes;
                 return !stopping_;
               }));
  record.segments = verdict.segments.size();
  for (auto& segment : verdict.segments)
    if (segment.error) record.findings.push_back(segment.error->context);
  return {};
}

Result<void> BackupVerifier::keep(int64_t database, const VerificationRecord& record) {
  auto db = services_.state->lease();
  TILLSYNC_LET(auto put,
               db->prepare("INSERT OR REPLACE INTO verifications(database_id, finished_at, snapshots, proven, "
                           "segments, bytes, findings) VALUES(?,?,?,?,?,?,?)"));
  return put.bind(1, database)
      .bind(2, to_ms(record.finished_at))
      .bind(3, record.snapshots)
      .bind(4, record.proven)
      .bind(5, record.segments)
      .bind(6, record.bytes)
      .bind(7, dump(Json(record.findings)))
      .run();
}

Result<std::optional<VerificationRecord>> read_verification(Connection& db, int64_t database) {
  TILLSYNC_LET(auto query, db.prepare("SELECT finished_at, snapshots, proven, segments, bytes, findings FROM "
                                      "verifications WHERE database_id=?"));
  query.bind(1, database);
  TILLSYNC_LET(bool found, query.step());
  if (!found) return std::optional<VerificationRecord>();
  VerificationRecord record;
  record.finished_at = from_ms(query.integer(0));
  record.snapshots = query.unsigned_integer(1);
  record.proven = query.unsigned_integer(2);
  record.segments = query.unsigned_integer(3);
  record.bytes = query.unsigned_integer(4);
  TILLSYNC_LET(Json findings, parse_json(query.text(5), "findings of a verification"));
  for (auto& finding : findings) record.findings.push_back(finding.get<std::string>());
  return std::optional(std::move(record));
}

}  // namespace tillsync
