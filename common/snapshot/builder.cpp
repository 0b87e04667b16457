#include "snapshot/builder.h"

#include <future>
#include <map>
#include <memory>

#include "base/checks.h"
#include "base/ordered_workers.h"
#include "compression/zstd.h"
#include "ports/object_keys.h"
#include "snapshot/pack_writer.h"

namespace tillsync {

namespace {

// Looked at between two reports of the progress.
constexpr size_t kGenerationsAtOnce = 1024;

struct Block {
  Bytes raw, compressed;
  std::optional<Digest> name;   // SHA-256 of the raw bytes, if it was known before
  size_t run = 0;               // its place in the map; of a FULL
  std::vector<PageNo> numbers;  // of a list
};

std::function<void(Block&)> name_and_compress() {
  return [compressor = std::make_shared<Compressor>(Compressor::Tuning::database_pages)](Block& block) {
    if (!block.name) block.name = sha256(block.raw);
    compressor->compress(block.raw, block.compressed);
  };
}

class Builder {
 public:
  Builder(const SnapshotPlan& plan, PageImage& image, FileSystem& files, const std::string& folder, Random& random)
      : plan_(plan),
        image_(image),
        files_(files),
        folder_(folder),
        random_(random),
        prefix_(prefix_of(plan.metadata.lineage)),
        blocks_(worker_threads(), blocks_under_way(image.page_size()), name_and_compress) {
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
    TILLSYNC_TRY(m.type == SnapshotType::full ? add_runs() : add_changes());
    while (!blocks_.is_empty()) TILLSYNC_TRY(store_oldest());
    TILLSYNC_TRY(finish_last_pack());
    for (auto& [run, same] : repeats_) m.map[run] = m.map[same];
    out_.manifest_bytes = m.encode(random_);
    out_.manifest_key = keys::manifest(prefix_, m.uuid);
    return std::move(out_);
  }
  // After a build that failed: what it made so far is of no use.
  void discard() {
    if (finishing_.valid())
      if (auto pack = finishing_.get()) (void)files_.remove(pack->path).has_value();
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

  // Made durable by a thread of its own: the blocks of the next pack need not wait for the disk.
  Result<void> finish_pack() {
    TILLSYNC_TRY(collect_finished());
    finishing_place_ = current_pack_;
    finishing_ = std::async(std::launch::async, [writer = std::move(writer_)] { return writer->finish(); });
    return {};
  }
  Result<void> finish_last_pack() {
    if (!writer_) return collect_finished();
    TILLSYNC_LET(auto pack, writer_->finish());
    writer_.reset();
    auto collected = collect_finished();
    if (!collected) {
      (void)files_.remove(pack.path).has_value();
      return collected;
    }
    add_pack(std::move(pack), current_pack_);
    return {};
  }
  Result<void> collect_finished() {
    if (!finishing_.valid()) return {};
    TILLSYNC_LET(auto pack, finishing_.get());
    add_pack(std::move(pack), finishing_place_);
    return {};
  }
  void add_pack(FinishedPack pack, uint32_t place) {
    SpooledPack spooled;
    spooled.ref = {keys::pack(prefix_, pack.sha256), pack.sha256, pack.size};
    spooled.path = std::move(pack.path);
    for (auto& block : pack.index.blocks)
      if (block.kind == BlockKind::run) spooled.runs.push_back(block.name);
    out_.manifest.packs[place] = spooled.ref;
    out_.manifest.stored_bytes += pack.size;
    out_.packs.push_back(std::move(spooled));
  }

  // The raw bytes of the next block, with room for all its pages.
  Result<MutableBytes> next_block() {
    while (blocks_.is_full()) TILLSYNC_TRY(store_oldest());
    Bytes& raw = blocks_.next().raw;
    raw.resize(size_t{kPagesPerBlock} * out_.manifest.page_size);
    return MutableBytes(raw);
  }
  void compress(size_t size, size_t run, std::vector<PageNo> numbers, const std::optional<Digest>& name = {}) {
    Block& block = blocks_.next();
    block.raw.resize(size);
    // Here, so that the threads' own heaps do not grow.
    block.compressed.reserve(Compressor::bound(size));
    block.name = name;
    block.run = run;
    block.numbers = std::move(numbers);
    blocks_.push();
  }
  Result<void> store_oldest() {
    Block& block = blocks_.pop();
    TILLSYNC_LET(PackWriter * target, writer());
    if (!block.numbers.empty()) {
      TILLSYNC_TRY(target->add_list(block.compressed, block.raw.size(), *block.name, std::move(block.numbers)));
      return {};
    }
    TILLSYNC_LET(const uint32_t number, target->add_run(block.compressed, block.raw.size(), *block.name));
    out_.manifest.map[block.run] = RunRef{current_pack_, number, short_check(*block.name)};
    return {};
  }

  Result<void> add_runs() {
    Manifest& m = out_.manifest;
    for (uint64_t first = 1; first <= m.page_count; first += kPagesPerBlock) {
      const uint64_t pages = std::min<uint64_t>(kPagesPerBlock, m.page_count - first + 1);
      TILLSYNC_LET(MutableBytes raw, next_block());
      raw = raw.first(pages * m.page_size);
      TILLSYNC_TRY(image_.read(static_cast<PageNo>(first), raw));
      m.size += raw.size();
      const size_t run = m.map.size();
      m.map.emplace_back();
      std::optional<Digest> name;
      bool is_known = false;
      if (plan_.lookup) {
        name = sha256(raw);
        TILLSYNC_LET(is_known, place_known(*name, run));
      }
      if (!is_known) compress(raw.size(), run, {}, name);
      TILLSYNC_TRY(tell(first + pages - 1));
    }
    return {};
  }

  // Whether the content of this run is stored already, or will be for an earlier one; its place in the map then says
  // so.
  Result<bool> place_known(const Digest& name, size_t run) {
    if (auto [same, is_first] = placed_.try_emplace(name, run); !is_first) {
      repeats_.emplace_back(run, same->second);
      return true;
    }
    TILLSYNC_LET(auto stored, plan_.lookup(name));
    if (!stored) return false;
    TILLSYNC_LET(const uint32_t pack, pack_in_store(*stored));
    out_.manifest.map[run] = RunRef{pack, stored->block, short_check(name)};
    return true;
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
    MutableBytes raw;
    const auto flush = [&] {
      if (numbers.empty()) return;
      const size_t size = numbers.size() * m.page_size;
      m.size += size;
      compress(size, 0, std::exchange(numbers, {}));
    };
    std::vector<uint32_t> generations;
    for (uint64_t first = 1; first <= m.page_count; first += generations.size()) {
      generations.resize(std::min<uint64_t>(kGenerationsAtOnce, m.page_count - first + 1));
      TILLSYNC_TRY(image_.generations(static_cast<PageNo>(first), generations));
      for (size_t i = 0; i < generations.size(); i++) {
        const auto number = static_cast<PageNo>(first + i);
        // Pages the parent did not have are always held, so that a reader can prove that none is missing.
        if (generations[i] <= plan_.from->generation && number <= plan_.from->page_count) continue;
        if (numbers.empty()) {
          TILLSYNC_LET(raw, next_block());
        }
        TILLSYNC_TRY(image_.read(number, raw.subspan(numbers.size() * m.page_size, m.page_size)));
        numbers.push_back(number);
        if (numbers.size() == kPagesPerBlock) flush();
      }
      TILLSYNC_TRY(tell(first + generations.size() - 1));
    }
    flush();
    return tell(m.page_count);
  }

  const SnapshotPlan& plan_;
  PageImage& image_;
  FileSystem& files_;
  const std::string& folder_;
  Random& random_;
  const std::string prefix_;
  BuiltSnapshot out_;
  OrderedWorkers<Block> blocks_;
  std::unique_ptr<PackWriter> writer_;
  uint32_t current_pack_ = 0;
  std::future<Result<FinishedPack>> finishing_;
  uint32_t finishing_place_ = 0;
  std::map<Digest, size_t> placed_;                 // content to the first run that has it
  std::vector<std::pair<size_t, size_t>> repeats_;  // runs of the same content as an earlier one
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
