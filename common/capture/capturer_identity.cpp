// How a Capturer knows a database again that it let go.
#include "capture/capturer.h"

#include <cstdlib>

namespace tillsync {

namespace {
// Longer than the tick of any kernel (HZ=100: 10 ms).
constexpr std::chrono::milliseconds kFileClockTick{50};
}  // namespace

Result<Capturer::Identity> Capturer::identity() {
  TILLSYNC_LET(auto info, setup_.application->stat(setup_.path));
  Identity identity{info.device, info.inode, info.size, info.mtime_ns};
  if (auto wal = setup_.application->stat(setup_.path + "-wal")) {
    identity.wal_size = wal->size;
    identity.wal_mtime_ns = wal->mtime_ns;
  }
  return identity;
}

std::optional<Capturer::Identity> Capturer::identity_or_none() {
  auto current = identity();
  return current ? std::optional(*current) : std::nullopt;
}

bool Capturer::is_recent(const Identity& identity) const {
  const int64_t now = to_ms(setup_.clock->now());
  auto recent = [&](int64_t mtime_ns) { return std::abs(now - mtime_ns / 1000000) < kFileClockTick.count(); };
  return recent(identity.mtime_ns) || (identity.wal_size > 0 && recent(identity.wal_mtime_ns));
}

// With the place in the log it belongs to: what was captured since makes it worthless.
Result<void> Capturer::store_identity(const Identity& identity) {
  Bytes raw;
  ByteWriter w(raw);
  w.u64(identity.device);
  w.u64(identity.inode);
  w.u64(identity.size);
  w.u64(static_cast<uint64_t>(identity.mtime_ns));
  const WalPosition& position = ingest_->position().wal;
  w.u32(position.salts.salt1);
  w.u32(position.salts.salt2);
  w.u32(position.frame);
  auto db = setup_.state->lease();
  TILLSYNC_LET(auto update, db->cached("UPDATE databases SET file_identity=? WHERE id=?"));
  return update->bind(1, ByteView(raw)).bind(2, setup_.database_id).run();
}

Result<std::optional<Capturer::Identity>> Capturer::stored_identity() {
  auto db = setup_.state->lease();
  TILLSYNC_LET(auto query, db->cached("SELECT file_identity FROM databases WHERE id=?"));
  query->bind(1, setup_.database_id);
  TILLSYNC_LET(bool found, query->step());
  std::optional<Identity> identity;
  if (found && !query->is_null(0)) {
    ByteReader r(query->blob(0));
    Identity i;
    i.device = r.u64();
    i.inode = r.u64();
    i.size = r.u64();
    i.mtime_ns = static_cast<int64_t>(r.u64());
    WalSalts salts{r.u32(), r.u32()};
    FrameNo frame = r.u32();
    const WalPosition& position = ingest_->position().wal;
    if (r.ok() && salts == position.salts && frame == position.frame) identity = i;
  }
  query->reset();
  return identity;
}

}  // namespace tillsync
