#include "crypto/sealed_object.h"

#include <algorithm>

#include "base/checks.h"

namespace tillsync {

namespace {

Error corrupt(std::string why) { return Error{ErrorKind::corrupt, 0, std::move(why)}; }

aead::Nonce nonce_of(uint64_t offset) {
  aead::Nonce nonce{};
  for (size_t i = 0; i < 8; i++) nonce[i] = static_cast<uint8_t>(offset >> (8 * i));
  return nonce;
}

// What binds a sealed text to its place: all of header and envelope, and the offset.
std::array<uint8_t, 40> associated(const Digest& context, uint64_t offset) {
  std::array<uint8_t, 40> bytes;
  std::ranges::copy(context.bytes, bytes.begin());
  for (size_t i = 0; i < 8; i++) bytes[32 + i] = static_cast<uint8_t>(offset >> (8 * i));
  return bytes;
}

Digest signed_index(const Digest& context, ByteView index) {
  return Sha256().update(as_bytes("tillsync index")).update(context.view()).update(index).finish();
}

}  // namespace

ObjectSealer::ObjectSealer(ObjectKind kind, const Lineage& lineage, Random& random)
    : keys_(lineage.keys), header_(ObjectHeader::make(kind, lineage, random)), head_(header_.encode()) {
  if (!keys_) return;
  data_key_ = Secret::make(random);
  append(head_, wrap(data_key_, ByteView(head_).first(ObjectHeader::kSize), keys_->recipients, random));
  context_ = sha256(head_);
}

ByteView ObjectSealer::seal(uint64_t offset, ByteView plain) {
  if (!keys_) return plain;
  sealed_.clear();
  aead::seal(data_key_, nonce_of(offset), associated(context_, offset), plain, sealed_);
  return sealed_;
}

ByteView ObjectSealer::seal_index(uint64_t offset, ByteView plain) {
  if (!keys_) return plain;
  Bytes proven = to_bytes(plain);
  append(proven, keys_->signer->sign(signed_index(context_, plain).view()));
  return seal(offset, proven);
}

Bytes ObjectSealer::trailer(Sha256& so_far, uint64_t size_before_trailer, uint64_t index_offset,
                            uint32_t index_length) const {
  return ObjectTrailer::encode(so_far, size_before_trailer, index_offset, index_length,
                               keys_ ? &*keys_->signer : nullptr);
}

Result<ObjectOpener> ObjectOpener::open(ByteView beginning, ObjectKind kind, const Lineage& lineage) {
  TILLSYNC_LET(const ObjectHeader header, ObjectHeader::decode(beginning, kind, lineage));
  ObjectOpener object;
  object.body_at_ = ObjectHeader::kSize + header.envelope_length;
  if (!header.is_sealed()) return object;
  if (beginning.size() < object.body_at_) return corrupt("it is truncated: its list of keys is not all there");
  const PublicSigningKey* signer = lineage.keys->find_signer(header.signer);
  if (!signer) return corrupt("it is signed with key " + header.signer.hex() + ", which is none of this terminal's");
  object.signer_ = *signer;
  const ByteView head = beginning.first(object.body_at_);
  object.object_id_ = header.object_id;
  object.context_ = sha256(head);
  auto handed = lineage.keys->data_keys.find(header.object_id);
  if (handed != lineage.keys->data_keys.end()) {
    object.data_key_ = handed->second;
    return object;
  }
  TILLSYNC_LET(object.data_key_,
               unwrap(head.subspan(ObjectHeader::kSize), head.first(ObjectHeader::kSize), lineage.keys->openers));
  return object;
}

Result<ByteView> ObjectOpener::unseal(uint64_t offset, ByteView stored) { return unseal(offset, stored, plain_); }

Result<ByteView> ObjectOpener::unseal(uint64_t offset, ByteView stored, Bytes& plain) const {
  if (!data_key_) return stored;
  if (!aead::open(*data_key_, nonce_of(offset), associated(context_, offset), stored, plain))
    return corrupt("what is sealed at byte " + std::to_string(offset) +
                   " was changed, or is of another place or object");
  return ByteView(plain);
}

Result<ByteView> ObjectOpener::unseal_index(uint64_t offset, ByteView stored) {
  TILLSYNC_LET(const ByteView proven, unseal(offset, stored));
  if (!data_key_) return proven;
  if (proven.size() < sizeof(Signature)) return corrupt("its index has no signature");
  const ByteView index = proven.first(proven.size() - sizeof(Signature));
  if (!signer_->verify(signed_index(context_, index).view(), proven.last(sizeof(Signature))))
    return corrupt("the signature of its index is not this terminal's");
  return index;
}

Result<ObjectTrailer> ObjectOpener::trailer(ByteView bytes, uint64_t object_size) const {
  return ObjectTrailer::decode(bytes, object_size, signer_ ? &*signer_ : nullptr);
}

Bytes seal_object(ObjectKind kind, const Lineage& lineage, Random& random, ByteView body) {
  ObjectSealer sealer(kind, lineage, random);
  Bytes object = sealer.head();
  append(object, sealer.seal(object.size(), body));
  Sha256 hash;
  hash.update(object);
  append(object, sealer.trailer(hash, object.size(), 0, 0));
  return object;
}

Result<OpenedObject> open_object(ByteView object, ObjectKind kind, const Lineage& lineage) {
  TILLSYNC_LET(ObjectOpener opener, ObjectOpener::open(object, kind, lineage));
  const uint64_t begin = opener.body_at();
  if (object.size() < begin + ObjectTrailer::kSize) return corrupt("it is truncated: there is no trailer");
  const ByteView trailer = object.last(ObjectTrailer::kSize);
  TILLSYNC_LET(const auto t, opener.trailer(trailer, object.size()));
  if (t.index_offset != 0 || t.index_length != 0) return corrupt("it has an index where there is none");
  Bytes fields = to_bytes(trailer.first(32));
  std::fill_n(fields.begin() + 20, 4, uint8_t{0});
  if (Sha256().update(object.first(object.size() - ObjectTrailer::kSize)).update(fields).finish() != t.sha256)
    return corrupt("its SHA-256 does not hold");
  OpenedObject opened;
  TILLSYNC_LET(opened.body, opener.unseal(begin, object.subspan(begin, object.size() - ObjectTrailer::kSize - begin)));
  if (opener.overhead()) opened.plain = opener.take_plain();
  return opened;
}

}  // namespace tillsync
