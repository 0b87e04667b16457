#include "snapshot/pack_index.h"

#include <algorithm>

#include "base/ordered_workers.h"

#include "crypto/hash.h"

namespace tillsync {

uint64_t short_check(const Digest& digest) { return le64(digest.bytes.data()); }
bool is_page_size(uint64_t n) { return n >= 512 && n <= 65536 && (n & (n - 1)) == 0; }

Bytes PackIndex::encode() const {
  Bytes out;
  ByteWriter w(out);
  w.u32(page_size);
  w.u32(static_cast<uint32_t>(blocks.size()));
  for (auto& b : blocks) {
    w.u8(static_cast<uint8_t>(b.kind));
    w.bytes(b.name.view());
    w.u64(b.stored_check);
    w.u64(b.offset);
    w.u32(b.stored_length);
    w.u32(b.raw_length);
    w.u8(static_cast<uint8_t>(b.pages));
    PageNo before = 0;
    for (PageNo page : b.numbers) {
      w.uvar(page - before);
      before = page;
    }
  }
  Digest digest = sha256(out);
  w.bytes(digest.view());
  return out;
}

Result<PackIndex> PackIndex::decode(ByteView bytes, uint64_t offset, uint64_t body_at) {
  auto corrupt = [](const char* why) { return Error{ErrorKind::corrupt, 0, std::string("its index ") + why}; };
  if (bytes.size() < 40) return corrupt("is too short");
  ByteView body = bytes.first(bytes.size() - 32);
  if (!equal(sha256(body).view(), bytes.last(32))) return corrupt("does not have its SHA-256");
  ByteReader r(body);
  PackIndex index;
  index.page_size = r.u32();
  if (!is_page_size(index.page_size)) return corrupt("has an impossible page size");
  uint32_t count = r.u32();
  uint64_t expected = body_at;
  // No reserve(): the count is not to be trusted with memory.
  for (uint32_t i = 0; i < count; i++) {
    PackBlock b;
    uint8_t kind = r.u8();
    if (kind != 1 && kind != 2) return corrupt(r.ok() ? "has a block of an unknown kind" : "ends early");
    b.kind = static_cast<BlockKind>(kind);
    ByteView name = r.bytes(32);
    if (!r.ok()) return corrupt("ends early");
    std::copy(name.begin(), name.end(), b.name.bytes.begin());
    b.stored_check = r.u64();
    b.offset = r.u64();
    b.stored_length = r.u32();
    b.raw_length = r.u32();
    b.pages = r.u8();
    if (b.pages < 1 || b.pages > kPagesPerBlock)
      return corrupt(r.ok() ? "has a block of an impossible number of pages" : "ends early");
    if (b.kind == BlockKind::list) {
      uint64_t page = 0;
      for (uint32_t n = 0; n < b.pages; n++) {
        uint64_t step = r.uvar();
        if (!r.ok() || step == 0 || step > UINT32_MAX || page + step > UINT32_MAX)
          return corrupt("has page numbers that do not increase");
        page += step;
        b.numbers.push_back(static_cast<PageNo>(page));
      }
    }
    if (!r.ok()) return corrupt("ends early");
    if (b.raw_length != b.pages * index.page_size) return corrupt("has a block whose length is not that of its pages");
    if (b.offset != expected) return corrupt("has a gap between blocks");
    expected += b.stored_length;
    index.blocks.push_back(std::move(b));
  }
  if (!r.at_end()) return corrupt("is longer than its entries");
  if (expected != offset) return corrupt("does not follow the last block");
  return index;
}

size_t blocks_under_way(uint32_t page_size) {
  constexpr size_t kBytesMax = 4 << 20;
  return std::clamp<size_t>(kBytesMax / (size_t{kPagesPerBlock} * page_size), 2, 4 * worker_threads());
}

}  // namespace tillsync
