// The pages of a database whose rows can't be read, copied aside as they are: the source of a page-level snapshot.
//
// Purpose: a page that does not parse ends capture of its database, not the protection of what is still in it. The
// pages are copied in one read transaction through SQLite, log included, without parsing anything but the header; where
// SQLite refuses the file altogether, its bytes are copied, in pages of 4096 and without the log. A page that can't be
// read from the disk becomes zeros. The copy is a file that has no name any more: it is gone with the image.
// Errors: not_found, denied, transient (locked, try again), no_space (the copy needs the size of the database).
// Threads: any; one reader of the image.
#pragma once

#include <memory>
#include <string>

#include "ports/files.h"
#include "snapshot/page_image.h"

namespace tillsync {

struct DamagedImage {
  std::unique_ptr<PageImage> pages;
  std::string note;  // what is not as it was; empty for nothing
};

Result<DamagedImage> copy_damaged(const std::string& path, FileSystem& files, const std::string& spool_path);

}  // namespace tillsync
