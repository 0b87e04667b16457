// The first and the last 128 bytes of every object we store: segments, packs, manifests, verified marks, assets,
// anchors.
//
// Layout: docs/formats.md, "Common object header" and "Common object trailer". Little-endian.
// Errors: corrupt, with what is wrong in the context; denied for a sealed object without a key that opens it; callers
// put the object's key in front.
// Threads: any.
#pragma once

#include <tuple>

#include "base/ids.h"
#include "crypto/hash.h"
#include "crypto/keyring.h"
#include "ports/random.h"

namespace tillsync {

enum class ObjectKind : uint16_t {
  segment = 1,
  pack = 2,
  manifest = 3,
  verified = 4,
  asset_chunk = 5,
  asset_tree = 6,
  anchor = 7,
  probe = 8
};

// Whose data it is: everything below one prefix of the store has the same.
struct Lineage {
  Uuid terminal;
  std::string database;  // its configured name
  uint64_t epoch = 1;
  Keys keys = nullptr;  // what its objects are sealed, signed and opened with; none: they are not sealed
  // The same data, whoever reads it.
  auto operator<=>(const Lineage& other) const {
    return std::tie(terminal, database, epoch) <=> std::tie(other.terminal, other.database, other.epoch);
  }
  bool operator==(const Lineage& other) const { return (*this <=> other) == 0; }
};

// A terminal and its keys, for what belongs to no database. Its id will do where it is not sealed.
struct TerminalRef {
  Uuid id;
  Keys keys;
  TerminalRef() = default;
  TerminalRef(const Uuid& terminal, Keys its_keys = nullptr) : id(terminal), keys(std::move(its_keys)) {}
  TerminalRef(const Lineage& lineage) : id(lineage.terminal), keys(lineage.keys) {}
  operator const Uuid&() const { return id; }
  std::string str() const { return id.str(); }
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
  // Of a sealed object; 0 and zeros of another.
  uint32_t envelope_length = 0;
  KeyId signer;
  bool is_sealed() const { return envelope_length != 0; }

  // As the lineage's keys want it: sealed and signed, or neither.
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
  Signature signature{};

  // so_far: a hash that was fed everything before the trailer.
  static Bytes encode(Sha256& so_far, uint64_t size_before_trailer, uint64_t index_offset, uint32_t index_length,
                      const SigningKey* signer = nullptr);
  // bytes: the last kSize of an object of this size. signer: as the object's header says. The signature is compared
  // with sha256; sha256 itself is not looked at: that needs the whole object.
  static Result<ObjectTrailer> decode(ByteView bytes, uint64_t object_size, const PublicSigningKey* signer = nullptr);
};

}  // namespace tillsync
