#include "assets/asset_tree.h"

#include <algorithm>

#include "base/checks.h"
#include "ports/object_keys.h"
#include "snapshot/manifest.h"

namespace tillsync {

namespace {

constexpr size_t kSectionTarget = 64 << 10, kSectionMax = 64 << 20, kIndexMax = 256 << 20;
constexpr size_t kNameMax = 255, kTargetMax = 4095;
constexpr size_t kSectionHead = 8;

}  // namespace

Result<AssetTreeWriter> AssetTreeWriter::create(FileSystem& files, const std::string& folder,
                                                const TerminalRef& terminal, Random& random) {
  ObjectSealer sealer(ObjectKind::asset_tree, asset_lineage(terminal), random);
  std::string path = folder + "/" + sealer.header().object_id.str() + ".tree";
  TILLSYNC_LET(auto file, PendingFile::create(files, path, 0));
  AssetTreeWriter writer(std::move(file), path, std::move(sealer));
  TILLSYNC_TRY(writer.append(writer.sealer_.head()));
  return writer;
}

Result<void> AssetTreeWriter::append(ByteView bytes) {
  body_.update(bytes);
  whole_.update(bytes);
  return file_.append(bytes);
}

Result<void> AssetTreeWriter::append_section(ByteView raw, bool is_index) {
  Compressor compressor;
  const ByteView packed = compressor.compress(raw);
  const ByteView stored = is_index ? sealer_.seal_index(file_.size(), packed) : sealer_.seal(file_.size(), packed);
  Bytes out;
  ByteWriter w(out);
  w.u32(static_cast<uint32_t>(raw.size()));
  w.u32(static_cast<uint32_t>(stored.size()));
  w.bytes(stored);
  return append(out);
}

Result<void> AssetTreeWriter::add(const AssetEntry& entry) {
  ByteWriter w(section_);
  w.u8(static_cast<uint8_t>(entry.kind));
  w.uvar(entry.depth);
  w.sized(entry.name);
  w.uvar(entry.mode);
  w.svar(entry.mtime_ns);
  w.uvar(entry.owner);
  w.uvar(entry.group);
  w.uvar(entry.changed_while_read ? 1 : 0);
  if (entry.kind == AssetEntryKind::file) {
    w.uvar(entry.size);
    w.uvar(entry.pieces.size());
    for (auto& piece : entry.pieces) {
      w.uvar(piece.chunk);
      w.uvar(piece.range.offset);
      w.uvar(piece.range.stored);
      w.uvar(piece.range.raw);
      w.bytes(piece.name.view());
    }
  }
  if (entry.kind == AssetEntryKind::link) w.sized(entry.target);
  entries_++;
  return section_.size() >= kSectionTarget ? end_section() : Result<void>();
}

Result<void> AssetTreeWriter::end_section() {
  if (section_.empty()) return {};
  content_.update(section_);
  raw_bytes_ += section_.size();
  TILLSYNC_TRY(append_section(section_, false));
  section_.clear();
  return {};
}

Result<FinishedTree> AssetTreeWriter::finish(const std::vector<TreeChunk>& chunks) {
  TILLSYNC_TRY(end_section());
  Bytes index;
  ByteWriter w(index);
  w.u64(entries_);
  w.u64(raw_bytes_);
  w.u32(static_cast<uint32_t>(chunks.size()));
  w.u32(0);
  for (auto& chunk : chunks) {
    w.bytes(chunk.sha256.view());
    w.u32(static_cast<uint32_t>(chunk.size));
    w.u32(0);
  }
  content_.update(index);
  const uint64_t index_offset = file_.size();
  TILLSYNC_TRY(append_section(index, true));
  const uint64_t size = file_.size();
  Bytes trailer = sealer_.trailer(body_, size, index_offset, static_cast<uint32_t>(size - index_offset));
  whole_.update(trailer);
  TILLSYNC_TRY(file_.append(trailer));
  TILLSYNC_TRY(file_.commit());
  return FinishedTree{path_, whole_.finish(), size + trailer.size(), content_.finish()};
}

Error AssetTreeReader::corrupt(std::string_view why) const {
  return Error{ErrorKind::corrupt, 0, key_ + ": " + std::string(why)};
}

Result<void> AssetTreeReader::read_exactly(uint64_t offset, MutableBytes out) {
  auto got = store_->read(key_, offset, out);
  if (!got && got.error().kind == ErrorKind::not_found)
    return std::move(got).error().with(key_ + ": the asset's tree is missing");
  if (!got) return std::move(got).error().with(key_);
  if (*got != out.size()) return corrupt("it is truncated");
  return {};
}

Result<AssetTreeReader> AssetTreeReader::open(ObjectStore& store, const TerminalRef& terminal, const Digest& sha256,
                                              uint64_t size) {
  AssetTreeReader tree(store, keys::asset_tree(terminal, sha256));
  tree.sha256_ = sha256;
  if (size < ObjectHeader::kSize + ObjectTrailer::kSize) return tree.corrupt("the manifest says it has no content");
  const Lineage lineage = asset_lineage(terminal);
  Bytes head(std::min<uint64_t>(ObjectOpener::head_size(lineage), size)), trailer(ObjectTrailer::kSize);
  TILLSYNC_TRY(tree.read_exactly(0, head));
  TILLSYNC_LET(tree.opener_, ObjectOpener::open(head, ObjectKind::asset_tree, lineage).with(tree.key_));
  head.resize(tree.opener_->body_at());
  const uint64_t trailer_at = size - ObjectTrailer::kSize;
  TILLSYNC_TRY(tree.read_exactly(trailer_at, trailer));
  TILLSYNC_LET(auto t, tree.opener_->trailer(trailer, size).with(tree.key_));
  if (t.index_offset < head.size() || t.index_offset > trailer_at || t.index_length != trailer_at - t.index_offset ||
      t.index_length > kIndexMax)
    return tree.corrupt("its index does not lie between its entries and its trailer");
  tree.index_offset_ = t.index_offset;
  tree.index_and_trailer_.resize(t.index_length);
  TILLSYNC_TRY(tree.read_exactly(t.index_offset, tree.index_and_trailer_));
  ByteReader in(tree.index_and_trailer_);
  const uint32_t raw_length = in.u32();
  const ByteView stored = in.bytes(in.u32());
  if (!in.at_end() || raw_length > kIndexMax) return tree.corrupt("its index does not end where it says");
  TILLSYNC_LET(const ByteView packed, tree.opener_->unseal_index(t.index_offset, stored).with(tree.key_));
  Bytes index;
  TILLSYNC_TRY(decompress(packed, raw_length, index).with(tree.key_));
  ByteReader r(index);
  tree.entries_ = r.u64();
  tree.raw_bytes_ = r.u64();
  const uint32_t count = r.u32(), zero = r.u32();
  if (zero != 0 || index.size() != 24 + uint64_t{count} * 40) return tree.corrupt("its index is of another form");
  tree.chunks_.resize(count);
  for (auto& chunk : tree.chunks_) {
    std::ranges::copy(r.bytes(32), chunk.sha256.bytes.begin());
    chunk.size = r.u32();
    if (r.u32() != 0) return tree.corrupt("a field of its index that must be zero is not");
  }
  append(tree.index_and_trailer_, trailer);
  tree.whole_.update(head);
  tree.at_ = head.size();
  return tree;
}

Result<void> AssetTreeReader::next_section() {
  if (index_offset_ - at_ < kSectionHead) return corrupt("its entries do not end at its index");
  Bytes stored(kSectionHead);
  TILLSYNC_TRY(read_exactly(at_, stored));
  const uint32_t raw = le32(stored.data()), length = le32(stored.data() + 4);
  if (raw > kSectionMax || length > index_offset_ - at_ - kSectionHead)
    return corrupt("a section of its entries does not end where it says");
  stored.resize(kSectionHead + length);
  TILLSYNC_TRY(read_exactly(at_ + kSectionHead, MutableBytes(stored).subspan(kSectionHead)));
  TILLSYNC_LET(const ByteView packed, opener_->unseal(at_, ByteView(stored).subspan(kSectionHead)).with(key_));
  TILLSYNC_TRY(decompress(packed, raw, section_).with(key_));
  if (section_.empty()) return corrupt("a section of its entries is empty");
  whole_.update(stored);
  at_ += stored.size();
  position_ = 0;
  read_ += section_.size();
  return {};
}

Result<void> AssetTreeReader::finish() {
  whole_.update(index_and_trailer_);
  if (whole_.finish() != sha256_) return corrupt("its bytes do not have the SHA-256 of its name");
  if (entries_read_ != entries_ || read_ != raw_bytes_) return corrupt("it has other entries than its index says");
  if (entries_read_ == 0) return corrupt("it has no entry");
  return {};
}

Result<AssetEntry> AssetTreeReader::decode() {
  ByteReader in(ByteView(section_).subspan(position_));
  AssetEntry entry;
  const uint8_t kind = in.u8();
  if (in.ok() && (kind < 1 || kind > 3)) return corrupt("an entry is of an unknown kind");
  entry.kind = static_cast<AssetEntryKind>(kind);
  const uint64_t depth = in.uvar();
  if (depth > kAssetDepthMax) return corrupt("an entry is deeper than 128 folders");
  entry.depth = static_cast<uint32_t>(depth);
  entry.name = in.text();
  const uint64_t mode = in.uvar();
  entry.mtime_ns = in.svar();
  const uint64_t owner = in.uvar(), group = in.uvar(), flags = in.uvar();
  if (mode > 07777 || owner > UINT32_MAX || group > UINT32_MAX || flags > 1)
    return corrupt("an entry has a field that is out of range");
  entry.mode = static_cast<uint32_t>(mode);
  entry.owner = static_cast<uint32_t>(owner);
  entry.group = static_cast<uint32_t>(group);
  entry.changed_while_read = flags == 1;
  if (entry.kind == AssetEntryKind::file) {
    entry.size = in.uvar();
    const uint64_t count = in.uvar();
    if (count > in.remaining() / 36) return corrupt("an entry has fewer pieces than it says");
    uint64_t sum = 0;
    entry.pieces.resize(count);
    for (auto& piece : entry.pieces) {
      const uint64_t chunk = in.uvar(), offset = in.uvar(), stored = in.uvar(), raw = in.uvar();
      const ByteView name = in.bytes(32);
      if (!in.ok()) return corrupt("an entry does not end in its section");
      if (chunk >= chunks_.size()) return corrupt("an entry names a chunk that the index does not");
      const uint64_t size = chunks_[chunk].size;
      if (offset < ObjectHeader::kSize || offset > size || stored > size - offset || raw == 0 || raw > kPieceSizeMax)
        return corrupt("an entry has a piece outside of its chunk");
      piece.chunk = static_cast<uint32_t>(chunk);
      piece.range = {static_cast<uint32_t>(offset), static_cast<uint32_t>(stored), static_cast<uint32_t>(raw)};
      std::ranges::copy(name, piece.name.bytes.begin());
      sum += raw;
    }
    if (in.ok() && sum != entry.size) return corrupt("the pieces of an entry do not add up to its size");
  }
  if (entry.kind == AssetEntryKind::link) {
    entry.target = in.text();
    if (in.ok() &&
        (entry.target.empty() || entry.target.size() > kTargetMax || entry.target.find('\0') != entry.target.npos))
      return corrupt("a link has a target that is none");
  }
  if (!in.ok()) return corrupt("an entry does not end in its section");
  position_ += in.position();
  return entry;
}

// That the entry has a place in what came before it: within the asset's folder, and in a folder that this very tree has
// as one.
Result<void> AssetTreeReader::place(const AssetEntry& entry) {
  if (entries_read_ == 0) {
    if (entry.depth != 0 || entry.kind != AssetEntryKind::folder || !entry.name.empty())
      return corrupt("its first entry is not the asset's folder");
    folders_ = {""};
    last_ = {""};
    name_.clear();
    return {};
  }
  auto bad = [&](std::string_view why) {
    return corrupt("the entry '" + entry.name + "' " + std::string(why) + "; nothing of it is used");
  };
  if (entry.depth == 0 || entry.depth > folders_.size()) return bad("is in no folder of the tree");
  if (entry.name.empty() || entry.name == "." || entry.name == ".." || entry.name.size() > kNameMax ||
      entry.name.find('/') != entry.name.npos || entry.name.find('\0') != entry.name.npos)
    return bad("has a name that leads elsewhere, or none");
  folders_.resize(entry.depth);
  last_.resize(entry.depth);
  if (!last_.back().empty() && entry.name <= last_.back()) return bad("is there twice, or out of order");
  last_.back() = entry.name;
  name_ = entry.name;
  is_folder_ = entry.kind == AssetEntryKind::folder;
  if (is_folder_) {
    folders_.push_back(entry.name);
    last_.emplace_back();
  }
  return {};
}

Result<std::optional<AssetEntry>> AssetTreeReader::next() {
  if (position_ == section_.size()) {
    if (at_ == index_offset_) {
      TILLSYNC_TRY(finish());
      return std::optional<AssetEntry>();
    }
    TILLSYNC_TRY(next_section());
  }
  TILLSYNC_LET(auto entry, decode());
  TILLSYNC_TRY(place(entry));
  entries_read_++;
  return std::optional(std::move(entry));
}

std::string AssetTreeReader::path() const {
  std::string path;
  for (size_t i = 1; i < folders_.size(); i++) path += (i > 1 ? "/" : "") + folders_[i];
  if (!is_folder_) path += (path.empty() ? "" : "/") + name_;
  return path;
}

Result<void> check_tree_object(ObjectStore& store, const Uuid& terminal, const Digest& sha256, uint64_t size) {
  const std::string key = keys::asset_tree(terminal, sha256);
  Sha256 hash;
  Bytes piece(std::min<uint64_t>(size, 1 << 20));
  for (uint64_t at = 0; at < size;) {
    MutableBytes part(piece.data(), std::min<uint64_t>(piece.size(), size - at));
    auto got = store.read(key, at, part);
    if (!got && got.error().kind == ErrorKind::not_found)
      return std::move(got).error().with(key + ": the asset's tree is missing");
    if (!got) return std::move(got).error().with(key);
    if (*got != part.size()) return Error{ErrorKind::corrupt, 0, key + ": it is truncated"};
    hash.update(part);
    at += part.size();
  }
  if (hash.finish() != sha256)
    return Error{ErrorKind::corrupt, 0, key + ": its bytes do not have the SHA-256 of its name"};
  return {};
}

}  // namespace tillsync
