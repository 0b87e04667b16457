// Folders of others (file assets), as a port: every name is one part, looked up in an open folder.
//
// Purpose: what walks a tree it does not own, or builds one from a list it does not trust, can't be led out of it. No
// call but Folders::open() follows a symbolic link, and none takes a name that is empty, ".", ".." or has a '/'.
// Units: bytes; nanoseconds since 1970; names and targets are bytes as the file system has them.
// Errors: those of ports/files.h; usage for a name that is none. A symbolic link where a folder or file is asked for is
// conflict, as is a file of another type. Durability: nothing before sync() of the folder (its names) or sync_all().
// Threads: one at a time for each Folder; Folders may be used from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ports/files.h"

namespace tillsync {

struct NodeInfo {
  FileType type = FileType::other;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;  // moves with every change, also of attributes, and can't be set
  uint64_t inode = 0, device = 0;
  uint32_t mode = 0;  // permission bits, with set-user-id, set-group-id and sticky
  uint32_t owner = 0, group = 0;
  bool operator==(const NodeInfo&) const = default;
};

struct NodeAttributes {
  uint32_t mode = 0;  // not of a link
  int64_t mtime_ns = 0;
  std::optional<std::pair<uint32_t, uint32_t>> owner;  // and group; nullopt: as it is
};

class Folder {
 public:
  struct OpenedFile {
    std::unique_ptr<File> file;
    NodeInfo info;  // of the file that was opened
  };
  enum class Rename {
    to_free_name,  // conflict if it is taken
    exchange,      // both names are there and change places, atomically; usage where the file system can't
  };

  virtual ~Folder() = default;
  virtual Result<NodeInfo> info() = 0;                   // of the folder itself
  virtual Result<std::vector<std::string>> names() = 0;  // sorted by their bytes, without . and ..
  virtual Result<NodeInfo> stat(const std::string& name) = 0;
  virtual Result<OpenedFile> open_file(const std::string& name) = 0;  // for reading
  virtual Result<std::unique_ptr<Folder>> open_folder(const std::string& name) = 0;
  virtual Result<std::string> read_link(const std::string& name) = 0;

  // New ones: conflict if the name is taken. Mode 0600 and 0700 until set_attributes().
  virtual Result<std::unique_ptr<File>> make_file(const std::string& name) = 0;
  virtual Result<std::unique_ptr<Folder>> make_folder(const std::string& name) = 0;
  virtual Result<void> make_link(const std::string& name, const std::string& target) = 0;
  // Of what was made. Where the owner can't be set, set-user-id and set-group-id are left out.
  virtual Result<void> set_attributes(const std::string& name, const NodeAttributes& attributes) = 0;

  // to: a folder of the same Folders.
  virtual Result<void> rename(const std::string& name, Folder& to, const std::string& to_name, Rename how) = 0;
  // Another name for the same file (or link, pipe, socket). usage where the file system can't.
  virtual Result<void> add_name(const std::string& name, Folder& to, const std::string& to_name) = 0;
  virtual Result<void> remove(const std::string& name) = 0;  // a file, a link or an empty folder
  virtual Result<void> sync() = 0;
  virtual Result<void> sync_all() = 0;  // everything on the folder's file system
};

class Folders {
 public:
  virtual ~Folders() = default;
  // Follows symbolic links: the path is one that a person gave.
  virtual Result<std::unique_ptr<Folder>> open(const std::string& path) = 0;
};

// A whole tree: a file, a link, or a folder with all it holds. Fine if the name is not there. What is mounted in it is
// not touched: conflict.
Result<void> remove_tree(Folder& folder, const std::string& name);

}  // namespace tillsync
