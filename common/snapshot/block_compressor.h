// Names and compresses the blocks of a snapshot on threads of its own; they come back in the order they were given in.
//
// Purpose: a snapshot is made as fast as the cores can, while one thread reads and writes it. Memory: `depth` blocks,
// raw and compressed, which are used again, and a context of zstd for each thread. Errors: std::bad_alloc of a thread
// comes out of pop(). Threads: used by one at a time; its own end with it.
#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "crypto/hash.h"

namespace tillsync {

class BlockCompressor {
 public:
  struct Block {
    Bytes raw, compressed;
    std::optional<Digest> name;  // SHA-256 of the raw bytes
  };
  BlockCompressor(size_t threads, size_t depth);
  ~BlockCompressor();
  BlockCompressor(const BlockCompressor&) = delete;
  BlockCompressor& operator=(const BlockCompressor&) = delete;

  bool is_empty() const { return taken_ == given_; }
  bool is_full() const { return given_ - taken_ == slots_.size(); }
  // The next block. Its raw bytes are to be filled in before push(), and its name where that is known. Not when
  // is_full().
  Block& next() { return slots_[given_ % slots_.size()].block; }
  void push();
  // The oldest block that was not taken yet, named and compressed; waits for it. Valid until next() is filled again.
  // Not when is_empty().
  const Block& pop();

 private:
  struct Slot {
    Block block;
    bool is_done = false;
    std::exception_ptr failure;
  };
  void work();

  std::mutex mutex_;
  std::condition_variable given_more_, one_done_;
  std::vector<Slot> slots_;
  uint64_t given_ = 0, taken_ = 0;  // blocks; the owner's
  uint64_t begun_ = 0, ready_ = 0;  // begun by the threads; ready for them. With mutex_
  bool is_over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tillsync
