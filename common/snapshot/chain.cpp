#include "snapshot/chain.h"

#include <algorithm>

#include "base/ordered_workers.h"
#include "ports/object_keys.h"
#include "snapshot/pack_reader.h"

namespace tillsync {

namespace {

constexpr size_t kLinksMax = 100'000;

std::string key_of(const Manifest& m) { return keys::manifest(prefix_of(m.lineage), m.uuid); }
Error corrupt(const Manifest& m, std::string_view why) {
  return Error{ErrorKind::corrupt, 0, key_of(m) + ": " + std::string(why)};
}

Result<void> check_link(const Manifest& before, const Manifest& after) {
  std::string from = "snapshot " + before.uuid.str() + " before it";
  if (before.is_page_level()) return corrupt(after, "it goes on from the " + from + ", which is of a damaged database");
  if (before.page_size != after.page_size) return corrupt(after, "it has another page size than the " + from);
  if (before.sequence > after.sequence || before.transaction > after.transaction)
    return corrupt(after, "it ends earlier in the log than the " + from);
  // Strictly: so that a chain cannot run in a circle either.
  if (before.generation >= after.generation) return corrupt(after, "its generation is not after that of the " + from);
  if (after.type == SnapshotType::differential && before.type != SnapshotType::full)
    return corrupt(after, "it is DIFFERENTIAL and its base is not a FULL snapshot");
  return {};
}

struct Unpacking {
  std::shared_ptr<const BlockOpener> opener;
  PackBlock block;
  Bytes stored, raw;
  std::vector<uint32_t> runs;  // of a run block: what of the database it is
  Result<void> outcome;
};

std::function<void(Unpacking&)> unpack() {
  return [plain = Bytes()](Unpacking& one) mutable {
    one.outcome = one.opener->open(one.block, one.stored, plain, one.raw);
  };
}

class Materializer {
 public:
  Materializer(ObjectStore& store, const SnapshotChain& chain, File& out,
               const std::function<bool(uint64_t, uint64_t)>& progress, bool to_keep)
      : store_(store),
        chain_(chain),
        out_(out),
        progress_(progress),
        to_keep_(to_keep),
        page_size_(chain.target().page_size),
        blocks_(worker_threads(), blocks_under_way(page_size_), unpack) {
    for (auto& link : chain.links) total_ += link.size;
  }

  Result<void> run() {
    TILLSYNC_TRY(out_.truncate(0));
    TILLSYNC_TRY(full(chain_.links.front()));
    for (size_t i = 1; i < chain_.links.size(); i++)
      TILLSYNC_TRY(changes(chain_.links[i], chain_.links[i - 1].page_count));
    return {};
  }

 private:
  Result<PackReader> open(const PackRef& pack, const Manifest& m) {
    TILLSYNC_LET(auto reader, PackReader::open(store_, pack.key, m.lineage, pack.size));
    if (reader.index().page_size != page_size_)
      return Error{ErrorKind::corrupt, 0, pack.key + ": it has another page size than the snapshot"};
    return reader;
  }

  Result<void> tell(uint64_t bytes) {
    done_ += bytes;
    if (progress_ && !progress_(done_, total_)) return Error{ErrorKind::cancelled, 0, "cancelled"};
    return {};
  }

  // Pack by pack, so that each is opened once and only one index is held.
  Result<void> full(const Manifest& m) {
    std::vector<uint32_t> runs(m.map.size());
    for (uint32_t i = 0; i < runs.size(); i++) runs[i] = i;
    std::sort(runs.begin(), runs.end(), [&](uint32_t a, uint32_t b) {
      return std::tie(m.map[a].pack, m.map[a].block, a) < std::tie(m.map[b].pack, m.map[b].block, b);
    });
    for (size_t i = 0; i < runs.size();) {
      uint32_t pack = m.map[runs[i]].pack;
      TILLSYNC_LET(auto reader, open(m.packs[pack], m));
      while (i < runs.size() && m.map[runs[i]].pack == pack) {
        const RunRef& run = m.map[runs[i]];
        TILLSYNC_TRY(check_run(m, run, reader.index(), m.packs[pack].key, runs[i]));
        // One block may be the content of many runs.
        const size_t first = i;
        for (; i < runs.size() && m.map[runs[i]].pack == pack && m.map[runs[i]].block == run.block; i++)
          TILLSYNC_TRY(check_run(m, m.map[runs[i]], reader.index(), m.packs[pack].key, runs[i]));
        TILLSYNC_TRY(take(reader, run.block,
                          {runs.begin() + static_cast<ptrdiff_t>(first), runs.begin() + static_cast<ptrdiff_t>(i)}));
      }
    }
    while (!blocks_.is_empty()) TILLSYNC_TRY(write_oldest());
    return out_.truncate(uint64_t{m.page_count} * page_size_);
  }

  Result<void> take(PackReader& reader, uint32_t number, std::vector<uint32_t> runs) {
    while (blocks_.is_full()) TILLSYNC_TRY(write_oldest());
    Unpacking& next = blocks_.next();
    TILLSYNC_TRY(reader.stored(number, next.stored));
    next.opener = reader.opener();
    next.block = reader.index().blocks[number];
    // Here, so that the threads' own heaps do not grow.
    next.raw.reserve(next.block.raw_length);
    next.runs = std::move(runs);
    blocks_.push();
    return {};
  }
  Result<void> write_oldest() {
    Unpacking& one = blocks_.pop();
    TILLSYNC_TRY(std::exchange(one.outcome, {}));
    const ByteView raw = one.raw;
    for (const uint32_t run : one.runs) {
      const uint64_t at = uint64_t{run} * kPagesPerBlock * page_size_;
      TILLSYNC_TRY(out_.write(at, raw));
      if (to_keep_) out_.begin_sync(at, raw.size());
      TILLSYNC_TRY(tell(raw.size()));
    }
    const auto& numbers = one.block.numbers;
    for (size_t i = 0; i < numbers.size();) {
      // Neighbours are written at once.
      size_t n = 1;
      while (i + n < numbers.size() && numbers[i + n] == numbers[i] + n) n++;
      TILLSYNC_TRY(out_.write(uint64_t{numbers[i] - 1} * page_size_, raw.subspan(i * page_size_, n * page_size_)));
      i += n;
    }
    return numbers.empty() ? Result<void>() : tell(raw.size());
  }

  static Result<void> check_run(const Manifest& m, const RunRef& run, const PackIndex& index,
                                const std::string& pack_key, uint32_t number) {
    uint32_t pages = std::min(kPagesPerBlock, m.page_count - number * kPagesPerBlock);
    auto wrong = [&](const char* why) {
      return corrupt(m, "its page map names block " + std::to_string(run.block) + " of " + pack_key + ", " + why);
    };
    if (run.block >= index.blocks.size()) return wrong("which is not there");
    const PackBlock& block = index.blocks[run.block];
    if (block.kind != BlockKind::run || block.pages != pages) return wrong("which does not hold such a run of pages");
    if (short_check(block.name) != run.name_check) return wrong("which has another content");
    return {};
  }

  Result<void> changes(const Manifest& m, PageNo page_count_before) {
    uint64_t new_pages = 0;
    PageNo last = 0;
    for (auto& ref : m.packs) {
      TILLSYNC_LET(auto reader, open(ref, m));
      for (uint32_t number = 0; number < reader.index().blocks.size(); number++) {
        const PackBlock& block = reader.index().blocks[number];
        auto wrong = [&](const char* why) {
          return Error{ErrorKind::corrupt, 0, ref.key + ": block " + std::to_string(number) + " " + why};
        };
        if (block.kind != BlockKind::list) return wrong("is not a list of changed pages");
        if (block.numbers.front() <= last) return wrong("holds pages that came before");
        last = block.numbers.back();
        if (last > m.page_count) return wrong("holds a page beyond the end of the database");
        TILLSYNC_TRY(take(reader, number, {}));
        new_pages += static_cast<uint64_t>(
            std::count_if(block.numbers.begin(), block.numbers.end(), [&](PageNo p) { return p > page_count_before; }));
      }
    }
    while (!blocks_.is_empty()) TILLSYNC_TRY(write_oldest());
    uint64_t grown = m.page_count > page_count_before ? m.page_count - page_count_before : 0;
    if (new_pages != grown)
      return corrupt(m, "the database grew by " + std::to_string(grown) + " pages and it holds " +
                            std::to_string(new_pages) + " of them");
    return out_.truncate(uint64_t{m.page_count} * page_size_);
  }

  ObjectStore& store_;
  const SnapshotChain& chain_;
  File& out_;
  const std::function<bool(uint64_t, uint64_t)>& progress_;
  const bool to_keep_;
  const uint32_t page_size_;
  uint64_t done_ = 0, total_ = 0;
  OrderedWorkers<Unpacking> blocks_;
};

}  // namespace

uint64_t SnapshotChain::stored_bytes() const {
  uint64_t sum = 0;
  for (auto& link : links)
    for (auto& pack : link.packs) sum += pack.size;
  return sum;
}

Result<SnapshotChain> resolve_chain(ObjectStore& store, const Lineage& lineage, const Uuid& snapshot) {
  SnapshotChain chain;
  TILLSYNC_LET(auto target, read_manifest(store, lineage, snapshot));
  chain.links.push_back(std::move(target));
  while (auto before = chain.links.back().predecessor()) {
    const Manifest& after = chain.links.back();
    TILLSYNC_LET(
        auto manifest,
        read_manifest(store, lineage, *before).with("snapshot " + snapshot.str() + " needs snapshot " + before->str()));
    TILLSYNC_TRY(check_link(manifest, after));
    if (chain.links.size() == kLinksMax) return corrupt(after, "the chain is too long");
    chain.links.push_back(std::move(manifest));
  }
  std::reverse(chain.links.begin(), chain.links.end());
  return chain;
}

Result<void> materialize(ObjectStore& store, const SnapshotChain& chain, File& out,
                         const std::function<bool(uint64_t, uint64_t)>& progress, bool to_keep) {
  return Materializer(store, chain, out, progress, to_keep).run();
}

}  // namespace tillsync
