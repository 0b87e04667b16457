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
  enum class Tuning {
    general,         // level 3
    database_pages,  // blocks of some hundred KiB of them
  };
  explicit Compressor(Tuning tuning = Tuning::general);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  // Valid until the next call.
  ByteView compress(ByteView raw);
  // out: resized to what it takes; grows only where it has no room for bound(raw.size()).
  void compress(ByteView raw, Bytes& out);
  // The most that so many bytes take.
  static size_t bound(size_t raw_size);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// out is resized to raw_size. dictionary: the one it was compressed with; empty for none.
Result<void> decompress(ByteView stored, size_t raw_size, Bytes& out, ByteView dictionary = {});

// A section of an object: its sizes, and a frame (docs/formats.md). corrupt: it is not whole, or larger than that.
void put_section(Bytes& out, ByteView raw);
Result<Bytes> take_section(ByteReader& in, size_t raw_size_max);

// For pieces of some KiB: another 5 % over level 3 with a dictionary, for 70 microseconds more.
constexpr int kShortLevel = 6;
// One frame at this level; dictionary: from train_dictionary(), or empty. What begins at border_at has other statistics
// than what is before it, and a block of its own.
Bytes compress_at(int level, ByteView raw, ByteView dictionary = {}, size_t border_at = 0);
// The end of these samples, and what statistics of them help with short pieces of the same kind; at most `size` bytes.
// Of samples that are too few for statistics, only their end. Memory: twice that of the samples, and 1 MiB.
Bytes train_dictionary(std::span<const Bytes> samples, size_t size);

}  // namespace tillsync
