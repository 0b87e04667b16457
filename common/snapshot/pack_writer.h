// Writes one pack into the spool, block by block.
//
// Layout: docs/formats.md, "Pack". The name of the object is the SHA-256 of its bytes, so it is known only at the end;
// the file in the spool is `<folder>/<object id>.pack`. Memory: one sealed block and the index. Durability:
// finish() is PendingFile::commit(): after it the file is whole and durable; before it there is none. Errors: those of
// the file port. Threads: one at a time.
#pragma once

#include "crypto/sealed_object.h"
#include "ports/files.h"
#include "snapshot/pack_index.h"

namespace tillsync {

struct FinishedPack {
  std::string path;  // in the spool
  Digest sha256;     // of the whole object: its name
  uint64_t size = 0;
  PackIndex index;
};

class PackWriter {
 public:
  static Result<PackWriter> create(FileSystem& files, const std::string& folder, const Lineage& lineage,
                                   uint32_t page_size, Random& random);

  // compressed: a zstd frame of 1 to 64 whole pages, raw_size bytes, whose SHA-256 is `name`. Answers the number of the
  // block.
  Result<uint32_t> add_run(ByteView compressed, size_t raw_size, const Digest& name);
  // numbers: increasing, one a page.
  Result<uint32_t> add_list(ByteView compressed, size_t raw_size, const Digest& name, std::vector<PageNo> numbers);
  uint64_t size() const { return file_.size(); }
  Result<FinishedPack> finish();

 private:
  PackWriter(PendingFile file, std::string path, ObjectSealer sealer, uint32_t page_size)
      : file_(std::move(file)), path_(std::move(path)), sealer_(std::move(sealer)) {
    index_.page_size = page_size;
  }
  Result<void> append(ByteView bytes);
  Result<uint32_t> add(PackBlock block, ByteView compressed, size_t raw_size);
  PendingFile file_;
  std::string path_;
  ObjectSealer sealer_;
  PackIndex index_;
  Sha256 content_;  // for the trailer, and with it for the name
};

}  // namespace tillsync
