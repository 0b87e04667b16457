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
  whole_.update(bytes);
  return file_.append(bytes);
}

Result<uint32_t> PackWriter::add_run(ByteView raw, const Digest& name, Compressor& compressor) {
  PackBlock block;
  block.kind = BlockKind::run;
  block.name = name;
  return add(std::move(block), raw, compressor);
}

Result<uint32_t> PackWriter::add_list(ByteView raw, const std::vector<PageNo>& numbers, Compressor& compressor) {
  TILLSYNC_CHECK(raw.size() == numbers.size() * index_.page_size);
  PackBlock block;
  block.kind = BlockKind::list;
  block.name = sha256(raw);
  block.numbers = numbers;
  return add(std::move(block), raw, compressor);
}

Result<uint32_t> PackWriter::add(PackBlock block, ByteView raw, Compressor& compressor) {
  TILLSYNC_CHECK(!raw.empty() && raw.size() % index_.page_size == 0 && raw.size() / index_.page_size <= kPagesPerBlock);
  ByteView stored = sealer_.seal(file_.size(), compressor.compress(raw));
  block.stored_check = short_check(sha256(stored));
  block.offset = file_.size();
  block.stored_length = static_cast<uint32_t>(stored.size());
  block.raw_length = static_cast<uint32_t>(raw.size());
  block.pages = static_cast<uint32_t>(raw.size() / index_.page_size);
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
  Bytes trailer = sealer_.trailer(content_, file_.size(), index_offset, index_length);
  TILLSYNC_TRY(append(trailer));
  FinishedPack pack;
  pack.path = path_;
  pack.size = file_.size();
  pack.sha256 = whole_.finish();
  TILLSYNC_TRY(file_.commit());
  pack.index = std::move(index_);
  return pack;
}

}  // namespace tillsync
