#include "capture/tree_walk.h"

#include "dbfile/record.h"

namespace tillsync {

namespace {
constexpr int kDepthMax = 40, kNowhere = -1;

using PartVisitor = std::function<Result<void>(TreePart)>;

class Walk {
 public:
  Walk(const Image& image, PagesWalked& walked, const RowVisitor& visit)
      : image_(image), walked_(walked), visit_(visit) {}

  // Tells the pages at that depth instead of reading them.
  void split_at(int depth, const PartVisitor& part) {
    parts_at_ = depth;
    part_ = &part;
  }

  Result<void> tree(PageNo number, int depth) {
    if (depth > kDepthMax) return page_error(number, "deeper than a tree can be");
    if (number == 0 || number > image_.page_count) return page_error(number, "a tree points outside the database");
    if (depth == parts_at_) return (*part_)({number, depth});
    TILLSYNC_TRY(count(number, 1));
    TILLSYNC_LET(PageRef keep, image_.reader->page(number));
    TILLSYNC_LET(BtreePage page, BtreePage::parse(number, keep.view(), image_.usable));
    size_t used = 0;
    for (uint32_t i = 0; i < page.cell_count(); i++) {
      Cell cell;
      if (!page.cell(i, cell)) return page_error(number, "cell " + std::to_string(i) + " does not fit the page");
      used += cell.bytes.size();
      if (used > image_.usable) return page_error(number, "its cells overlap");
      if (!page.is_leaf()) TILLSYNC_TRY(tree(cell.left_child, depth + 1));
      if (page.kind() == PageKind::interior_table) continue;
      uint64_t chain = overflow_pages(cell, image_.usable);
      if (chain == 0) {
        TILLSYNC_TRY(visit_(cell.rowid, cell.local));
      } else {
        TILLSYNC_TRY(count(number, chain));
        buffer_.clear();
        TILLSYNC_TRY(read_payload(*image_.reader, cell, image_.usable, image_.page_count, buffer_));
        TILLSYNC_TRY(visit_(cell.rowid, buffer_));
      }
    }
    if (page.is_leaf()) return {};
    return tree(page.right_child(), depth + 1);
  }

 private:
  // A page has one place in one tree. Where cells share a child, level by level, there would else be as many visits as
  // there are ways down, which no limit of the depth keeps small.
  Result<void> count(PageNo number, uint64_t pages) {
    if (walked_.fetch_add(pages, std::memory_order_relaxed) + pages > image_.page_count)
      return page_error(number, "the tree has more pages than the database");
    return {};
  }

  const Image& image_;
  PagesWalked& walked_;
  const RowVisitor& visit_;
  int parts_at_ = kNowhere;
  const PartVisitor* part_ = nullptr;
  Bytes buffer_;
};

// All leaves of a sound tree are as deep as the leftmost. Where others are not, their part is more than one page, or
// they lie above the parts: they are walked all the same.
Result<int> depth_of_leaves(const Image& image, PageNo root) {
  PageNo number = root;
  for (int depth = 0; depth <= kDepthMax; depth++) {
    if (number == 0 || number > image.page_count) return page_error(number, "a tree points outside the database");
    TILLSYNC_LET(PageRef keep, image.reader->page(number));
    TILLSYNC_LET(BtreePage page, BtreePage::parse(number, keep.view(), image.usable));
    if (page.is_leaf()) return depth;
    Cell first;
    if (page.cell_count() == 0) {
      number = page.right_child();
      continue;
    }
    if (!page.cell(0, first)) return page_error(number, "cell 0 does not fit the page");
    number = first.left_child;
  }
  return page_error(number, "deeper than a tree can be");
}
}  // namespace

Result<void> walk_tree(const Image& image, PageNo root, const RowVisitor& visit) {
  PagesWalked walked = 0;
  return Walk(image, walked, visit).tree(root, 0);
}

Result<void> split_tree(const Image& image, PageNo root, PagesWalked& walked, const RowVisitor& visit,
                        const PartVisitor& part) {
  TILLSYNC_LET(const int depth, depth_of_leaves(image, root));
  Walk walk(image, walked, visit);
  walk.split_at(depth, part);
  return walk.tree(root, 0);
}

Result<void> walk_part(const Image& image, TreePart part, PagesWalked& walked, const RowVisitor& visit) {
  return Walk(image, walked, visit).tree(part.page, part.depth);
}

// The rows of sqlite_schema. None for a database without a page.
static Result<std::vector<SchemaObject>> read_schema_objects(const Image& image, uint32_t encoding) {
  std::vector<SchemaObject> objects;
  if (image.page_count == 0) return objects;
  TILLSYNC_TRY(walk_tree(image, 1, [&](int64_t, ByteView record) -> Result<void> {
    TILLSYNC_LET(SchemaObject object, schema_object_of(record, encoding));
    objects.push_back(std::move(object));
    return {};
  }));
  return objects;
}

Result<Schema> schema_of(const Image& image) {
  uint32_t encoding = 1;
  if (image.page_count) {
    TILLSYNC_LET(DatabaseHeader header, header_of(image));
    encoding = header.text_encoding;
  }
  TILLSYNC_LET(auto objects, read_schema_objects(image, encoding));
  return read_schema(std::move(objects), encoding);
}

Result<SchemaObject> schema_object_of(ByteView record, uint32_t encoding) {
  auto values = decode_record(record);
  if (!values || values->size() < 5) return Error{ErrorKind::corrupt, 0, "a row of sqlite_schema that does not parse"};
  auto text = [&](size_t i) { return text_to_utf8((*values)[i].bytes, encoding); };
  SchemaObject object{text(0), text(1), text(2), static_cast<PageNo>((*values)[3].integer), std::nullopt};
  if ((*values)[4].type == ValueType::text) object.sql = text(4);
  return object;
}

Result<DatabaseHeader> header_of(const Image& image) {
  TILLSYNC_LET(PageRef first, image.reader->page(1));
  return DatabaseHeader::parse(first.view());
}

Result<Image> image_of(PageReader& reader, PageNo page_count) {
  Image image{&reader, page_count, 0};
  if (page_count == 0) return image;
  TILLSYNC_LET(PageRef first, reader.page(1));
  TILLSYNC_LET(DatabaseHeader header, DatabaseHeader::parse(first.view()));
  if (header.page_size != first.size()) return page_error(1, "the database header names another page size");
  image.usable = header.usable;
  return image;
}

}  // namespace tillsync
