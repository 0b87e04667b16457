// An object store in a folder: the embedded default, a USB disk or a network share.
//
// Layout: the object `a/b/c` is the file `<root>/a/b/c`. While it is written it is `<root>/a/b/c.<8 hex digits>.tmp`;
// names that end in `.tmp` are never listed, and are refused as keys; remove_unfinished() removes them. Durability:
// put() and replace() return after the file, its name and the names of all folders down from the root are synced.
// A source that is a durable file (ObjectSource::durable_file()) gets the object's
// name as a further name of its own where both are on one file system, and is copied otherwise.
// Folders are synced once a process: one that is found may come from a process that was killed before it did. Errors:
// as the port; offline when the root is not there (an unmounted disk): it is never made, because writing below an empty
// mount point would fill the till's own disk. Every error names the root and what to do. Threads: any.
#pragma once

#include <mutex>
#include <set>

#include "ports/files.h"
#include "ports/object_store.h"
#include "ports/random.h"

namespace tillsync {

class DirectoryStore : public ObjectStore {
 public:
  // root: absolute path of an existing folder. It may be missing now and there later.
  DirectoryStore(FileSystem& files, Random& random, std::string root);

  ObjectStoreProperties properties() const override;
  Result<void> put(const std::string& key, ObjectSource& source,
                   const std::function<bool(uint64_t)>& progress) override;
  Result<void> replace(const std::string& key, ByteView bytes) override;
  Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) override;
  Result<ObjectInfo> head(const std::string& key) override;
  // Loads the folders between start_after and the end of the page, one at a time, not the whole tree.
  Result<ObjectPage> list(const std::string& prefix, const std::string& start_after, size_t limit) override;
  Result<void> remove(const std::string& key) override;
  Result<void> remove_unfinished(const std::string& prefix, Timestamp before) override;

  const std::string& root() const { return root_; }

 private:
  Result<std::string> path_of(const std::string& key) const;
  Result<void> root_is_there() const;
  Result<void> make_parents(const std::string& key);
  Error explained(Error error, const std::string& doing) const;
  Result<bool> link(const std::string& file, const std::string& path);
  uint32_t unique();

  FileSystem& files_;
  Random& random_;
  const std::string root_;
  std::mutex mutex_;
  std::set<std::string> durable_folders_;  // paths, of folders whose name is known to be synced
};

}  // namespace tillsync
