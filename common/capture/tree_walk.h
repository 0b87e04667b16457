// Reads every row of a tree, in key order, with memory for one path and one row.
//
// Errors: corrupt with page number and reason, also when a tree has more pages than the database; what `visit` returns
// stops the walk. Threads: any, one walk at a time per reader.
#pragma once

#include <functional>

#include "capture/tree_diff.h"
#include "schema/schema.h"

namespace tillsync {

// rowid is 0 for WITHOUT ROWID. The record is valid during the call.
using RowVisitor = std::function<Result<void>(int64_t rowid, ByteView record)>;
Result<void> walk_tree(const Image& image, PageNo root, const RowVisitor& visit);

// What sqlite_schema says; nothing for a database without a page. Errors as read_schema().
Result<Schema> schema_of(const Image& image);
// One object from its record.
Result<SchemaObject> schema_object_of(ByteView record, uint32_t text_encoding);

// Page count and usable size out of page 1; an image without pages is fine.
Result<Image> image_of(PageReader& reader, PageNo page_count);
Result<DatabaseHeader> header_of(const Image& image);

}  // namespace tillsync
