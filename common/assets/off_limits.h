// What lies in an asset's folder and is none of it: followed databases, and folders of tillsync's own.
//
// Purpose: a database that this process has open must not be opened a second time, because closing any descriptor of
// its file drops the locks SQLite holds on it; and what is captured elsewhere is not captured twice. Told by the folder
// it is in and its name, so that it holds for a -wal that comes later, and by device and inode for other names of it.
// Threads: a value.
#pragma once

#include <map>
#include <set>

#include "ports/folder.h"

namespace tillsync {

class OffLimits {
 public:
  // The database at `path` with what SQLite keeps beside it. Fine if it is not there.
  void add_database(Folders& folders, FileSystem& files, const std::string& path);
  // A folder with all it holds. Fine if it is not there.
  void add_folder(Folders& folders, const std::string& path);
  // node: what `name` is in `folder`.
  bool contains(const NodeInfo& folder, const std::string& name, const NodeInfo& node) const;
  // A name that is a database's, or of what SQLite keeps beside it, whether it is there or not.
  bool contains(const NodeInfo& folder, const std::string& name) const;

 private:
  using Node = std::pair<uint64_t, uint64_t>;  // device, inode
  std::set<Node> nodes_;
  std::map<Node, std::set<std::string>> names_;  // by the folder they are in
};

}  // namespace tillsync
