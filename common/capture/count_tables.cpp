#include "capture/count_tables.h"

#include <algorithm>

#include "schema/row_identity.h"

namespace tillsync {

Result<std::vector<TableDigest>> count_tables(PageReader& pages, PageNo page_count, WorkPulse* pulse) {
  TILLSYNC_LET(Image image, image_of(pages, page_count));
  TILLSYNC_LET(Schema schema, schema_of(image));
  std::vector<TableDigest> tables;
  for (auto& table : schema.tables) {
    if (table.is_statistics()) continue;
    RowIdentity identity(table);
    TableDigest counted;
    counted.name = table.name;
    auto walked = walk_tree(image, table.root, [&](int64_t rowid, ByteView record) -> Result<void> {
      TILLSYNC_TRY(unless_stopped(pulse, "rows were counted"));
      TILLSYNC_LET(Digest d, identity.digest(rowid, record));
      counted.digest.add(d);
      counted.rows++;
      return {};
    });
    if (!walked) return std::move(walked).error().with("table '" + table.name + "'");
    tables.push_back(std::move(counted));
  }
  std::sort(tables.begin(), tables.end());
  return tables;
}

}  // namespace tillsync
