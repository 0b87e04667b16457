#include "capture/tree_walk.h"

#include "dbfile/record.h"

namespace tillsync {

namespace {
Result<void> walk(const Image& image, PageNo number, int depth, Bytes& buffer, const RowVisitor& visit) {
  if (depth > 40) return page_error(number, "deeper than a tree can be");
  if (number == 0 || number > image.page_count) return page_error(number, "a tree points outside the database");
  TILLSYNC_LET(PageRef keep, image.reader->page(number));
  TILLSYNC_LET(BtreePage page, BtreePage::parse(number, keep.view(), image.usable));
  for (uint32_t i = 0; i < page.cell_count(); i++) {
    Cell cell;
    if (!page.cell(i, cell)) return page_error(number, "cell " + std::to_string(i) + " does not fit the page");
    if (!page.is_leaf()) TILLSYNC_TRY(walk(image, cell.left_child, depth + 1, buffer, visit));
    if (page.kind() == PageKind::interior_table) continue;
    if (cell.overflow == 0) {
      TILLSYNC_TRY(visit(cell.rowid, cell.local));
    } else {
      buffer.clear();
      TILLSYNC_TRY(read_payload(*image.reader, cell, image.usable, image.page_count, buffer));
      TILLSYNC_TRY(visit(cell.rowid, buffer));
    }
  }
  if (page.is_leaf()) return {};
  return walk(image, page.right_child(), depth + 1, buffer, visit);
}
}  // namespace

Result<void> walk_tree(const Image& image, PageNo root, const RowVisitor& visit) {
  Bytes buffer;
  return walk(image, root, 0, buffer, visit);
}

Result<SchemaObject> schema_object_of(ByteView record, uint32_t encoding) {
  auto values = decode_record(record);
  if (!values || values->size() < 5) return Error{ErrorKind::corrupt, 0, "a row of sqlite_schema that does not parse"};
  auto text = [&](size_t i) { return text_to_utf8((*values)[i].bytes, encoding); };
  SchemaObject object{text(0), text(1), text(2), static_cast<PageNo>((*values)[3].integer), std::nullopt};
  if ((*values)[4].type == ValueType::text) object.sql = text(4);
  return object;
}

Result<std::vector<SchemaObject>> read_schema_objects(const Image& image, uint32_t encoding) {
  std::vector<SchemaObject> objects;
  if (image.page_count == 0) return objects;
  TILLSYNC_TRY(walk_tree(image, 1, [&](int64_t, ByteView record) -> Result<void> {
    TILLSYNC_LET(SchemaObject object, schema_object_of(record, encoding));
    objects.push_back(std::move(object));
    return {};
  }));
  return objects;
}

Result<DatabaseHeader> header_of(const Image& image) {
  TILLSYNC_LET(PageRef first, image.reader->page(1));
  return DatabaseHeader::parse(first.view());
}

Result<Image> image_of(PageReader& reader, PageNo page_count) {
  Image image{&reader, page_count, 0};
  if (page_count == 0) return image;
  TILLSYNC_LET(DatabaseHeader header, header_of(image));
  image.usable = header.usable;
  return image;
}

}  // namespace tillsync
