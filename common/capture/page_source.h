// Where the pages of a captured transaction are read from: frames of a WAL, or a read transaction (PageScan).
#pragma once

#include "dbfile/page.h"

namespace tillsync {

struct SourcePage {
  PageNo page = 0;
  uint64_t where = 0;  // frame number; 0 for a scan
  PageRef content;     // kept from reading, may be empty
};

class PageSource {
 public:
  virtual ~PageSource() = default;
  virtual Result<PageRef> read(PageNo page, uint64_t where) = 0;
};

}  // namespace tillsync
