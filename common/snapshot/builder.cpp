#include "snapshot/builder.h"

#include <map>

#include "base/checks.h"
#include "ports/object_keys.h"
#include "snapshot/pack_writer.h"

namespace tillsync {

namespace {

class Builder {
 public:
  Builder(const SnapshotPlan& plan, PageImage& image, FileSystem& files, const std::string& folder, Random& random)
      : plan_(plan),
        image_(image),
        files_(files),
        folder_(folder),
        random_(random),
        prefix_(prefix_of(plan.metadata.lineage)) {
    out_.manifest = plan.metadata;
  }

  Result<BuiltSnapshot> build() {
    Manifest& m = out_.manifest;
    m.page_size = image_.page_size();
    m.page_count = image_.page_count();
    m.packs.clear();
    m.map.clear();
    m.size = m.stored_bytes = 0;
    TILLSYNC_TRY(prepare_relations());
    buffer_.resize(size_t{kPagesPerBlock} * m.page_size);
    TILLSYNC_TRY(m.type == SnapshotType::full ? add_runs() : add_changes());
    TILLSYNC_TRY(finish_pack());
    out_.manifest_bytes = m.encode(random_);
    out_.manifest_key = keys::manifest(prefix_, m.uuid);
    return std::move(out_);
  }
  // After a build that failed: what it made so far is of no use.
  void discard() {
    for (auto& pack : out_.packs) (void)files_.remove(pack.path).has_value();
  }

 private:
  Result<void> prepare_relations() {
    Manifest& m = out_.manifest;
    if (m.type == SnapshotType::full) {
      m.parent.reset();
      m.base.reset();
      return {};
    }
    TILLSYNC_CHECK(plan_.from != nullptr);
    const Manifest& from = *plan_.from;
    if (from.page_size != m.page_size)
      return Error{ErrorKind::conflict, 0,
                   "the page size changed from " + std::to_string(from.page_size) + " to " +
                       std::to_string(m.page_size) + " since snapshot " + from.uuid.str() +
                       "; a FULL snapshot is needed"};
    if (from.lineage != m.lineage)
      return Error{ErrorKind::usage, 0, "snapshot " + from.uuid.str() + " is of another terminal, database or epoch"};
    if (from.is_page_level())
      return Error{ErrorKind::usage, 0,
                   "snapshot " + from.uuid.str() + " is of a damaged database: nothing goes on from it"};
    if (m.type == SnapshotType::incremental) {
      m.parent = from.uuid;
      m.base = from.type == SnapshotType::full ? from.uuid : from.base;
    } else {
      if (from.type != SnapshotType::full)
        return Error{ErrorKind::usage, 0, "a DIFFERENTIAL snapshot goes on from a FULL one"};
      m.base = from.uuid;
      if (!m.parent) m.parent = from.uuid;
    }
    return {};
  }

  Result<void> tell(uint64_t done) {
    if (plan_.progress && !plan_.progress(done, out_.manifest.page_count))
      return Error{ErrorKind::cancelled, 0, "cancelled"};
    return {};
  }

  Result<PackWriter*> writer() {
    if (writer_ && writer_->size() >= plan_.pack_size_target) TILLSYNC_TRY(finish_pack());
    if (!writer_) {
      TILLSYNC_LET(auto made,
                   PackWriter::create(files_, folder_, plan_.metadata.lineage, out_.manifest.page_size, random_));
      writer_ = std::make_unique<PackWriter>(std::move(made));
      // Its place in the list is taken now; the key is known when it is finished.
      current_pack_ = static_cast<uint32_t>(out_.manifest.packs.size());
      out_.manifest.packs.emplace_back();
    }
    return writer_.get();
  }

  Result<void> finish_pack() {
    if (!writer_) return {};
    TILLSYNC_LET(auto pack, writer_->finish());
    writer_.reset();
    SpooledPack spooled;
    spooled.ref = {keys::pack(prefix_, pack.sha256), pack.sha256, pack.size};
    spooled.path = std::move(pack.path);
    for (auto& block : pack.index.blocks)
      if (block.kind == BlockKind::run) spooled.runs.push_back(block.name);
    out_.manifest.packs[current_pack_] = spooled.ref;
    out_.manifest.stored_bytes += pack.size;
    out_.packs.push_back(std::move(spooled));
    return {};
  }

  Result<void> add_runs() {
    Manifest& m = out_.manifest;
    for (uint64_t first = 1; first <= m.page_count; first += kPagesPerBlock) {
      uint64_t pages = std::min<uint64_t>(kPagesPerBlock, m.page_count - first + 1);
      MutableBytes raw(buffer_.data(), pages * m.page_size);
      for (uint64_t i = 0; i < pages; i++)
        TILLSYNC_TRY(image_.read(static_cast<PageNo>(first + i), raw.subspan(i * m.page_size, m.page_size)));
      m.size += raw.size();
      Digest name = sha256(raw);
      TILLSYNC_LET(RunRef run, place(name, raw));
      m.map.push_back(run);
      TILLSYNC_TRY(tell(first + pages - 1));
    }
    return {};
  }

  Result<RunRef> place(const Digest& name, ByteView raw) {
    if (plan_.lookup) {
      auto here = placed_.find(name);
      if (here != placed_.end()) return here->second;
      TILLSYNC_LET(auto stored, plan_.lookup(name));
      if (stored) {
        TILLSYNC_LET(uint32_t pack, pack_in_store(*stored));
        return placed_[name] = RunRef{pack, stored->block, short_check(name)};
      }
    }
    TILLSYNC_LET(PackWriter * target, writer());
    TILLSYNC_LET(uint32_t block, target->add_run(raw, name, compressor_));
    RunRef run{current_pack_, block, short_check(name)};
    if (plan_.lookup) placed_[name] = run;
    return run;
  }

  Result<uint32_t> pack_in_store(const StoredBlock& stored) {
    auto [it, made] = known_packs_.try_emplace(stored.pack_key, static_cast<uint32_t>(out_.manifest.packs.size()));
    if (made) {
      auto sha = keys::sha256_of_pack(stored.pack_key);
      if (!sha)
        return Error{ErrorKind::corrupt, 0,
                     "the list of stored blocks names '" + stored.pack_key + "', which is not the key of a pack"};
      out_.manifest.packs.push_back({stored.pack_key, *sha, stored.pack_size});
    }
    return it->second;
  }

  Result<void> add_changes() {
    Manifest& m = out_.manifest;
    std::vector<PageNo> numbers;
    auto flush = [&]() -> Result<void> {
      if (numbers.empty()) return {};
      TILLSYNC_LET(PackWriter * target, writer());
      ByteView raw = ByteView(buffer_).first(numbers.size() * m.page_size);
      TILLSYNC_TRY(target->add_list(raw, numbers, compressor_));
      m.size += raw.size();
      numbers.clear();
      return {};
    };
    for (uint64_t page = 1; page <= m.page_count; page++) {
      auto number = static_cast<PageNo>(page);
      TILLSYNC_LET(uint32_t generation, image_.generation(number));
      // Pages the parent did not have are always held, so that a reader can prove that none is missing.
      if (generation > plan_.from->generation || number > plan_.from->page_count) {
        TILLSYNC_TRY(image_.read(number, MutableBytes(buffer_).subspan(numbers.size() * m.page_size, m.page_size)));
        numbers.push_back(number);
        if (numbers.size() == kPagesPerBlock) TILLSYNC_TRY(flush());
      }
      if (page % 1024 == 0) TILLSYNC_TRY(tell(page));
    }
    TILLSYNC_TRY(flush());
    return tell(m.page_count);
  }

  const SnapshotPlan& plan_;
  PageImage& image_;
  FileSystem& files_;
  const std::string& folder_;
  Random& random_;
  const std::string prefix_;
  BuiltSnapshot out_;
  Bytes buffer_;
  Compressor compressor_;
  std::unique_ptr<PackWriter> writer_;
  uint32_t current_pack_ = 0;
  std::map<Digest, RunRef> placed_;
  std::map<std::string, uint32_t> known_packs_;
};

}  // namespace

Result<BuiltSnapshot> build_snapshot(const SnapshotPlan& plan, PageImage& image, FileSystem& files,
                                     const std::string& spool_folder, Random& random) {
  Builder builder(plan, image, files, spool_folder, random);
  auto built = builder.build();
  if (!built) builder.discard();
  return std::move(built).with("snapshot " + plan.metadata.uuid.str());
}

}  // namespace tillsync
