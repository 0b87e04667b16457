#include "snapshot/block_compressor.h"

#include <utility>

#include "base/checks.h"
#include "compression/zstd.h"

namespace tillsync {

BlockCompressor::BlockCompressor(size_t threads, size_t depth) : slots_(depth) {
  TILLSYNC_CHECK(threads > 0 && depth > 0);
  for (size_t i = 0; i < threads; i++) threads_.emplace_back([this] { work(); });
}

BlockCompressor::~BlockCompressor() {
  {
    std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  given_more_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void BlockCompressor::push() {
  TILLSYNC_CHECK(!is_full());
  Block& block = next();
  // Here, so that the threads' own heaps do not grow.
  block.compressed.reserve(Compressor::bound(block.raw.size()));
  given_++;
  {
    std::lock_guard lock(mutex_);
    ready_ = given_;
  }
  given_more_.notify_one();
}

const BlockCompressor::Block& BlockCompressor::pop() {
  TILLSYNC_CHECK(!is_empty());
  Slot& slot = slots_[taken_ % slots_.size()];
  std::unique_lock lock(mutex_);
  one_done_.wait(lock, [&] { return slot.is_done; });
  slot.is_done = false;
  taken_++;
  if (slot.failure) std::rethrow_exception(std::exchange(slot.failure, nullptr));
  return slot.block;
}

void BlockCompressor::work() {
  std::optional<Compressor> compressor;
  std::unique_lock lock(mutex_);
  while (true) {
    given_more_.wait(lock, [&] { return is_over_ || begun_ < ready_; });
    if (is_over_) return;
    Slot& slot = slots_[begun_++ % slots_.size()];
    lock.unlock();
    std::exception_ptr failure;
    try {
      if (!compressor) compressor.emplace(Compressor::Tuning::database_pages);
      if (!slot.block.name) slot.block.name = sha256(slot.block.raw);
      compressor->compress(slot.block.raw, slot.block.compressed);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    slot.failure = failure;
    slot.is_done = true;
    one_done_.notify_one();
  }
}

}  // namespace tillsync
