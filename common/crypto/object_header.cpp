#include "crypto/object_header.h"

#include <algorithm>

#include "base/checks.h"
#include "crypto/envelope.h"

namespace tillsync {

namespace {

constexpr std::string_view kHeaderMagic = "TILLSYNC", kTrailerMagic = "TILLSEND";
// Of what follows the header.
uint16_t version_of(ObjectKind kind) { return kind == ObjectKind::segment ? 2 : 1; }
constexpr uint16_t kNone = 0, kAes256Gcm = 1, kEd25519 = 1;

Error corrupt(std::string why) { return Error{ErrorKind::corrupt, 0, std::move(why)}; }
bool all_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

std::string_view name_of(uint16_t kind) {
  switch (static_cast<ObjectKind>(kind)) {
    case ObjectKind::segment: return "a log segment";
    case ObjectKind::pack: return "a pack";
    case ObjectKind::manifest: return "a manifest";
    case ObjectKind::verified: return "a verified mark";
    case ObjectKind::asset_chunk: return "an asset chunk";
    case ObjectKind::asset_tree: return "an asset tree";
    case ObjectKind::anchor: return "an anchor of a log";
    case ObjectKind::probe: return "a probe";
  }
  return "an object of an unknown kind";
}

// trailer: its first 64 bytes; those of the check itself count as nothing.
Digest trailer_check(ByteView trailer) {
  return Sha256().update(trailer.first(20)).update(trailer.subspan(24, 40)).finish();
}

}  // namespace

Uuid database_id(const Uuid& terminal, std::string_view database) {
  return uuid_v8(
      Sha256().update(terminal.view()).update(as_bytes("database")).update(as_bytes(database)).finish().view());
}

ObjectHeader ObjectHeader::make(ObjectKind kind, const Lineage& lineage, Random& random) {
  ObjectHeader h;
  h.kind = kind;
  random.fill(h.object_id.bytes);
  h.terminal = lineage.terminal;
  h.database = database_id(lineage.terminal, lineage.database);
  h.epoch = lineage.epoch;
  if (lineage.keys) {
    TILLSYNC_CHECK(lineage.keys->signer.has_value());
    h.envelope_length = static_cast<uint32_t>(envelope_size(lineage.keys->recipients.size()));
    h.signer = lineage.keys->signer->public_key().id();
  }
  return h;
}

Bytes ObjectHeader::encode() const {
  Bytes out;
  ByteWriter w(out);
  w.bytes(as_bytes(kHeaderMagic));
  w.u16(version_of(kind));
  w.u16(static_cast<uint16_t>(kind));
  w.u32(kSize);
  w.bytes(object_id.view());
  w.bytes(terminal.view());
  w.bytes(database.view());
  w.u64(epoch);
  w.u16(is_sealed() ? kAes256Gcm : kNone);
  w.u16(is_sealed() ? kEd25519 : kNone);
  w.u32(envelope_length);
  w.bytes(signer.view());
  out.resize(120, 0);
  w.bytes(sha256(out).view().first(8));
  return out;
}

Result<ObjectHeader> ObjectHeader::decode(ByteView bytes, ObjectKind wanted, const Lineage& lineage) {
  if (bytes.size() < kSize) return corrupt("it is truncated: " + std::to_string(bytes.size()) + " bytes are no header");
  bytes = bytes.first(kSize);
  ByteReader r(bytes);
  if (as_text(r.bytes(8)) != kHeaderMagic) return corrupt("it does not begin with TILLSYNC");
  // Before the version and the rest: a damaged field shall not be mistaken for another format.
  if (!equal(bytes.subspan(120), sha256(bytes.first(120)).view().first(8)))
    return corrupt("the check of its header does not hold");
  uint16_t version = r.u16();
  uint16_t kind = r.u16();
  if (kind != static_cast<uint16_t>(wanted))
    return corrupt("it is " + std::string(name_of(kind)) + " and not " +
                   std::string(name_of(static_cast<uint16_t>(wanted))));
  if (version != version_of(wanted))
    return corrupt("it has format version " + std::to_string(version) + "; this tillsync reads version " +
                   std::to_string(version_of(wanted)));
  if (r.u32() != kSize) return corrupt("its header has another length");
  ObjectHeader h;
  h.kind = wanted;
  for (Uuid* id : {&h.object_id, &h.terminal, &h.database}) std::ranges::copy(r.bytes(16), id->bytes.begin());
  h.epoch = r.u64();
  const uint16_t sealing = r.u16(), signing = r.u16();
  if (sealing > kAes256Gcm)
    return corrupt("it is sealed with algorithm " + std::to_string(sealing) + ", which this tillsync does not know");
  if (signing > kEd25519)
    return corrupt("it is signed with algorithm " + std::to_string(signing) + ", which this tillsync does not know");
  if ((sealing != kNone) != (signing != kNone))
    return corrupt("it is not both sealed and signed, as one is with the other");
  if (sealing != kNone && !lineage.keys)
    return Error{ErrorKind::denied, 0, "it is sealed: a key that opens it is needed, --key FILE"};
  if (sealing == kNone && lineage.keys)
    return corrupt("it is not sealed, as everything of this terminal is: somebody else wrote it");
  if (sealing != kNone) {
    h.envelope_length = r.u32();
    std::ranges::copy(r.bytes(16), h.signer.bytes.begin());
    if (h.envelope_length == 0 || h.envelope_length > kEnvelopeMax)
      return corrupt("its list of keys has an impossible length");
  }
  if (!all_zero(bytes.subspan(h.is_sealed() ? 96 : 76, h.is_sealed() ? 24 : 44)))
    return corrupt("a field of its header that must be zero is not");
  if (h.terminal != lineage.terminal)
    return corrupt("it belongs to terminal " + h.terminal.str() + " and not " + lineage.terminal.str());
  if (h.database != database_id(lineage.terminal, lineage.database))
    return corrupt("it belongs to another database than '" + lineage.database + "'");
  if (h.epoch != lineage.epoch)
    return corrupt("it belongs to epoch " + std::to_string(h.epoch) + " and not " + std::to_string(lineage.epoch));
  return h;
}

Bytes ObjectTrailer::encode(Sha256& so_far, uint64_t size_before_trailer, uint64_t index_offset, uint32_t index_length,
                            const SigningKey* signer) {
  Bytes out;
  ByteWriter w(out);
  w.bytes(as_bytes(kTrailerMagic));
  w.u64(index_offset);
  w.u32(index_length);
  w.u32(0);
  w.u64(size_before_trailer + kSize);
  // The hash covers the fields before it, and the check covers the hash: the check is taken as zero while hashing.
  Digest digest = so_far.update(out).finish();
  w.bytes(digest.view());
  std::ranges::copy(trailer_check(out).view().first(4), out.begin() + 20);
  if (signer) w.bytes(signer->sign(digest.view()));
  out.resize(kSize, 0);
  return out;
}

Result<ObjectTrailer> ObjectTrailer::decode(ByteView bytes, uint64_t object_size, const PublicSigningKey* signer) {
  if (bytes.size() != kSize) return corrupt("it is truncated: there is no trailer");
  ByteReader r(bytes);
  if (as_text(r.bytes(8)) != kTrailerMagic) return corrupt("it is truncated, or its trailer is damaged");
  ObjectTrailer t;
  t.index_offset = r.u64();
  t.index_length = r.u32();
  ByteView check = r.bytes(4);
  if (!equal(check, trailer_check(bytes.first(64)).view().first(4)))
    return corrupt("the check of its trailer does not hold");
  t.object_size = r.u64();
  std::ranges::copy(r.bytes(32), t.sha256.bytes.begin());
  if (t.object_size != object_size)
    return corrupt("it has " + std::to_string(object_size) + " bytes and says " + std::to_string(t.object_size));
  std::ranges::copy(r.bytes(64), t.signature.begin());
  if (!signer && !all_zero(t.signature)) return corrupt("it has a signature and does not say of which algorithm");
  if (signer && !signer->verify(t.sha256.view(), t.signature))
    return corrupt("its signature is not that of key " + signer->id().hex());
  return t;
}

}  // namespace tillsync
