// The file port on Windows.
//
// Paths: "C:/folder/file" or "//server/share/file", with '/' or '\', of any length (wide_text.h).
// Durability: File::sync() is FlushFileBuffers. A rename is carried out by the file system's log; sync_directory() asks
// for that log to be written where the folder can be opened for it, and is fine where it can't: MoveFileEx then wrote
// through. A sync that failed once makes every later one of that File fail.
// Rights: a new folder is for SYSTEM, administrators and who runs this; what is made in it inherits that. mode of
// FileInfo is 0700 and 0600, without the 0200 of what is read-only.
// Sharing: files are opened so that others may read, write, rename and remove them meanwhile, as on Linux.
// Locks: of a byte far behind the end of any file, so that nobody is kept from reading; of the open file, not the
// process. Errors: error_windows.h. Threads: the file system from any; a file by one at a time.
// Source: CreateFileW, SetFileInformationByHandle (FILE_RENAME_INFO), MoveFileExW, FlushFileBuffers of Microsoft's
// documentation.
#pragma once

#include "ports/files.h"

namespace tillsync {

// A file that is open already, by its handle, which becomes the File's. path: for its errors.
std::unique_ptr<File> adopt_file(void* handle, std::string path);

class WindowsFileSystem : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<FileInfo> stat(const std::string& path) override;
  // The name goes at once, also of what others have open, where Windows can (10 1709 and later, NTFS); else with the
  // last handle of it.
  Result<void> remove(const std::string& path) override;
  // Also over a file that others have open where Windows can (10 and later, NTFS); else denied while they have.
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> rename_new(const std::string& from, const std::string& to) override;
  Result<void> link_new(const std::string& from, const std::string& to) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Result<void> make_directories(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<uint64_t> free_space(const std::string& path) override;
};

}  // namespace tillsync
