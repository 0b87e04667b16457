// The manifest of a snapshot: what it is, what it proves, and where its pages are.
//
// Layout: docs/formats.md, "Manifest". Put last: what has a manifest is complete.
// Errors: decode(): corrupt; the context begins with the object's key.
// Threads: any.
#pragma once

#include <optional>
#include <string>
#include <vector>
#include "base/json.h"

#include "crypto/multiset_digest.h"
#include "crypto/sealed_object.h"
#include "ports/object_store.h"

namespace tillsync {

enum class SnapshotType { full, incremental, differential };
std::string_view to_string(SnapshotType type);  // "FULL"

struct PackRef {
  std::string key;
  Digest sha256;
  uint64_t size = 0;  // 0: not known
  auto operator<=>(const PackRef&) const = default;
};

// Where the content of 64 consecutive pages of a FULL is.
struct RunRef {
  uint32_t pack = 0;  // index into Manifest::packs
  uint32_t block = 0;
  uint64_t name_check = 0;  // short_check() of the block's name
  auto operator<=>(const RunRef&) const = default;
};

struct Manifest {
  Uuid uuid;
  std::string name, description;
  SnapshotType type = SnapshotType::full;
  std::optional<Uuid> parent, base;
  Timestamp created_at, captured_at;
  Lineage lineage;
  Sequence sequence = 0;
  TransactionNo transaction = 0;
  uint32_t generation = 0;  // pages changed up to and in this generation are in the snapshot or its ancestors
  uint32_t page_size = 0;
  PageNo page_count = 0;
  int64_t schema_version = 0;
  std::string app_version;
  std::vector<std::string> schema;
  std::vector<TableDigest> tables;
  uint64_t action_log_count = 0, entity_uuid_count = 0;
  uint64_t size = 0;          // raw bytes of the pages it holds
  uint64_t stored_bytes = 0;  // of the packs made for it
  std::vector<PackRef> packs;
  Json assets = Json::array();
  Json configuration = Json::object();
  std::vector<RunRef> map;  // FULL only
  // What was wrong with the database, of a page-level snapshot: its pages as they were read, of which nothing is known
  // but their hashes. FULL, without tables; no chain goes on from it. Empty for every other snapshot.
  std::string damage;
  bool is_page_level() const { return !damage.empty(); }

  // SHA-256 of the whole object. Set by encode() and decode(); the `checksum` a person sees.
  Digest checksum;

  Bytes encode(Random& random);
  static Result<Manifest> decode(ByteView object, const std::string& key, const Lineage& lineage);

  // What the pages go on from: the parent of an INCREMENTAL, the base of a DIFFERENTIAL, nothing for a FULL.
  std::optional<Uuid> predecessor() const { return type == SnapshotType::differential ? base : parent; }
  double compression_ratio() const {
    return stored_bytes == 0 ? 0 : static_cast<double>(size) / static_cast<double>(stored_bytes);
  }
};

std::string prefix_of(const Lineage& lineage);  // the database_prefix() of its objects

// The element of `snapshots --json`. verified and updated_at come from the mark, if there is one.
Json to_json(const Manifest& manifest, bool verified, std::optional<Timestamp> updated_at = std::nullopt);

// corrupt or not_found with the key in front.
Result<Manifest> read_manifest(ObjectStore& store, const Lineage& lineage, const Uuid& snapshot);
// Uuids of all complete snapshots of the lineage, oldest first, by their keys alone.
Result<std::vector<Uuid>> list_snapshots(ObjectStore& store, const Lineage& lineage);
// All manifests, oldest first. One that cannot be read does not hide the others: it goes to `bad`.
Result<std::vector<Manifest>> list_manifests(ObjectStore& store, const Lineage& lineage,
                                             std::vector<Error>* bad = nullptr);

}  // namespace tillsync
