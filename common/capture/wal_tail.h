// Follows a WAL hand over hand: no frame is lost while attached, and no writer waits for us.
//
// Purpose: two read connections, A and B. A always holds a read transaction, so that no writer can restart the log over
// frames that were not read. To move forward: advance() begins B and reads the wal-index header; the caller captures
// the frames up to it and commits; settle() ends A and swaps (advance() does where B surely holds the log). When
// everything is checkpointed, B gets read-lock slot 0 and the log may be restarted once, but not again until slot 0 is
// let go: so a change of salt 1 by one means that every frame of the new generation is still there. Errors: transient
// (busy: try again), corrupt (frames do not verify), and what AppDatabase reports. Threads: one. Source:
// docs/architecture.md, "WalTail"; WAL-mode file format §2.4 (locks).
#pragma once

#include <optional>

#include "capture/app_database.h"
#include "capture/page_source.h"

namespace tillsync {

// A place in the log: after this frame.
struct WalPosition {
  WalSalts salts;
  FrameNo frame = 0;
  WalChecksum checksum;  // running, at the end of that frame
  bool operator==(const WalPosition&) const = default;
};

class WalTail : public PageSource {
 public:
  // Opens A, B and the checkpoint connection; A begins to read.
  static Result<std::unique_ptr<WalTail>> attach(const std::string& path);

  enum class Step {
    nothing,         // no new frame
    frames,          // the log goes on at the position
    new_generation,  // restarted once: its frames are all news
    gap,             // frames were overwritten unread: only a scan helps
  };
  // B begins and the header is read; the view stays until settle() or withdraw().
  Result<Step> advance(const WalPosition& position);
  const WalIndexView& view() const { return view_; }
  void settle();
  void withdraw();

  // A read transaction whose place in the log is known exactly: for a baseline or a scan. B reads it; settle() or
  // withdraw() as after advance(). transient when writers are too fast for it just now.
  Result<WalPosition> advance_exactly();
  AppDatabase& advanced() { return b_; }

  // Frames from `position` to the header's last, transaction by transaction.
  // False: no further whole transaction. pages: each page once, its last frame.
  Result<bool> next_transaction(WalPosition& position, std::vector<SourcePage>& pages, PageNo& page_count);

  // True if the log still holds the frame at the position, so that capture may go on there after a restart of the
  // agent.
  Result<bool> holds(const WalPosition& position);

  Result<PageRef> read(PageNo page, uint64_t frame) override;

  // True while A holds a slot other than 0: the application's checkpoint can't finish past it.
  bool all_backfilled() const { return view_.backfilled >= view_.header.max_frame; }
  Result<WalIndexView> look() { return a_.wal_index(); }
  Result<uint64_t> wal_size() { return a_.wal_size(); }
  AppDatabase& checkpointer() { return w_; }
  AppDatabase& spare() { return b_; }  // not reading, between settle() and advance()
  // Closes as the last connection would, so that SQLite removes the -wal: only when everything is captured and
  // checkpointed.
  static void close_cleanly(std::unique_ptr<WalTail> tail);
  // A lets go and begins again (in slot 0 if all is checkpointed).
  void release() { a_.end_read(); }
  Result<void> hold() { return a_.begin_read(); }
  bool holding() const { return a_.reading(); }

 private:
  WalTail() = default;
  Step step_from(const WalPosition& position) const;
  Result<void> load_header();
  Result<ByteView> frame_bytes(FrameNo frame);

  AppDatabase a_, b_, w_;
  WalIndexView view_;
  std::optional<WalHeader> header_;  // of the log file, for the generation in view_
  Bytes chunk_;
  FrameNo chunk_first_ = 0, chunk_frames_ = 0;
  WalSalts chunk_salts_;
};

}  // namespace tillsync
