// The agent's hold on its epoch: that nobody else writes under this terminal's name (docs/formats.md, "Epochs and
// starts").
//
// Purpose: a cloned disk, or an old image of one that was put back, is noticed before anything of it is written, or
// within an hour of writing. Errors: conflict once the epoch is lost, from then on; those of the store, and of
// state.db. Durability: whose a start is, is durable in state.db before it is put, and one that may have been put is
// put again byte for byte, which changes nothing where the store can't refuse it. Threads: any; a call waits for one
// that is asking the store.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "agent/daemon/services.h"
#include "base/json.h"

namespace tillsync {

struct EpochLoss {
  std::string why;
  std::optional<uint64_t> displaced_by;  // the start that another one made
};

class EpochClaim {
 public:
  // store: where the claims are put, below what asks for the claim. on_lost: called once, by whoever asked.
  EpochClaim(const Services& services, ObjectStore& store, std::function<void(const EpochLoss&)> on_lost);
  // Before something is written.
  Result<void> hold();

 private:
  struct Start {
    uint64_t number = 0;
    std::string token, created_at;
    bool is_put = false;
  };
  Result<std::optional<EpochLoss>> look();
  Result<void> begin();
  Result<std::optional<EpochLoss>> put_start();
  Result<std::optional<EpochLoss>> find_later_start();
  Result<std::optional<EpochLoss>> find_later_epoch();
  Result<std::optional<EpochLoss>> find_foreign_segment();
  Result<Json> read_marks();
  Result<void> forget_parts(const Json& seen);
  Result<bool> is_own(const ObjectInfo& segment);
  Result<void> keep();
  Start new_start(uint64_t number);

  Services services_;
  ObjectStore& store_;
  std::function<void(const EpochLoss&)> on_lost_;
  std::mutex mutex_;
  std::optional<Start> start_;  // of this run
  std::optional<Timestamp> looked_at_;
  std::optional<EpochLoss> lost_;
};

}  // namespace tillsync
