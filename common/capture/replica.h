// The agent's own page-exact copy of a followed database, at the last captured transaction.
//
// Purpose: the "before" side of the next transaction, and the source of snapshots, so that the till's database is
// neither read nor locked for either. Layout (docs/formats.md, "Replica"): a page file and a page map (owner and
// generation, 8 bytes a page) in one folder; on top of them an overlay of changes that are committed in state.db (table
// redo) but not yet written to the files; on top of that the pending pages of the batch that is being captured.
// Durability: the files are written only by write_back(), after state.db, with the redo in it, has been made durable;
// redo is dropped only after the files have been synced. So the files are never ahead of state.db, and a write-back
// that was torn by a power cut is repaired by the redo. Errors: what the file port and state.db report; corrupt when a
// redo entry does not parse. Threads: one capture thread; a PinnedImage may be read by another.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "capture/owner_map.h"
#include "capture/page_cache.h"
#include "capture/page_source.h"
#include "capture/work_pulse.h"
#include "dbfile/page.h"
#include "ports/files.h"
#include "snapshot/page_image.h"
#include "state/state_db.h"

namespace tillsync {

class Replica : public PageReader, public std::enable_shared_from_this<Replica> {
 public:
  struct Setup {
    FileSystem* files = nullptr;
    StateDb* state = nullptr;
    std::string folder;  // made if missing
    int64_t database_id = 0;
    int64_t number = 0;                  // names the files; a new baseline takes the next
    WorkPulse* pulse = nullptr;          // beats while pages are written
    size_t overlay_bytes_max = 8 << 20;  // more is read from state.db when it is needed
    size_t cache_bytes_max = 2 << 20;
  };

  // Opens the files and the redo of a replica that state.db says is whole. not_found, corrupt: it is not.
  static Result<std::shared_ptr<Replica>> open(const Setup& setup, uint32_t page_size, PageNo page_count);
  // Starts an empty one; page_size is fixed, pages come by write_baseline_page().
  static Result<std::shared_ptr<Replica>> create(const Setup& setup, uint32_t page_size, PageNo page_count);
  static void remove_files(FileSystem& files, const std::string& folder, int64_t number);
  uint32_t page_size() const { return page_size_; }
  PageNo page_count() const { return page_count_; }
  OwnerMap& owners() { return owners_; }

  // The current content: pending, overlay or file.
  Result<PageRef> page(PageNo number) override;
  // The content in the file alone; zeros where it ends.
  Result<void> read_base(PageNo number, MutableBytes out);

  // Baseline: pages straight into the file, then the map; both synced by finish_baseline().
  Result<void> write_baseline_page(PageNo number, ByteView content);
  Result<void> finish_baseline(uint32_t generation);

  // A captured transaction becomes the current state. source must stay valid until the batch is committed or the
  // replica is dropped; `kept` pages are remembered so that they need not be read from it again.
  void apply(PageSource& source, const std::vector<SourcePage>& pages, PageNo page_count_after);
  void owner_changed(const std::vector<PageNo>& pages) {
    pending_owners_.insert(pending_owners_.end(), pages.begin(), pages.end());
  }
  size_t pending_pages() const { return pending_.size(); }
  // Writes the redo of everything pending; inside the caller's state.db transaction.
  Result<void> write_redo(Connection& state, uint32_t generation);
  // That transaction was committed.
  void committed();

  size_t overlay_bytes() const { return overlay_bytes_; }
  size_t overlay_pages() const { return overlay_.size(); }
  bool overlay_spilled() const { return spilled_; }
  // Makes state.db durable, brings the files up to date, syncs them, drops the redo. Between batches only.
  Result<void> write_back();

  // An image of what the files hold now, that stays as it is while the replica goes on. Right after write_back() only.
  // It keeps the replica alive.
  Result<std::unique_ptr<PageImage>> pin(uint32_t generation);
  // The files are about to be opened anew by another Replica: images read from now on fail with `transient`.
  void invalidate_pins();
  // Gives back what only makes the next look quicker.
  void forget_pages() { cache_.clear(); }

 private:
  class PinnedImage;
  struct Change {
    Bytes body;  // empty and in_state: read it from state.db
    bool in_state = false;
    bool has_body = false;  // false: only the owner changed
    uint32_t generation = 0;
  };
  explicit Replica(const Setup& setup) : setup_(setup), cache_(setup.cache_bytes_max) {}
  void beat() {
    if (setup_.pulse) setup_.pulse->beat();
  }
  Result<PageNo> load_map();
  Result<void> load_redo();
  Result<Bytes> redo_body(PageNo number, const Change& change);
  Result<void> write_page_and_entry(PageNo number, const Change& change);
  Result<void> preserve_for_pins(PageNo number);

  Setup setup_;
  std::unique_ptr<File> pages_, map_;
  uint32_t page_size_ = 0;
  PageNo page_count_ = 0;
  OwnerMap owners_;
  PageCache cache_;
  std::unordered_map<PageNo, Change> overlay_;
  size_t overlay_bytes_ = 0;
  bool spilled_ = false;
  // The page file may hold content that a power cut takes back: a write-back failed half-way, in this run or before
  // this start. A change relative to such content would be lost with it, so redo then holds whole pages.
  bool files_in_doubt_ = true;
  PageSource* source_ = nullptr;
  std::unordered_map<PageNo, uint64_t> pending_;  // page → where the source has it
  std::vector<PageNo> pending_owners_;
  std::unordered_map<PageNo, Change> written_;  // redo of the batch that is being committed
  std::mutex pin_mutex_;                        // guards the files and pins_ between capture and a snapshot
  std::list<PinnedImage*> pins_;
};

// Change of a page as absolute bytes: 0 and the whole page, or 1 and runs of (gap, length, bytes). Applying it twice,
// or to a page of which a part was changed already, gives the same page.
void encode_page_change(ByteView base, ByteView now, Bytes& out);
void whole_page_change(ByteView now, Bytes& out);
Result<void> apply_page_change(ByteView change, MutableBytes page);

}  // namespace tillsync
