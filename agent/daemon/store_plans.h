// Who decides what is needed of the store, and who what may go from it: one at a time.
//
// Purpose: a restore that has chosen its snapshot has pinned it before a prune decides; a prune that has decided has
// removed everything before a restore chooses. Whoever restores is in a hurry: a prune that is under way is asked to
// end, and is run again later. Threads: any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>

#include "base/result.h"

namespace tillsync {

class StorePlans {
 public:
  using Lock = std::unique_lock<std::timed_mutex>;
  Lock for_prune() { return Lock(mutex_); }
  bool prune_may_go_on() const { return restores_waiting_ == 0; }
  Result<Lock> for_restore(const std::function<bool()>& is_cancelled) {
    restores_waiting_++;
    Lock lock(mutex_, std::defer_lock);
    while (!lock.try_lock_for(std::chrono::milliseconds(50)))
      if (is_cancelled()) break;
    restores_waiting_--;
    if (!lock.owns_lock()) return Error{ErrorKind::cancelled, 0, "cancelled"};
    return lock;
  }

 private:
  std::timed_mutex mutex_;
  std::atomic<int> restores_waiting_ = 0;
};

}  // namespace tillsync
