// Reads blocks of a pack from a store, by ranges, each proven before it is given out.
//
// Memory: the index and one block. Requests: four to open (size, header, trailer, index), one a block.
// Errors: those of the store, and corrupt; the context begins with the object's key. A pack that is not there is
// not_found. Threads: one at a time.
#pragma once

#include "crypto/sealed_object.h"
#include "ports/object_store.h"
#include "snapshot/pack_index.h"

namespace tillsync {

class PackReader {
 public:
  // size: as the manifest says; 0: not known.
  static Result<PackReader> open(ObjectStore& store, const std::string& key, const Lineage& lineage, uint64_t size = 0);
  const PackIndex& index() const { return index_; }
  uint64_t size() const { return size_; }
  // The raw pages, valid until the next call. Stored bytes and content are compared with the index.
  Result<ByteView> block(uint32_t number);
  // The same in two halves, of which the second takes most of the time and needs no reader. packed(): the zstd frame,
  // compared as it was stored; valid until the next call. unpack(): of this block, into `raw`; errors name what
  // packed() was asked for when its key comes in front.
  Result<ByteView> packed(uint32_t number);
  static Result<void> unpack(const PackBlock& block, ByteView packed, Bytes& raw);

 private:
  PackReader(ObjectStore& store, std::string key, ObjectOpener opener)
      : store_(&store), key_(std::move(key)), opener_(std::move(opener)) {}
  ObjectStore* store_;
  std::string key_;
  ObjectOpener opener_;
  uint64_t size_ = 0;
  PackIndex index_;
  Bytes stored_, raw_;
};

// The whole object against its name (the SHA-256 in its key), read in pieces. For `verify --data`.
Result<uint64_t> verify_pack_object(ObjectStore& store, const std::string& key,
                                    const std::function<bool(uint64_t)>& progress = nullptr);

}  // namespace tillsync
