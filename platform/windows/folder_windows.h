// Folders on Windows: names are looked up in the open folder by the kernel's own calls, and no link is followed.
//
// Names: UTF-8. What Windows takes for something else than a name (':', '\', a wildcard, a control character) is no
// name: usage. A name of UTF-16 that is none has U+FFFD in it, and can't be opened.
// Attributes: mode is 0700 or 0600 without the 0200 of what is read-only, and of it 0200 is set; owner and group are 0
// and left as they are. Rights are those that the folder hands on. ctime is the file system's time of change.
// Links: symbolic links and junctions. Making one needs the right to; usage where it is not to be had.
// Names that change places: usage, Windows has no such call.
// Durability: what make_file() made is written through; sync_all() has the volume written as well where this process
// may ask for that (an administrator, a service).
// Source: NtCreateFile and NtSetInformationFile (FILE_RENAME_INFORMATION, FILE_LINK_INFORMATION) of Microsoft's
// documentation of the driver kit. Threads: WindowsFolders from any; a Folder by one at a time.
#pragma once

#include "ports/folder.h"

namespace tillsync {

class WindowsFolders : public Folders {
 public:
  Result<std::unique_ptr<Folder>> open(const std::string& path) override;
};

}  // namespace tillsync
