// The index of a pack: what its blocks hold and where they are.
//
// Layout: docs/formats.md, "Pack".
// Errors: corrupt, with what is wrong.
#pragma once

#include <vector>

#include "base/ids.h"

namespace tillsync {

constexpr uint32_t kPagesPerBlock = 64;

enum class BlockKind : uint8_t {
  run = 1,   // 64 consecutive pages of a FULL snapshot; the manifest says which
  list = 2,  // changed pages, with their numbers
};

struct PackBlock {
  BlockKind kind = BlockKind::run;
  Digest name;  // SHA-256 of the raw content
  uint64_t stored_check = 0;
  uint64_t offset = 0;
  uint32_t stored_length = 0;
  uint32_t raw_length = 0;
  uint32_t pages = 0;
  std::vector<PageNo> numbers;  // of a list, increasing
};

struct PackIndex {
  uint32_t page_size = 0;
  std::vector<PackBlock> blocks;

  Bytes encode() const;
  // offset: of the index in the object. Checks that the blocks lie without a gap between body_at, where the body
  // begins, and the index.
  static Result<PackIndex> decode(ByteView bytes, uint64_t offset, uint64_t body_at);
};

// First 8 bytes of SHA-256, as they are compared in the index and in page maps.
uint64_t short_check(const Digest& digest);
bool is_page_size(uint64_t n);

// How many blocks are packed or unpacked at the same time (base/ordered_workers.h): four for each thread, but no more
// than 4 MiB of them; two at least.
size_t blocks_under_way(uint32_t page_size);

}  // namespace tillsync
