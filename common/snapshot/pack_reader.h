// Reads blocks of a pack from a store, by ranges, each proven before it is given out.
//
// Memory: the index and one block, three times. Requests: four to open (size, header, trailer, index), one a block.
// Errors: those of the store, and corrupt; the context begins with the object's key. A pack that is not there is
// not_found. Threads: one at a time.
#pragma once

#include <memory>

#include "crypto/sealed_object.h"
#include "ports/object_store.h"
#include "snapshot/pack_index.h"

namespace tillsync {

// Proves and unpacks blocks of one pack that were read before. Threads: any, several at once.
class BlockOpener {
 public:
  BlockOpener(std::string pack_key, ObjectOpener opener) : key_(std::move(pack_key)), opener_(std::move(opener)) {}
  // Into `raw`, compared as it was stored and by the SHA-256 of its content; `plain` is room to work in.
  Result<void> open(const PackBlock& block, ByteView stored, Bytes& plain, Bytes& raw) const;

 private:
  const std::string key_;
  const ObjectOpener opener_;
};

class PackReader {
 public:
  // size: as the manifest says; 0: not known.
  static Result<PackReader> open(ObjectStore& store, const std::string& key, const Lineage& lineage, uint64_t size = 0);
  const PackIndex& index() const { return index_; }
  uint64_t size() const { return size_; }
  // The raw pages, valid until the next call.
  Result<ByteView> block(uint32_t number);
  // The same in two halves, of which the second takes most of the time and needs no reader. stored(): into `out`, as it
  // lies in the store, compared with nothing; its length is that of the index.
  Result<void> stored(uint32_t number, Bytes& out);
  std::shared_ptr<const BlockOpener> opener() const { return blocks_; }

 private:
  PackReader(ObjectStore& store, const std::string& key, uint64_t size, PackIndex index, ObjectOpener opener)
      : store_(&store),
        key_(key),
        size_(size),
        index_(std::move(index)),
        blocks_(std::make_shared<const BlockOpener>(key, std::move(opener))) {}
  ObjectStore* store_;
  std::string key_;
  uint64_t size_ = 0;
  PackIndex index_;
  std::shared_ptr<const BlockOpener> blocks_;
  Bytes stored_, plain_, raw_;
};

// The whole object against its name (the SHA-256 in its key), read in pieces. For `verify --data`.
Result<uint64_t> verify_pack_object(ObjectStore& store, const std::string& key,
                                    const std::function<bool(uint64_t)>& progress = nullptr);

}  // namespace tillsync
