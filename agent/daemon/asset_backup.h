// The file assets of a backup: captured into the spool by one step, sent by another.
//
// Purpose: what capture() made is named in the step's result, so that a restarted agent sends the same bytes. Chunks go
// first, then trees. When they were sent, check_sent() asks the store whether all that the snapshot needs is there,
// also what earlier snapshots sent: a store that somebody else pruned must not get a manifest that can't be restored.
// Layout of the result: `assets` (as in the manifest), `asset_objects` [{key, path, size}], `asset_content` [{asset,
// content, sha256, size}] of the new trees.
// Errors: those of the spool, state.db and the store; corrupt when an object of an earlier snapshot is gone: it is
// forgotten, and the next backup sends it again. Threads: steps run on the workers.
#pragma once

#include "agent/daemon/services.h"
#include "assets/asset_chunk.h"
#include "assets/off_limits.h"
#include "transfer/transfer_queue.h"
#include "workflow/context.h"

namespace tillsync {

// The followed databases, the agent's own folder and a store in a folder.
OffLimits off_limits_of(const Services& services);

class AssetBackup {
 public:
  explicit AssetBackup(const Services& services) : services_(services) {}
  // Puts its part into the step's result.
  Result<void> capture(StepContext& context, bool deduplicate, Json& result);
  void queue(const Json& captured, int64_t database_id, std::vector<Transfer>& transfers);
  Result<void> check_sent(const Json& captured);
  // What is known afterwards is committed with the step.
  Result<void> remember_sent(StepContext& context, const Json& captured);
  void remove_spooled(const Json& captured);
  // For a person: what of the assets is not certain. Empty: nothing.
  static std::string note(const Json& captured);

 private:
  Result<std::vector<ChunkPiece>> pieces_of(const std::string& key, const std::string& path);
  Services services_;
};

}  // namespace tillsync
