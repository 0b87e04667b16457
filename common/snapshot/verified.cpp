#include "snapshot/verified.h"
#include "compression/zstd.h"

#include "ports/object_keys.h"

namespace tillsync {

Bytes VerifiedMark::encode(const Lineage& lineage, Random& random) const {
  Json json{{"uuid", snapshot.str()},
            {"manifest_sha256", manifest_sha256.hex()},
            {"verified_at", to_rfc3339(verified_at)},
            {"method", method},
            {"bytes_read", bytes_read}};
  Bytes body;
  put_section(body, as_bytes(json.dump(-1, ' ', false, Json::error_handler_t::replace)));
  return seal_object(ObjectKind::verified, lineage, random, body);
}

Result<VerifiedMark> VerifiedMark::decode(ByteView object, const std::string& key, const Lineage& lineage) {
  auto corrupt = [&](std::string why) { return Error{ErrorKind::corrupt, 0, key + ": " + why}; };
  TILLSYNC_LET(const OpenedObject opened, open_object(object, ObjectKind::verified, lineage).with(key));
  ByteReader in(opened.body);
  TILLSYNC_LET(Bytes text, take_section(in, 1 << 20).with(key));
  if (!in.at_end()) return corrupt("it is longer than its section");
  Json json = parse_json(as_text(text));
  for (auto* field : {"uuid", "manifest_sha256", "verified_at", "method"})
    if (!json.is_object() || !json.contains(field) || !json[field].is_string())
      return corrupt(std::string("its field '") + field + "' is missing");
  VerifiedMark mark;
  const auto uuid = Uuid::parse(json["uuid"].get<std::string>());
  const auto manifest_sha256 = Digest::parse(json["manifest_sha256"].get<std::string>());
  const auto verified_at = parse_rfc3339(json["verified_at"].get<std::string>());
  // What these say is for people who typed it: of kind usage.
  if (!uuid || !manifest_sha256 || !verified_at) return corrupt("a field of it is of another form");
  mark.snapshot = *uuid;
  mark.manifest_sha256 = *manifest_sha256;
  mark.verified_at = *verified_at;
  mark.method = json["method"].get<std::string>();
  if (json.contains("bytes_read") && json["bytes_read"].is_number_unsigned())
    mark.bytes_read = json["bytes_read"].get<uint64_t>();
  if (keys::snapshot_of_verified(key) != mark.snapshot)
    return corrupt("it is the mark of snapshot " + mark.snapshot.str());
  return mark;
}

Result<void> put_verified(ObjectStore& store, const Manifest& manifest, const VerifiedMark& mark, Random& random) {
  Bytes object = mark.encode(manifest.lineage, random);
  BytesSource source(object);
  auto done = store.put(keys::verified(prefix_of(manifest.lineage), manifest.uuid), source);
  if (!done && done.error().kind == ErrorKind::conflict) return {};
  return done;
}

Result<std::optional<VerifiedMark>> read_verified(ObjectStore& store, const Manifest& manifest) {
  std::string key = keys::verified(prefix_of(manifest.lineage), manifest.uuid);
  auto object = read_object(store, key, 1 << 20);
  if (!object && object.error().kind == ErrorKind::not_found) return std::optional<VerifiedMark>();
  if (!object) return std::move(object).error();
  TILLSYNC_LET(auto mark, VerifiedMark::decode(*object, key, manifest.lineage));
  if (mark.manifest_sha256 != manifest.checksum) return std::optional<VerifiedMark>();
  return std::optional<VerifiedMark>(std::move(mark));
}

}  // namespace tillsync
