// A spooled file as what a put sends, and the put that takes itself for no conflict.
//
// Only of files that are durable and stay as they are until they are removed: a store may take them as they lie there.
// Errors: those of the file, and of the store. Threads: one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ports/files.h"
#include "ports/object_store.h"

namespace tillsync {

class FileSource : public ObjectSource {
 public:
  static Result<std::unique_ptr<FileSource>> open(FileSystem& files, const std::string& path);
  uint64_t size() const override { return size_; }
  Result<size_t> read(uint64_t offset, MutableBytes out) override;
  std::optional<std::string> durable_file() const override { return path_; }
  // Of a read that failed: the store is not to blame.
  const std::optional<Error>& error() const { return error_; }

 private:
  std::string path_;
  std::unique_ptr<File> file_;
  uint64_t size_ = 0;
  std::optional<Error> error_;
};

// Success where the object is there already with the very same bytes: the answer to an earlier put was lost.
// conflict: other bytes are there. put: tries to put it.
Result<void> put_once(ObjectStore& store, const std::string& key, ObjectSource& source,
                      const std::function<Result<void>()>& put);
Result<void> put_once(ObjectStore& store, const std::string& key, ObjectSource& source);

}  // namespace tillsync
