#include "fuzz/sound_image.h"

#include "dbfile/record.h"

namespace tillsync::fuzz {

namespace {

class Account {
 public:
  Account(const Image& image, SoundImage& out) : image_(image), out_(out), taken_(image.page_count + 1) {
    out_.owners.resize(image.page_count);
  }

  // table: nullptr for sqlite_schema.
  bool tree(PageNo root, const Table* table) {
    table_ = table;
    rows_ = table ? &out_.tables[table->name] : nullptr;
    index_ = table && table->without_rowid;
    last_rowid_.reset();
    return page(root, 0, 0);
  }

 private:
  bool take(PageNo number, Owner owner) {
    if (number == 0 || number > image_.page_count || taken_[number]) return false;
    taken_[number] = true;
    out_.owners.set(number, owner);
    return true;
  }

  bool page(PageNo number, PageNo parent, int depth) {
    if (depth > 30 || !take(number, {OwnerKind::btree, parent})) return false;
    auto keep = image_.reader->page(number);
    if (!keep) return false;
    auto parsed = BtreePage::parse(number, keep->view(), image_.usable);
    if (!parsed || parsed->is_table() == index_) return false;
    size_t used = 0;
    for (uint32_t i = 0; i < parsed->cell_count(); i++) {
      Cell cell;
      if (!parsed->cell(i, cell)) return false;
      used += cell.bytes.size();
      if (used > image_.usable) return false;
      if (!parsed->is_leaf() && !page(cell.left_child, number, depth + 1)) return false;
      if (parsed->kind() != PageKind::interior_table && !row(number, cell)) return false;
    }
    return parsed->is_leaf() || page(parsed->right_child(), number, depth + 1);
  }

  bool row(PageNo holder, const Cell& cell) {
    Bytes payload;
    std::vector<PageNo> chain;
    if (cell.payload_size > uint64_t{image_.usable} * image_.page_count) return false;
    if (!read_payload(*image_.reader, cell, image_.usable, image_.page_count, payload, &chain)) return false;
    for (size_t i = 0; i < chain.size(); i++)
      if (!take(chain[i],
                i == 0 ? Owner{OwnerKind::overflow_first, holder} : Owner{OwnerKind::overflow_next, chain.front()}))
        return false;
    if (!index_) {
      if (last_rowid_ && cell.rowid <= *last_rowid_) return false;
      last_rowid_ = cell.rowid;
    }
    if (!table_) return decode_record(payload).has_value();
    auto values = decode_record(payload);
    if (!values || (index_ && values->size() < table_->key_fields)) return false;
    return rows_->emplace(tree_key(*table_, cell.rowid, payload), payload).second;
  }

  const Image& image_;
  SoundImage& out_;
  std::vector<bool> taken_;
  const Table* table_ = nullptr;
  RowsByKey* rows_ = nullptr;
  bool index_ = false;
  std::optional<int64_t> last_rowid_;
};

}  // namespace

Bytes tree_key(const Table& table, int64_t rowid, ByteView record) {
  Bytes key;
  if (!table.without_rowid) {
    put_rowid_key(key, rowid);
    return key;
  }
  RecordReader reader(record);
  uint64_t serial;
  const uint8_t* body;
  for (size_t i = 0; i < table.key_fields && reader.next(serial, body); i++) {
    put_varint(key, serial);
    append(key, {body, static_cast<size_t>(serial_size(serial))});
  }
  return key;
}

std::optional<SoundImage> sound_image(const Image& image, const Schema& schema) {
  SoundImage out;
  Account account(image, out);
  if (!account.tree(1, nullptr)) return std::nullopt;
  for (auto& table : schema.tables) {
    if (out.tables.contains(table.name)) return std::nullopt;
    if (!account.tree(table.root, &table)) return std::nullopt;
  }
  return out;
}

}  // namespace tillsync::fuzz
