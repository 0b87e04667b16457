#include "snapshot/pack_writer.h"

#include "base/checks.h"

namespace tillsync {

Result<PackWriter> PackWriter::create(FileSystem& files, const std::string& folder, const Lineage& lineage,
                                      uint32_t page_size, Random& random) {
  TILLSYNC_CHECK(is_page_size(page_size));
  ObjectSealer sealer(ObjectKind::pack, lineage, random);
  const Uuid& id = sealer.header().object_id;
  std::string path = folder + "/" + to_hex(id.view()) + ".pack";
  TILLSYNC_LET(auto file, PendingFile::create(files, path, le32(id.bytes.data())));
  PackWriter writer(std::move(file), std::move(path), std::move(sealer), page_size);
  TILLSYNC_TRY(writer.append(writer.sealer_.head()));
  return writer;
}

Result<void> PackWriter::append(ByteView bytes) {
  content_.update(bytes);
  return file_.append(bytes);
}

Result<uint32_t> PackWriter::add_run(ByteView compressed, size_t raw_size, const Digest& name) {
  PackBlock block;
  block.kind = BlockKind::run;
  block.name = name;
  return add(std::move(block), compressed, raw_size);
}

Result<uint32_t> PackWriter::add_list(ByteView compressed, size_t raw_size, const Digest& name,
                                      std::vector<PageNo> numbers) {
  TILLSYNC_CHECK(raw_size == numbers.size() * index_.page_size);
  PackBlock block;
  block.kind = BlockKind::list;
  block.name = name;
  block.numbers = std::move(numbers);
  return add(std::move(block), compressed, raw_size);
}

Result<uint32_t> PackWriter::add(PackBlock block, ByteView compressed, size_t raw_size) {
  TILLSYNC_CHECK(raw_size > 0 && raw_size % index_.page_size == 0 && raw_size / index_.page_size <= kPagesPerBlock);
  ByteView stored = sealer_.seal(file_.size(), compressed);
  block.stored_check = short_check(sha256(stored));
  block.offset = file_.size();
  block.stored_length = static_cast<uint32_t>(stored.size());
  block.raw_length = static_cast<uint32_t>(raw_size);
  block.pages = static_cast<uint32_t>(raw_size / index_.page_size);
  TILLSYNC_TRY(append(stored));
  index_.blocks.push_back(std::move(block));
  return static_cast<uint32_t>(index_.blocks.size() - 1);
}

Result<FinishedPack> PackWriter::finish() {
  uint64_t index_offset = file_.size();
  const Bytes plain = index_.encode();
  const ByteView index = sealer_.seal_index(index_offset, plain);
  const auto index_length = static_cast<uint32_t>(index.size());
  TILLSYNC_TRY(append(index));
  Sha256 whole = content_.clone();
  const Bytes trailer = sealer_.trailer(content_, file_.size(), index_offset, index_length);
  TILLSYNC_TRY(file_.append(trailer));
  FinishedPack pack;
  pack.path = path_;
  pack.size = file_.size();
  pack.sha256 = whole.update(trailer).finish();
  TILLSYNC_TRY(file_.commit());
  pack.index = std::move(index_);
  return pack;
}

}  // namespace tillsync
