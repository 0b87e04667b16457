#include "capture/replica.h"

#include <algorithm>

#include "base/checks.h"

namespace tillsync {

namespace {
constexpr size_t kMapEntry = 8;  // owner, generation

std::string pages_path(const std::string& folder, int64_t number) {
  return folder + "/replica-" + std::to_string(number) + ".db";
}
std::string map_path(const std::string& folder, int64_t number) {
  return folder + "/replica-" + std::to_string(number) + ".map";
}
}  // namespace

// What the files held when it was made. A page that write_back() is about to change is copied to a side file first.
class Replica::PinnedImage : public PageImage {
 public:
  PinnedImage(std::shared_ptr<Replica> replica, uint32_t generation)
      : replica_(std::move(replica)),
        page_count_(replica_->page_count_),
        page_size_(replica_->page_size_),
        generation_(generation) {}
  ~PinnedImage() override {
    std::lock_guard lock(replica_->pin_mutex_);
    replica_->pins_.remove(this);
  }
  uint32_t page_size() const override { return page_size_; }
  PageNo page_count() const override { return page_count_; }
  Result<void> read(PageNo first, MutableBytes out) override {
    std::lock_guard lock(replica_->pin_mutex_);
    if (!valid_) return interrupted();
    TILLSYNC_TRY(replica_->read_base(first, out));
    if (saved_.empty()) return {};
    for (size_t at = 0; at < out.size(); at += page_size_) {
      const auto saved = saved_.find(static_cast<PageNo>(first + at / page_size_));
      if (saved == saved_.end()) continue;
      TILLSYNC_LET(size_t got, side_->read(saved->second.offset, out.subspan(at, page_size_)));
      if (got != page_size_) return Error{ErrorKind::corrupt, 0, "the side file of a snapshot ends early"};
    }
    return {};
  }
  Result<void> generations(PageNo first, std::span<uint32_t> out) override {
    std::lock_guard lock(replica_->pin_mutex_);
    if (!valid_) return interrupted();
    TILLSYNC_TRY(file_generations(first, out));
    if (saved_.empty()) return {};
    for (size_t i = 0; i < out.size(); i++)
      if (const auto saved = saved_.find(static_cast<PageNo>(first + i)); saved != saved_.end())
        out[i] = saved->second.generation;
    return {};
  }
  // Called with the lock held, before the page changes in the file.
  Result<void> preserve(PageNo page) {
    if (page > page_count_ || saved_.contains(page)) return {};
    if (!side_) {
      std::string path = replica_->setup_.folder + "/pinned-" + std::to_string(generation_) + ".tmp";
      (void)replica_->setup_.files->remove(path).has_value();
      TILLSYNC_LET(side_, replica_->setup_.files->open(path, OpenMode::create_new));
      // It lives only as long as it is open.
      TILLSYNC_TRY(replica_->setup_.files->remove(path));
    }
    Bytes content(page_size_);
    TILLSYNC_TRY(replica_->read_base(page, content));
    uint32_t generation = 0;
    TILLSYNC_TRY(file_generations(page, {&generation, 1}));
    TILLSYNC_TRY(side_->write(side_size_, content));
    saved_[page] = {side_size_, generation};
    side_size_ += page_size_;
    return {};
  }
  void invalidate() { valid_ = false; }

 private:
  struct Saved {
    uint64_t offset;
    uint32_t generation;
  };
  // What the map has no entry of is 0.
  Result<void> file_generations(PageNo first, std::span<uint32_t> out) {
    Bytes raw(out.size() * kMapEntry);
    TILLSYNC_LET(const size_t got, replica_->map_->read(uint64_t{first} * kMapEntry, raw));
    std::fill(raw.begin() + static_cast<ptrdiff_t>(got), raw.end(), uint8_t{0});
    for (size_t i = 0; i < out.size(); i++) out[i] = le32(raw.data() + i * kMapEntry + 4);
    return {};
  }
  static Error interrupted() {
    return Error{ErrorKind::transient, 0, "capture was restarted while a snapshot was read; it is taken again"};
  }
  std::shared_ptr<Replica> replica_;
  bool valid_ = true;
  PageNo page_count_;
  uint32_t page_size_;
  uint32_t generation_;
  std::unique_ptr<File> side_;
  uint64_t side_size_ = 0;
  std::unordered_map<PageNo, Saved> saved_;
};

void Replica::invalidate_pins() {
  std::lock_guard lock(pin_mutex_);
  for (auto* pin : pins_) pin->invalidate();
  pins_.clear();
}

void Replica::remove_files(FileSystem& files, const std::string& folder, int64_t number) {
  (void)files.remove(pages_path(folder, number)).has_value();
  (void)files.remove(map_path(folder, number)).has_value();
}

Result<std::shared_ptr<Replica>> Replica::create(const Setup& setup, uint32_t page_size, PageNo page_count) {
  TILLSYNC_TRY(setup.files->make_directories(setup.folder));
  // The folder's own name: without it a power cut takes the folder away from under a state.db that says it is whole.
  TILLSYNC_TRY(setup.files->sync_directory(directory_of(setup.folder)));
  remove_files(*setup.files, setup.folder, setup.number);
  std::shared_ptr<Replica> replica(new Replica(setup));
  replica->page_size_ = page_size;
  replica->page_count_ = page_count;
  TILLSYNC_LET(replica->pages_, setup.files->open(pages_path(setup.folder, setup.number), OpenMode::create_new));
  TILLSYNC_LET(replica->map_, setup.files->open(map_path(setup.folder, setup.number), OpenMode::create_new));
  replica->owners_.resize(page_count);
  return replica;
}

Result<std::shared_ptr<Replica>> Replica::open(const Setup& setup, uint32_t page_size, PageNo page_count) {
  std::shared_ptr<Replica> replica(new Replica(setup));
  replica->page_size_ = page_size;
  replica->page_count_ = page_count;
  TILLSYNC_LET(replica->pages_, setup.files->open(pages_path(setup.folder, setup.number), OpenMode::read_write));
  TILLSYNC_LET(replica->map_, setup.files->open(map_path(setup.folder, setup.number), OpenMode::read_write));
  TILLSYNC_LET(PageNo mapped, replica->load_map());
  TILLSYNC_TRY(replica->load_redo());
  // A page without an owner would be passed over in silence.
  for (PageNo page = mapped + 1; page <= page_count; page++)
    if (!replica->overlay_.contains(page))
      return Error{ErrorKind::corrupt, 0,
                   map_path(setup.folder, setup.number) + ": it ends before page " + std::to_string(page) + " of " +
                       std::to_string(page_count)};
  return replica;
}

// Says up to which page there are entries.
Result<PageNo> Replica::load_map() {
  owners_.resize(page_count_);
  Bytes chunk(64 << 10);
  PageNo page = 0;
  while (page <= page_count_) {
    TILLSYNC_LET(size_t got, map_->read(uint64_t{page} * kMapEntry, chunk));
    size_t entries = got / kMapEntry;
    for (size_t i = 0; i < entries && page <= page_count_; i++, page++)
      owners_.set_raw(page, le32(chunk.data() + i * kMapEntry));
    if (entries == 0) break;
  }
  return page ? page - 1 : 0;
}

Result<void> Replica::load_redo() {
  auto state = setup_.state->lease();
  TILLSYNC_LET(auto query, state->prepare("SELECT id, owner, generation, body FROM redo WHERE id BETWEEN ? AND ?"));
  query.bind(1, scoped_id(setup_.database_id, 0)).bind(2, scoped_id(setup_.database_id, ~0u));
  while (true) {
    TILLSYNC_LET(bool row, query.step());
    if (!row) return {};
    beat();
    PageNo page = static_cast<PageNo>(number_of(query.integer(0)));
    if (page > page_count_) continue;
    owners_.set_raw(page, static_cast<uint32_t>(query.integer(1)));
    Change change;
    change.generation = static_cast<uint32_t>(query.integer(2));
    change.has_body = !query.is_null(3);
    if (change.has_body) {
      ByteView body = query.blob(3);
      change.in_state = overlay_bytes_ + body.size() > setup_.overlay_bytes_max;
      if (!change.in_state) {
        change.body = to_bytes(body);
        overlay_bytes_ += body.size();
      }
      spilled_ |= change.in_state;
    }
    overlay_[page] = std::move(change);
  }
}

Result<Bytes> Replica::redo_body(PageNo number, const Change& change) {
  if (!change.in_state) return change.body;
  auto state = setup_.state->lease();
  TILLSYNC_LET(auto query, state->cached("SELECT body FROM redo WHERE id=?"));
  query->bind(1, scoped_id(setup_.database_id, number));
  TILLSYNC_LET(bool found, query->step());
  if (!found)
    return Error{ErrorKind::corrupt, 0, "the redo of page " + std::to_string(number) + " is missing in state.db"};
  Bytes body = to_bytes(query->blob(0));
  query->reset();
  return body;
}

Result<void> Replica::read_base(PageNo number, MutableBytes out) {
  TILLSYNC_LET(size_t got, pages_->read(uint64_t{number - 1} * page_size_, out));
  std::fill(out.begin() + static_cast<ptrdiff_t>(got), out.end(), uint8_t{0});
  return {};
}

Result<PageRef> Replica::page(PageNo number) {
  if (PageRef cached = cache_.get(number)) return cached;
  if (number == 0 || number > page_count_)
    return Error{ErrorKind::corrupt, 0, "page " + std::to_string(number) + " lies outside the replica"};
  PageRef page;
  if (auto pending = pending_.find(number); pending != pending_.end()) {
    TILLSYNC_LET(page, source_->read(number, pending->second));
  } else {
    page = PageRef::allocate(page_size_);
    TILLSYNC_TRY(read_base(number, page.mutable_view()));
    if (auto change = overlay_.find(number); change != overlay_.end() && change->second.has_body) {
      if (change->second.in_state) {
        TILLSYNC_LET(Bytes body, redo_body(number, change->second));
        TILLSYNC_TRY(apply_page_change(body, page.mutable_view()));
      } else {
        TILLSYNC_TRY(apply_page_change(change->second.body, page.mutable_view()));
      }
    }
  }
  cache_.put(number, page);
  return page;
}

Result<void> Replica::write_baseline_page(PageNo number, ByteView content) {
  return pages_->write(uint64_t{number - 1} * page_size_, content);
}

Result<void> Replica::finish_baseline(uint32_t generation) {
  Bytes chunk;
  uint64_t offset = 0;
  for (PageNo page = 0; page <= page_count_; page++) {
    ByteWriter w(chunk);
    w.u32(owners_.raw(page));
    w.u32(page ? generation : 0);
    if (chunk.size() >= 64 << 10 || page == page_count_) {
      TILLSYNC_TRY(map_->write(offset, chunk));
      offset += chunk.size();
      chunk.clear();
    }
  }
  TILLSYNC_TRY(pages_->sync());
  TILLSYNC_TRY(map_->sync());
  files_in_doubt_ = false;
  // What all of it was read through is none of what is needed next.
  cache_.clear();
  return setup_.files->sync_directory(setup_.folder);
}

void Replica::apply(PageSource& source, const std::vector<SourcePage>& pages, PageNo page_count_after) {
  source_ = &source;
  for (auto& page : pages) {
    pending_[page.page] = page.where;
    if (page.content) {
      cache_.put(page.page, page.content);
    } else {
      cache_.erase(page.page);
    }
  }
  for (PageNo page = page_count_after + 1; page <= page_count_; page++) {
    pending_.erase(page);
    cache_.erase(page);
  }
  // A page that was cut off and comes back without a frame must not keep the owner it had.
  for (PageNo page = page_count_ + 1; page <= page_count_after; page++) pending_owners_.push_back(page);
  page_count_ = page_count_after;
}

Result<void> Replica::write_redo(Connection& state, uint32_t generation) {
  TILLSYNC_LET(
      auto put,
      state.cached(
          "INSERT INTO redo(id, owner, generation, body) VALUES(?,?,?,?)"
          " ON CONFLICT(id) DO UPDATE SET owner=excluded.owner, generation=excluded.generation, body=excluded.body"));
  Bytes base(page_size_), body;
  size_t written_bytes = 0;
  for (auto& [number, where] : pending_) {
    beat();
    TILLSYNC_LET(PageRef now, page(number));
    TILLSYNC_TRY(read_base(number, base));
    if (files_in_doubt_) {
      whole_page_change(now.view(), body);
    } else {
      encode_page_change(base, now.view(), body);
    }
    put->bind(1, scoped_id(setup_.database_id, number))
        .bind(2, owners_.raw(number))
        .bind(3, generation)
        .bind_static(4, body);
    TILLSYNC_TRY(put->run());
    Change& change = written_[number];
    change.generation = generation;
    change.has_body = true;
    change.in_state = overlay_bytes_ + written_bytes + body.size() > setup_.overlay_bytes_max;
    if (!change.in_state) {
      change.body = body;
      written_bytes += body.size();
    }
  }
  TILLSYNC_LET(auto owner, state.cached("INSERT INTO redo(id, owner, generation, body) VALUES(?,?,?,NULL)"
                                        " ON CONFLICT(id) DO UPDATE SET owner=excluded.owner"));
  for (PageNo number : pending_owners_) {
    if (number > page_count_ || pending_.contains(number)) continue;
    owner->bind(1, scoped_id(setup_.database_id, number)).bind(2, owners_.raw(number)).bind(3, generation);
    TILLSYNC_TRY(owner->run());
    if (!overlay_.contains(number)) written_[number].generation = generation;
  }
  TILLSYNC_LET(auto cut, state.cached("DELETE FROM redo WHERE id BETWEEN ? AND ?"));
  cut->bind(1, scoped_id(setup_.database_id, uint64_t{page_count_} + 1)).bind(2, scoped_id(setup_.database_id, ~0u));
  return cut->run();
}

void Replica::committed() {
  for (auto& [number, change] : written_) {
    auto& slot = overlay_[number];
    if (!change.has_body && slot.has_body) continue;
    overlay_bytes_ -= slot.body.size();
    slot = std::move(change);
    overlay_bytes_ += slot.body.size();
    spilled_ |= slot.in_state;
  }
  for (auto it = overlay_.begin(); it != overlay_.end();) {
    if (it->first > page_count_) {
      overlay_bytes_ -= it->second.body.size();
      it = overlay_.erase(it);
    } else {
      ++it;
    }
  }
  written_.clear();
  pending_.clear();
  pending_owners_.clear();
  source_ = nullptr;
}

Result<void> Replica::preserve_for_pins(PageNo number) {
  for (auto* pin : pins_) TILLSYNC_TRY(pin->preserve(number));
  return {};
}

Result<void> Replica::write_page_and_entry(PageNo number, const Change& change) {
  std::lock_guard lock(pin_mutex_);
  TILLSYNC_TRY(preserve_for_pins(number));
  uint8_t entry[kMapEntry];
  uint32_t owner = owners_.raw(number);
  std::memcpy(entry, &owner, 4);
  if (change.has_body) {
    TILLSYNC_LET(PageRef content, page(number));
    TILLSYNC_TRY(pages_->write(uint64_t{number - 1} * page_size_, content.view()));
    std::memcpy(entry + 4, &change.generation, 4);
    return map_->write(uint64_t{number} * kMapEntry, entry);
  }
  return map_->write(uint64_t{number} * kMapEntry, {entry, 4});
}

Result<void> Replica::write_back() {
  TILLSYNC_CHECK(pending_.empty());
  TILLSYNC_LET(uint64_t size, pages_->size());
  bool shrinks = size > uint64_t{page_count_} * page_size_;
  if (overlay_.empty() && !shrinks) return {};
  TILLSYNC_TRY(setup_.state->make_durable());
  std::vector<PageNo> order;
  order.reserve(overlay_.size());
  for (auto& entry : overlay_) order.push_back(entry.first);
  std::sort(order.begin(), order.end());
  files_in_doubt_ = true;
  for (PageNo number : order) {
    beat();
    TILLSYNC_TRY(write_page_and_entry(number, overlay_[number]));
  }
  if (shrinks) {
    std::lock_guard lock(pin_mutex_);
    for (PageNo number = page_count_ + 1; number <= size / page_size_; number++)
      TILLSYNC_TRY(preserve_for_pins(number));
    beat();
    TILLSYNC_TRY(pages_->truncate(uint64_t{page_count_} * page_size_));
    TILLSYNC_TRY(map_->truncate((uint64_t{page_count_} + 1) * kMapEntry));
  }
  beat();
  TILLSYNC_TRY(pages_->sync());
  TILLSYNC_TRY(map_->sync());
  files_in_doubt_ = false;
  auto state = setup_.state->lease();
  TILLSYNC_LET(auto drop, state->cached("DELETE FROM redo WHERE id BETWEEN ? AND ?"));
  drop->bind(1, scoped_id(setup_.database_id, 0)).bind(2, scoped_id(setup_.database_id, ~0u));
  TILLSYNC_TRY(drop->run());
  overlay_.clear();
  overlay_bytes_ = 0;
  spilled_ = false;
  return {};
}

Result<std::unique_ptr<PageImage>> Replica::pin(uint32_t generation) {
  TILLSYNC_CHECK(pending_.empty() && overlay_.empty());
  auto image = std::make_unique<PinnedImage>(shared_from_this(), generation);
  std::lock_guard lock(pin_mutex_);
  pins_.push_back(image.get());
  return std::unique_ptr<PageImage>(std::move(image));
}

}  // namespace tillsync
