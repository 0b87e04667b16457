// Looks whether what is in the store can be restored: quickly by what is there, or by restoring it.
//
// Purpose: check() reads manifests and the indexes of packs; prove() reads every pack whole, stages the snapshot's
// image, runs integrity_check and compares rows and digest of every table with the manifest; for a snapshot that goes
// on from another one it also replays the log from that one up to it and compares again (not over a change of schema,
// nor where the log is not in the store yet). A pack that several snapshots share is read once. Errors: what is wrong
// with the data is the Error in a SnapshotVerdict, with the object's key; an Error of the call is for what could not be
// looked at, and cancelled. Threads: one.
#pragma once

#include <map>

#include "actionlog/log_verifier.h"
#include "assets/asset_verifier.h"
#include "restore/staging.h"
#include "snapshot/verified.h"

namespace tillsync {

struct SnapshotVerdict {
  Uuid snapshot;
  std::optional<SnapshotType> type;  // nullopt: the manifest can't be read
  std::optional<Error> error;
  uint64_t bytes_read = 0;  // of packs and assets, for this snapshot
  bool replay_proven = false;
};

class SnapshotVerifier {
 public:
  // Bytes read so far and in all, as far as known; false stops.
  using Progress = std::function<bool(uint64_t bytes, uint64_t bytes_total)>;

  // staging: a file of ours that prove() makes and leaves removed. vfs: name of a FileVfs over `files`.
  SnapshotVerifier(ObjectStore& store, Lineage lineage, FileSystem& files, const char* vfs, std::string staging)
      : store_(store),
        lineage_(std::move(lineage)),
        files_(files),
        vfs_(vfs),
        staging_(std::move(staging)),
        assets_(store, lineage_) {}

  Result<SnapshotVerdict> check(const Uuid& snapshot);
  Result<SnapshotVerdict> prove(const Uuid& snapshot, const Progress& progress);

 private:
  Result<void> check_packs(const SnapshotChain& chain, SnapshotVerdict& verdict);
  Result<void> read_packs(const SnapshotChain& chain, SnapshotVerdict& verdict, const Progress& progress);
  Result<void> stage(const RestorePlan& plan, const std::vector<TableDigest>& tables, const Progress& progress);
  Result<void> stage_pages(const RestorePlan& plan, const Progress& progress);
  Result<bool> prove_replay(const SnapshotChain& chain, const Progress& progress);
  Result<void> remove_staging();

  ObjectStore& store_;
  Lineage lineage_;
  FileSystem& files_;
  const char* vfs_;
  std::string staging_;
  AssetVerifier assets_;
  std::map<std::string, Result<void>> checked_, read_;  // by pack key
};

// The states that verify_log() starts from: what the manifests say of their tables. A manifest that can't be read is
// the SnapshotVerifier's to report.
Result<KnownStates> known_states(ObjectStore& store, const Lineage& lineage);

}  // namespace tillsync
