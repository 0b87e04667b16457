// zstd, one frame at a time, in memory.
//
// Units: bytes. A frame of ours always carries its content size.
// Errors: decompress(): corrupt, when the bytes are not one whole frame of exactly the expected size. Nothing larger
// than expected is ever allocated: lengths in a file are not to be trusted. Threads: a Compressor belongs to one
// thread; decompress() may be called from any. Source: RFC 8878.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace tillsync {

class Compressor {
 public:
  explicit Compressor(int level = 3);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  // Valid until the next call.
  ByteView compress(ByteView raw);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// out is resized to raw_size.
Result<void> decompress(ByteView stored, size_t raw_size, Bytes& out);

}  // namespace tillsync
