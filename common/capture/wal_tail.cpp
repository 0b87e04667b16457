#include "capture/wal_tail.h"

#include <algorithm>
#include <unordered_map>

#include "base/checks.h"

namespace tillsync {

namespace {
constexpr size_t kChunkBytes = 512 << 10;
// Pages of larger transactions are read again from the log when they are needed.
constexpr size_t kKeptPagesMax = 1024;
}  // namespace

Result<std::unique_ptr<WalTail>> WalTail::attach(const std::string& path) {
  std::unique_ptr<WalTail> tail(new WalTail);
  TILLSYNC_LET(tail->a_, AppDatabase::open(path, AppDatabase::Use::read));
  TILLSYNC_TRY(tail->a_.begin_read());
  TILLSYNC_LET(tail->b_, AppDatabase::open(path, AppDatabase::Use::read));
  TILLSYNC_LET(tail->w_, AppDatabase::open(path, AppDatabase::Use::checkpoint));
  // A connection that has never read the database does nothing when it is asked to checkpoint.
  TILLSYNC_TRY(tail->w_.begin_read());
  tail->w_.end_read();
  return tail;
}

Result<WalTail::Step> WalTail::advance(const WalPosition& position) {
  auto before = a_.wal_index();
  TILLSYNC_TRY(b_.begin_read());
  auto view = b_.wal_index();
  if (!view) {
    withdraw();
    return std::move(view).error();
  }
  if (!(view_.header.salts == view->header.salts)) header_.reset();
  view_ = *view;
  Step step = step_from(position);
  // Not everything that B may see is copied, so B is in no slot 0, and nobody can begin the log anew over what it
  // holds. A ends before that is captured: an old mark keeps checkpoints from copying, slot 0 keeps them from copying
  // at all, and capturing what a writer without pause left takes longer than it may.
  bool held = before && before->header.salts == view_.header.salts && view_.backfilled < before->header.max_frame;
  if (held && (step == Step::frames || step == Step::new_generation)) settle();
  return step;
}

WalTail::Step WalTail::step_from(const WalPosition& position) const {
  const WalSalts& salts = view_.header.salts;
  if (salts == position.salts) {
    if (view_.header.max_frame < position.frame) return Step::gap;
    return view_.header.max_frame == position.frame ? Step::nothing : Step::frames;
  }
  // The salts of an empty log are replaced by random ones when its first frame is written. A mark on an empty log is
  // slot 0, so it can't have been more than one generation since.
  bool successor = salts.salt1 == position.salts.salt1 + 1 || position.frame == 0;
  if (successor) return view_.header.max_frame == 0 ? Step::nothing : Step::new_generation;
  return Step::gap;
}

void WalTail::settle() {
  if (!b_.reading()) return;
  a_.end_read();
  std::swap(a_, b_);
}

void WalTail::withdraw() { b_.end_read(); }

Result<WalPosition> WalTail::advance_exactly() {
  for (int attempt = 0; attempt < 1000; attempt++) {
    TILLSYNC_LET(WalIndexView before, a_.wal_index());
    TILLSYNC_TRY(b_.begin_read());
    auto after = b_.wal_index();
    if (after && after->header == before.header) {
      if (!(view_.header.salts == after->header.salts)) header_.reset();
      view_ = *after;
      return WalPosition{view_.header.salts, view_.header.max_frame, view_.header.frame_checksum};
    }
    b_.end_read();
  }
  return Error{ErrorKind::transient, 0, "the application writes too fast for a clean start; trying again"};
}

void WalTail::close_cleanly(std::unique_ptr<WalTail> tail) {
  tail->a_.end_read();
  tail->b_.end_read();
  tail->a_.connection().close();
  tail->b_.connection().close();
  sqlite3_db_config(tail->w_.connection().handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  tail->w_.connection().close();
}

Result<void> WalTail::load_header() {
  if (header_ && header_->salts == view_.header.salts) return {};
  uint8_t raw[kWalHeaderSize];
  TILLSYNC_TRY(a_.read_wal(0, raw));
  header_ = WalHeader::parse(raw);
  if (!header_ || !(header_->salts == view_.header.salts) || header_->page_size != view_.header.page_size) {
    header_.reset();
    return Error{ErrorKind::corrupt, 0, "the write-ahead log's header does not belong to its index"};
  }
  return {};
}

Result<ByteView> WalTail::frame_bytes(FrameNo frame) {
  uint32_t frame_size = kWalFrameHeaderSize + view_.header.page_size;
  bool loaded = chunk_salts_ == view_.header.salts && frame >= chunk_first_ && frame < chunk_first_ + chunk_frames_;
  if (!loaded) {
    FrameNo n = std::min<FrameNo>(std::max<FrameNo>(1, static_cast<FrameNo>(kChunkBytes / frame_size)),
                                  view_.header.max_frame - frame + 1);
    chunk_.resize(size_t{n} * frame_size);
    chunk_frames_ = 0;
    TILLSYNC_TRY(a_.read_wal(wal_frame_offset(frame, view_.header.page_size), chunk_));
    chunk_first_ = frame;
    chunk_frames_ = n;
    chunk_salts_ = view_.header.salts;
  }
  return ByteView(chunk_).subspan(size_t{frame - chunk_first_} * frame_size, frame_size);
}

Result<bool> WalTail::next_transaction(WalPosition& position, std::vector<SourcePage>& pages, PageNo& page_count) {
  TILLSYNC_CHECK(a_.reading());
  pages.clear();
  if (view_.header.max_frame == 0) return false;
  TILLSYNC_TRY(load_header());
  WalPosition at = position;
  if (at.frame == 0 || !(at.salts == view_.header.salts)) at = {view_.header.salts, 0, header_->checksum};
  if (at.frame == view_.header.max_frame) return false;
  std::unordered_map<PageNo, size_t> index;
  while (at.frame < view_.header.max_frame) {
    FrameNo frame = at.frame + 1;
    TILLSYNC_LET(ByteView bytes, frame_bytes(frame));
    auto header = WalFrameHeader::parse(bytes.data());
    if (!(header.salts == view_.header.salts))
      return Error{ErrorKind::corrupt, 0,
                   "frame " + std::to_string(frame) + " of the write-ahead log is of another generation"};
    at.checksum = wal_checksum(wal_checksum(at.checksum, bytes.first(8), header_->big_endian_checksum),
                               bytes.subspan(kWalFrameHeaderSize), header_->big_endian_checksum);
    if (header.page == 0)
      return Error{ErrorKind::corrupt, 0,
                   "frame " + std::to_string(frame) + " of the write-ahead log has no page number"};
    if (at.checksum != header.checksum)
      return Error{ErrorKind::corrupt, 0,
                   "frame " + std::to_string(frame) + " of the write-ahead log does not match its checksum"};
    at.frame = frame;
    auto [slot, is_new] = index.try_emplace(header.page, pages.size());
    if (is_new) pages.push_back({header.page, frame, {}});
    SourcePage& page = pages[slot->second];
    page.where = frame;
    page.content = {};
    if (pages.size() <= kKeptPagesMax) {
      page.content = PageRef::allocate(view_.header.page_size);
      std::memcpy(page.content.mutable_data(), bytes.data() + kWalFrameHeaderSize, view_.header.page_size);
    }
    if (header.commit_size != 0) {
      page_count = header.commit_size;
      // Pages past the end were cut off by the transaction itself.
      std::erase_if(pages, [&](const SourcePage& p) { return p.page > page_count; });
      position = at;
      return true;
    }
  }
  return Error{ErrorKind::corrupt, 0, "the write-ahead log's index ends inside a transaction"};
}

Result<bool> WalTail::holds(const WalPosition& position) {
  TILLSYNC_LET(WalIndexView view, a_.wal_index());
  if (!(view.header.salts == position.salts) || view.header.max_frame < position.frame) return false;
  // Every empty log has the same salts, that of yesterday as well as that of today.
  if (position.salts == WalSalts{}) return false;
  if (position.frame == 0) return true;
  uint8_t raw[kWalFrameHeaderSize];
  TILLSYNC_TRY(a_.read_wal(wal_frame_offset(position.frame, view.header.page_size), raw));
  auto header = WalFrameHeader::parse(raw);
  return header.salts == position.salts && header.checksum == position.checksum;
}

Result<PageRef> WalTail::read(PageNo, uint64_t frame) {
  PageRef page = PageRef::allocate(view_.header.page_size);
  TILLSYNC_TRY(a_.read_wal(wal_frame_offset(static_cast<FrameNo>(frame), view_.header.page_size) + kWalFrameHeaderSize,
                           page.mutable_view()));
  return page;
}

}  // namespace tillsync
