// Jobs done by threads of its own, which come back in the order they were given in.
//
// Purpose: one thread reads and writes in order, and what costs time between is done by several. Memory: `depth` jobs,
// which are used again. Errors: an exception in a thread comes out of pop().
// Threads: used by one at a time; its own end with it, jobs that nobody took are dropped.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/checks.h"

namespace tillsync {

// As many as there are cores, two at most: the till has others to do.
inline size_t worker_threads() { return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 2); }

template <class Job>
class OrderedWorkers {
 public:
  using Work = std::function<void(Job&)>;
  // make: called in each thread, for what it does with each job; what it holds is that thread's own.
  OrderedWorkers(size_t threads, size_t depth, std::function<Work()> make) : make_(std::move(make)), slots_(depth) {
    TILLSYNC_CHECK(threads > 0 && depth > 0);
    for (size_t i = 0; i < threads; i++) threads_.emplace_back([this] { work(); });
  }
  ~OrderedWorkers() {
    {
      std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    given_more_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  OrderedWorkers(const OrderedWorkers&) = delete;
  OrderedWorkers& operator=(const OrderedWorkers&) = delete;

  bool is_empty() const { return taken_ == given_; }
  bool is_full() const { return given_ - taken_ == slots_.size(); }
  // The next job, as an earlier one left it; to be filled in before push(). Not when is_full().
  Job& next() { return slots_[given_ % slots_.size()].job; }
  void push() {
    TILLSYNC_CHECK(!is_full());
    given_++;
    {
      std::lock_guard lock(mutex_);
      ready_ = given_;
    }
    given_more_.notify_one();
  }
  // The oldest that was not taken yet, done; waits for it. Valid until next() is filled in again. Not when is_empty().
  Job& pop() {
    TILLSYNC_CHECK(!is_empty());
    Slot& slot = slots_[taken_ % slots_.size()];
    std::unique_lock lock(mutex_);
    one_done_.wait(lock, [&] { return slot.is_done; });
    slot.is_done = false;
    taken_++;
    if (slot.failure) std::rethrow_exception(std::exchange(slot.failure, nullptr));
    return slot.job;
  }

 private:
  struct Slot {
    Job job;
    bool is_done = false;
    std::exception_ptr failure;
  };

  void work() {
    Work do_job;
    std::unique_lock lock(mutex_);
    while (true) {
      given_more_.wait(lock, [&] { return is_over_ || begun_ < ready_; });
      if (is_over_) return;
      Slot& slot = slots_[begun_++ % slots_.size()];
      lock.unlock();
      std::exception_ptr failure;
      try {
        if (!do_job) do_job = make_();
        do_job(slot.job);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      slot.failure = failure;
      slot.is_done = true;
      one_done_.notify_one();
    }
  }

  const std::function<Work()> make_;
  std::mutex mutex_;
  std::condition_variable given_more_, one_done_;
  std::vector<Slot> slots_;
  uint64_t given_ = 0, taken_ = 0;  // the owner's
  uint64_t begun_ = 0, ready_ = 0;  // begun by the threads; ready for them. With mutex_
  bool is_over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tillsync
