// The scheduled verification: is what this terminal has in the store whole?
//
// Purpose: of every snapshot, of all epochs, the manifest, and that its packs and assets are there; the whole log, read
// and proven; and of the newest snapshot and the newest FULL everything, read back and compared with their digests,
// once: what is proven gets its verified mark. What it finds is kept for status until the next verification. A prune
// beside it is no finding: what is missing counts only while its manifest is still there. Errors: what could not be
// looked at (offline, denied …) and cancelled; damage is no error but a finding. Threads: verify() one at a time;
// stop() from any; read_verification() as StateDb.
#pragma once

#include <atomic>

#include "agent/daemon/followed_database.h"
#include "restore/verification.h"

namespace tillsync {

struct VerificationRecord {
  Timestamp finished_at;
  uint64_t snapshots = 0, proven = 0, segments = 0, bytes = 0;
  std::vector<std::string> findings;  // each with its object
};
Result<std::optional<VerificationRecord>> read_verification(Connection& db, int64_t database);

class BackupVerifier {
 public:
  explicit BackupVerifier(const Services& services) : services_(services) {}
  Result<VerificationRecord> verify(const FollowedDatabase& database);
  // Lets a running verification end at its next safe point.
  void stop() { stopping_ = true; }

 private:
  Result<void> check_snapshots(const FollowedDatabase& database, const Lineage& lineage, VerificationRecord& record);
  Result<void> prove(const FollowedDatabase& database, SnapshotVerifier& verifier, const Manifest& manifest,
                     VerificationRecord& record);
  Result<void> check_log(const FollowedDatabase& database, VerificationRecord& record);
  Result<void> keep(int64_t database, const VerificationRecord& record);
  Services services_;
  std::atomic<bool> stopping_ = false;
};

}  // namespace tillsync
