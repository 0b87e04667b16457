// A terminal that makes snapshots of an invented database into a store in memory.
#pragma once

#include <map>

#include "ports/object_keys.h"
#include "snapshot/builder.h"
#include "snapshot/chain.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/results.h"

namespace tillsync::test {

// Pages of invented content, some alike; counts reads so that a test can bound them.
class SyntheticImage : public PageImage {
 public:
  explicit SyntheticImage(uint32_t page_size) : page_size_(page_size) {}
  uint32_t page_size() const override { return page_size_; }
  PageNo page_count() const override { return static_cast<PageNo>(pages.size()); }
  Result<void> read(PageNo first, MutableBytes out) override {
    for (size_t i = 0; i * page_size_ < out.size(); i++)
      std::copy(pages[first - 1 + i].begin(), pages[first - 1 + i].end(),
                out.begin() + static_cast<ptrdiff_t>(i * page_size_));
    return {};
  }
  Result<void> generations(PageNo first, std::span<uint32_t> out) override {
    std::copy_n(changed_in.begin() + (first - 1), out.size(), out.begin());
    return {};
  }

  void resize(size_t count, uint32_t generation, SeededRandom& random) {
    size_t before = pages.size();
    pages.resize(count);
    changed_in.resize(count);
    for (size_t i = before; i < count; i++) change(i, generation, random);
  }
  void change(size_t at, uint32_t generation, SeededRandom& random) {
    pages[at].assign(page_size_, static_cast<uint8_t>(random.next()));
    random.fill(MutableBytes(pages[at]).first(page_size_ / 4));
    changed_in[at] = generation;
  }
  Bytes whole() const {
    Bytes out;
    for (auto& page : pages) append(out, page);
    return out;
  }
  std::vector<Bytes> pages;
  std::vector<uint32_t> changed_in;  // generations

 private:
  uint32_t page_size_;
};

struct SnapshotWorld {
  MemoryFileSystem files;
  MemoryObjectStore store;
  SeededRandom random{1};
  Lineage lineage{Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "till", 3};
  SyntheticImage image;
  uint32_t generation = 1;  // of the changes that come next
  uint64_t sequence = 10;
  uint64_t pack_size_target = 64 << 20;
  bool deduplicate = true;
  std::map<Digest, StoredBlock> stored;
  std::vector<SpooledPack> last_packs;

  explicit SnapshotWorld(uint32_t page_size = 512) : image(page_size) { files.add_directory("/spool"); }

  Result<BuiltSnapshot> build(SnapshotType type, const Manifest* from = nullptr) {
    SnapshotPlan plan;
    Manifest& m = plan.metadata;
    std::array<uint8_t, 10> bits;
    random.fill(bits);
    m.uuid = uuid_v7(from_ms(1767225600000 + static_cast<int64_t>(generation)), bits);
    m.name = "nightly";
    m.type = type;
    m.lineage = lineage;
    m.created_at = m.captured_at = from_ms(1767225600000 + static_cast<int64_t>(generation));
    m.sequence = sequence;
    m.transaction = sequence / 2;
    m.generation = generation;
    m.schema_version = 4;
    m.app_version = "pos 1.2";
    m.schema = {"CREATE TABLE sale(id INTEGER PRIMARY KEY, total)"};
    TableDigest sale{"sale", 17, {}};
    sale.digest.add(sha256(as_bytes("row")));
    m.tables = {sale};
    m.action_log_count = 9;
    m.entity_uuid_count = 8;
    m.configuration = {{"printer", "front"}};
    plan.from = from;
    plan.pack_size_target = pack_size_target;
    if (deduplicate)
      plan.lookup = [this](const Digest& name) -> Result<std::optional<StoredBlock>> {
        auto it = stored.find(name);
        return it == stored.end() ? std::nullopt : std::optional<StoredBlock>(it->second);
      };
    return build_snapshot(plan, image, files, "/spool", random);
  }

  void upload(const BuiltSnapshot& built) {
    for (auto& pack : built.packs) {
      Bytes bytes = must(read_file(files, pack.path, 1 << 30));
      BytesSource source(bytes);
      must(store.put(pack.ref.key, source));
      for (uint32_t i = 0; i < pack.runs.size(); i++) stored[pack.runs[i]] = {pack.ref.key, i, pack.ref.size};
    }
    BytesSource source(built.manifest_bytes);
    must(store.put(built.manifest_key, source));
    last_packs = built.packs;
  }

  // A snapshot of the image as it is, in the store; changes after it belong to the next generation.
  Manifest take(SnapshotType type, const Manifest* from = nullptr) {
    auto built = must(build(type, from));
    upload(built);
    generation++;
    sequence += 10;
    return built.manifest;
  }

  Result<Bytes> restore(const Uuid& snapshot) {
    TILLSYNC_LET(auto chain, resolve_chain(store, lineage, snapshot));
    TILLSYNC_LET(auto file, files.open("/spool/staging", OpenMode::create));
    TILLSYNC_TRY(materialize(store, chain, *file));
    return read_file(files, "/spool/staging", 1 << 30);
  }
};

}  // namespace tillsync::test
