// The one place where objects are sealed, signed, opened and checked: a writer and a reader for each object.
//
// Purpose: whoever makes or reads an object asks here and need not know whether it is sealed: of a lineage without keys
// every call hands the bytes through. What is sealed under one name (an offset in the object) opens under no other, in
// no other object, and for no other terminal, database or kind.
// Layout: docs/formats.md, "Sealing".
// Errors: corrupt (what was changed, and how it is known); denied (sealed for other keys). Callers put the object's key
// in front. Threads: one object by one thread at a time.
#pragma once

#include "crypto/aead.h"
#include "crypto/envelope.h"
#include "crypto/object_header.h"

namespace tillsync {

class ObjectSealer {
 public:
  ObjectSealer(ObjectKind kind, const Lineage& lineage, Random& random);
  const ObjectHeader& header() const { return header_; }
  // What the object begins with: the header, and the envelope.
  const Bytes& head() const { return head_; }
  // The bytes to store at this offset; valid until the next call, and no longer than `plain`.
  ByteView seal(uint64_t offset, ByteView plain);
  // An index that is to be proven without reading the whole object: sealed with a signature of its own.
  ByteView seal_index(uint64_t offset, ByteView plain);
  // so_far: a hash that was fed everything before the trailer.
  Bytes trailer(Sha256& so_far, uint64_t size_before_trailer, uint64_t index_offset, uint32_t index_length) const;

 private:
  Keys keys_;
  ObjectHeader header_;
  Bytes head_, sealed_;
  Secret data_key_;
  Digest context_;
};

class ObjectOpener {
 public:
  // What of an object's beginning open() wants to see: so much is enough, less will do if the object ends there.
  static size_t head_size(const Lineage& lineage) { return ObjectHeader::kSize + (lineage.keys ? kEnvelopeMax : 0); }
  static Result<ObjectOpener> open(ByteView beginning, ObjectKind kind, const Lineage& lineage);
  // Where the body begins.
  uint64_t body_at() const { return body_at_; }
  // The plain bytes of what was sealed at this offset; valid as long as `stored`, and until the next call.
  Result<ByteView> unseal(uint64_t offset, ByteView stored);
  // The same, by several threads at once: the plain bytes go into `plain`, and are valid as long as that and `stored`.
  Result<ByteView> unseal(uint64_t offset, ByteView stored, Bytes& plain) const;
  Result<ByteView> unseal_index(uint64_t offset, ByteView stored);
  // bytes: the last of an object of this size.
  Result<ObjectTrailer> trailer(ByteView bytes, uint64_t object_size) const;
  // Of a sealed object: what Keyring::data_keys holds.
  std::optional<std::pair<Uuid, Secret>> data_key() const {
    return data_key_ ? std::optional(std::pair(object_id_, *data_key_)) : std::nullopt;
  }
  // What unseal() gave last, as a value; nothing when nothing is sealed.
  Bytes take_plain() { return std::move(plain_); }
  // How much longer a stored block is than its plain bytes.
  uint64_t overhead() const { return data_key_ ? aead::kTagSize : 0; }

 private:
  ObjectOpener() = default;
  Uuid object_id_;
  uint64_t body_at_ = 0;
  std::optional<PublicSigningKey> signer_;
  std::optional<Secret> data_key_;
  Digest context_;
  Bytes plain_;
};

// An object that is held in memory, has no index, and whose body is sealed as one.
Bytes seal_object(ObjectKind kind, const Lineage& lineage, Random& random, ByteView body);

struct OpenedObject {
  ByteView body;  // in `plain`, or in the object that was opened
  Bytes plain;
  OpenedObject() = default;
  OpenedObject(OpenedObject&&) = default;
  OpenedObject& operator=(OpenedObject&&) = default;
};
// Header, trailer, SHA-256 and signature checked.
Result<OpenedObject> open_object(ByteView object, ObjectKind kind, const Lineage& lineage);

}  // namespace tillsync
