// The first and the last 128 bytes of every object we store: segments, packs, manifests, verified marks, assets,
// anchors.
//
// Layout: docs/formats.md, "Common object header" and "Common object trailer". Little-endian.
// Errors: corrupt, with what is wrong in the context; callers put the object's key in front.
// Threads: any.
#pragma once

#include "base/ids.h"
#include "crypto/hash.h"
#include "ports/random.h"

namespace tillsync {

enum class ObjectKind : uint16_t {
  segment = 1,
  pack = 2,
  manifest = 3,
  verified = 4,
  asset_chunk = 5,
  asset_tree = 6,
  anchor = 7
};

// Whose data it is: everything below one prefix of the store has the same.
struct Lineage {
  Uuid terminal;
  std::string database;  // its configured name
  uint64_t epoch = 1;
  auto operator<=>(const Lineage&) const = default;
};

// UUIDv8 of SHA-256(terminal, "database", name).
Uuid database_id(const Uuid& terminal, std::string_view database);

struct ObjectHeader {
  static constexpr size_t kSize = 128;
  ObjectKind kind = ObjectKind::manifest;
  Uuid object_id;  // random
  Uuid terminal;
  Uuid database;
  uint64_t epoch = 0;

  static ObjectHeader make(ObjectKind kind, const Lineage& lineage, Random& random);
  Bytes encode() const;
  // bytes: at least the first kSize of the object. Checks everything, and that it is of this kind and lineage.
  static Result<ObjectHeader> decode(ByteView bytes, ObjectKind kind, const Lineage& lineage);
};

struct ObjectTrailer {
  static constexpr size_t kSize = 128;
  uint64_t index_offset = 0;
  uint32_t index_length = 0;
  uint64_t object_size = 0;
  Digest sha256;  // of all before it

  // so_far: a hash that was fed everything before the trailer.
  static Bytes encode(Sha256& so_far, uint64_t size_before_trailer, uint64_t index_offset, uint32_t index_length);
  // bytes: the last kSize of an object of this size. Does not look at sha256: that needs the whole object.
  static Result<ObjectTrailer> decode(ByteView bytes, uint64_t object_size);
};

// Puts the trailer on an object that is held in memory and has no index.
void finish_object(Bytes& object);
// The body of such an object: header, trailer and SHA-256 checked.
Result<ByteView> object_body(ByteView object, ObjectKind kind, const Lineage& lineage);

}  // namespace tillsync
