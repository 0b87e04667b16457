#include "capture/replica.h"

namespace tillsync {

void whole_page_change(ByteView now, Bytes& out) {
  out.clear();
  ByteWriter w(out);
  w.u8(0);
  w.bytes(now);
}

void encode_page_change(ByteView base, ByteView now, Bytes& out) {
  out.clear();
  ByteWriter w(out);
  w.u8(1);
  size_t size = now.size(), at = 0, last_end = 0;
  auto differs = [&](size_t word) { return std::memcmp(base.data() + word, now.data() + word, 8) != 0; };
  while (at < size) {
    if (!differs(at)) {
      at += 8;
      continue;
    }
    size_t end = at + 8;
    // A gap of one equal word costs less than a run of its own.
    while (end < size && (differs(end) || (end + 8 < size && differs(end + 8)))) end += 8;
    w.uvar(at - last_end);
    w.uvar(end - at);
    w.bytes(now.subspan(at, end - at));
    last_end = at = end;
    if (out.size() > size * 3 / 4) return whole_page_change(now, out);
  }
}

Result<void> apply_page_change(ByteView change, MutableBytes page) {
  Error bad{ErrorKind::corrupt, 0, "a redo entry that does not parse"};
  ByteReader r(change);
  uint8_t form = r.u8();
  if (form == 0) {
    auto whole = r.bytes(page.size());
    if (!r.at_end()) return bad;
    std::memcpy(page.data(), whole.data(), whole.size());
    return {};
  }
  if (form != 1) return bad;
  size_t at = 0;
  while (r.remaining() > 0) {
    uint64_t gap = r.uvar(), length = r.uvar();
    auto bytes = r.bytes(length);
    if (!r.ok() || gap > page.size() - at || length > page.size() - at - gap) return bad;
    at += gap;
    std::memcpy(page.data() + at, bytes.data(), length);
    at += length;
  }
  return r.ok() ? Result<void>() : Result<void>(bad);
}

}  // namespace tillsync
