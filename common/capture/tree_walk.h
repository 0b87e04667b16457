// Reads every row of a tree, in key order, with memory for one path and one row.
//
// Errors: corrupt with page number and reason, also when a tree has more pages than the database; what `visit` returns
// stops the walk. Threads: any, one walk at a time per reader; the parts of one tree by several at once.
#pragma once

#include <atomic>
#include <functional>

#include "capture/tree_diff.h"
#include "schema/schema.h"

namespace tillsync {

// rowid is 0 for WITHOUT ROWID. The record is valid during the call.
using RowVisitor = std::function<Result<void>(int64_t rowid, ByteView record)>;
Result<void> walk_tree(const Image& image, PageNo root, const RowVisitor& visit);

// A part of a tree: a leaf where the tree is sound, which the pages above tell without a look at it.
struct TreePart {
  PageNo page;
  int depth;
};
// How many pages of one tree were walked, by all who walk it.
using PagesWalked = std::atomic<uint64_t>;
// Reads the pages above the parts, and tells each part, in key order; `visit` gets the rows that lie above (WITHOUT
// ROWID). Every row of the tree is in one of them.
Result<void> split_tree(const Image& image, PageNo root, PagesWalked& walked, const RowVisitor& visit,
                        const std::function<Result<void>(TreePart)>& part);
Result<void> walk_part(const Image& image, TreePart part, PagesWalked& walked, const RowVisitor& visit);

// What sqlite_schema says; nothing for a database without a page. Errors as read_schema().
Result<Schema> schema_of(const Image& image);
// One object from its record.
Result<SchemaObject> schema_object_of(ByteView record, uint32_t text_encoding);

// Page count and usable size out of page 1; an image without pages is fine.
Result<Image> image_of(PageReader& reader, PageNo page_count);
Result<DatabaseHeader> header_of(const Image& image);

}  // namespace tillsync
