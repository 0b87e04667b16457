#include "snapshot/manifest.h"

#include "compression/zstd.h"
#include "ports/object_keys.h"
#include "snapshot/pack_index.h"

namespace tillsync {

namespace {

constexpr size_t kJsonSizeMax = 256 << 20, kObjectSizeMax = 512 << 20;
// 2^32 pages in runs of 64, 16 bytes each.
constexpr size_t kMapSizeMax = (size_t{1} << 26) * 16;

Json uuid_or_null(const std::optional<Uuid>& uuid) { return uuid ? Json(uuid->str()) : Json(); }

// Takes fields out of a JSON object; remembers the first that is missing or of another type.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}
  std::string text(const char* name) { return get(name, &Json::is_string) ? object_[name].get<std::string>() : ""; }
  uint64_t number(const char* name, uint64_t most = UINT64_MAX) {
    if (!get(name, &Json::is_number_unsigned)) return 0;
    auto n = object_[name].get<uint64_t>();
    if (n > most) fail(name);
    return n;
  }
  int64_t integer(const char* name) { return get(name, &Json::is_number_integer) ? object_[name].get<int64_t>() : 0; }
  const Json& array(const char* name) { return get(name, &Json::is_array) ? object_[name] : kEmptyArray; }
  const Json& object(const char* name) { return get(name, &Json::is_object) ? object_[name] : kEmptyObject; }
  Uuid uuid(const char* name) { return parsed<Uuid>(name, Uuid::parse(text(name))); }
  std::optional<Uuid> optional_uuid(const char* name) {
    if (object_.contains(name) && object_[name].is_null()) return std::nullopt;
    return uuid(name);
  }
  Timestamp time(const char* name) { return parsed<Timestamp>(name, parse_rfc3339(text(name))); }
  Digest digest(const char* name) { return parsed<Digest>(name, Digest::parse(text(name))); }
  void fail(const char* name) {
    if (wrong_.empty()) wrong_ = name;
  }
  const std::string& wrong() const { return wrong_; }

 private:
  template <class T>
  T parsed(const char* name, Result<T> value) {
    if (value) return *value;
    fail(name);
    return T{};
  }
  bool get(const char* name, bool (Json::*is)() const noexcept) {
    if (object_.is_object() && object_.contains(name) && (object_[name].*is)()) return true;
    fail(name);
    return false;
  }
  static inline const Json kEmptyArray = Json::array(), kEmptyObject = Json::object();
  const Json& object_;
  std::string wrong_;
};

Json body_of(const Manifest& m) {
  Json tables = Json::array(), packs = Json::array();
  for (auto& t : m.tables) tables.push_back({{"name", t.name}, {"rows", t.rows}, {"digest", t.digest.hex()}});
  for (auto& p : m.packs) packs.push_back({{"key", p.key}, {"sha256", p.sha256.hex()}, {"size", p.size}});
  Json body{{"uuid", m.uuid.str()},
            {"name", m.name},
            {"description", m.description},
            {"type", to_string(m.type)},
            {"parent_uuid", uuid_or_null(m.parent)},
            {"base_uuid", uuid_or_null(m.base)},
            {"created_at", to_rfc3339(m.created_at)},
            {"captured_at", to_rfc3339(m.captured_at)},
            {"terminal", m.lineage.terminal.str()},
            {"database", m.lineage.database},
            {"epoch", m.lineage.epoch},
            {"sequence", m.sequence},
            {"transaction", m.transaction},
            {"generation", m.generation},
            {"page_size", m.page_size},
            {"page_count", m.page_count},
            {"schema_version", m.schema_version},
            {"app_version", m.app_version},
            {"schema", m.schema},
            {"tables", std::move(tables)},
            {"action_log_count", m.action_log_count},
            {"entity_uuid_count", m.entity_uuid_count},
            {"size", m.size},
            {"stored_bytes", m.stored_bytes},
            {"packs", std::move(packs)},
            {"assets", m.assets},
            {"configuration", m.configuration}};
  if (m.is_page_level()) body["damage"] = m.damage;
  return body;
}

// The JSON into fields; answers what is wrong, empty when nothing is.
std::string fill(Manifest& m, const Json& body) {
  Fields f(body);
  m.uuid = f.uuid("uuid");
  m.name = f.text("name");
  m.description = f.text("description");
  std::string type = f.text("type");
  if (type == "FULL")
    m.type = SnapshotType::full;
  else if (type == "INCREMENTAL")
    m.type = SnapshotType::incremental;
  else if (type == "DIFFERENTIAL")
    m.type = SnapshotType::differential;
  else
    f.fail("type");
  m.parent = f.optional_uuid("parent_uuid");
  m.base = f.optional_uuid("base_uuid");
  m.created_at = f.time("created_at");
  m.captured_at = f.time("captured_at");
  m.lineage.terminal = f.uuid("terminal");
  m.lineage.database = f.text("database");
  m.lineage.epoch = f.number("epoch");
  m.sequence = f.number("sequence");
  m.transaction = f.number("transaction");
  m.generation = static_cast<uint32_t>(f.number("generation", UINT32_MAX));
  m.page_size = static_cast<uint32_t>(f.number("page_size", 65536));
  m.page_count = static_cast<PageNo>(f.number("page_count", UINT32_MAX));
  m.schema_version = f.integer("schema_version");
  m.app_version = f.text("app_version");
  for (auto& sql : f.array("schema")) {
    if (!sql.is_string()) return "schema";
    m.schema.push_back(sql.get<std::string>());
  }
  for (auto& entry : f.array("tables")) {
    Fields t(entry);
    TableDigest table;
    table.name = t.text("name");
    table.rows = t.number("rows");
    auto digest = MultisetDigest::from_bytes(t.digest("digest").view());
    if (!t.wrong().empty() || !digest) return "tables." + t.wrong();
    table.digest = *digest;
    m.tables.push_back(std::move(table));
  }
  m.action_log_count = f.number("action_log_count");
  m.entity_uuid_count = f.number("entity_uuid_count");
  m.size = f.number("size");
  m.stored_bytes = f.number("stored_bytes");
  for (auto& entry : f.array("packs")) {
    Fields p(entry);
    PackRef pack{p.text("key"), p.digest("sha256"), p.number("size")};
    if (!p.wrong().empty() || keys::sha256_of_pack(pack.key) != pack.sha256) return "packs." + p.wrong();
    m.packs.push_back(std::move(pack));
  }
  m.assets = f.array("assets");
  m.configuration = f.object("configuration");
  if (!is_page_size(m.page_size)) f.fail("page_size");
  if (m.page_count == 0) f.fail("page_count");
  bool full = m.type == SnapshotType::full;
  if (full != !m.predecessor().has_value()) f.fail("parent_uuid");
  if (!full && !m.base) f.fail("base_uuid");
  if (body.contains("damage")) {
    m.damage = f.text("damage");
    if (m.damage.empty() || !full || !m.tables.empty()) f.fail("damage");
  }
  return f.wrong();
}

}  // namespace

std::string_view to_string(SnapshotType type) {
  switch (type) {
    case SnapshotType::full: return "FULL";
    case SnapshotType::incremental: return "INCREMENTAL";
    case SnapshotType::differential: return "DIFFERENTIAL";
  }
  return "FULL";
}

std::string prefix_of(const Lineage& l) { return keys::database_prefix(l.terminal, l.database, l.epoch); }

Bytes Manifest::encode(Random& random) {
  Bytes body;
  put_section(body, as_bytes(body_of(*this).dump(-1, ' ', false, Json::error_handler_t::replace)));
  Bytes entries;
  ByteWriter w(entries);
  for (auto& run : map) {
    w.u32(run.pack);
    w.u32(run.block);
    w.u64(run.name_check);
  }
  put_section(body, entries);
  Bytes out = seal_object(ObjectKind::manifest, lineage, random, body);
  checksum = sha256(out);
  return out;
}

Result<Manifest> Manifest::decode(ByteView object, const std::string& key, const Lineage& lineage) {
  auto corrupt = [&](std::string why) { return Error{ErrorKind::corrupt, 0, key + ": " + why}; };
  TILLSYNC_LET(const OpenedObject opened, open_object(object, ObjectKind::manifest, lineage).with(key));
  ByteReader in(opened.body);
  TILLSYNC_LET(Bytes text, take_section(in, kJsonSizeMax).with(key));
  TILLSYNC_LET(Bytes entries, take_section(in, kMapSizeMax).with(key));
  if (!in.at_end()) return corrupt("it is longer than its sections");
  Json json = parse_json(as_text(text));
  if (!json.is_object()) return corrupt("its body is not a JSON object");
  Manifest m;
  std::string wrong = fill(m, json);
  if (!wrong.empty()) return corrupt("its field '" + wrong + "' is missing or of another form");
  if (m.lineage != lineage) return corrupt("its body is of another terminal, database or epoch than its header");
  m.lineage.keys = lineage.keys;
  if (keys::snapshot_of_manifest(key) != m.uuid) return corrupt("it is the manifest of snapshot " + m.uuid.str());
  uint64_t runs = m.type == SnapshotType::full ? (uint64_t{m.page_count} + kPagesPerBlock - 1) / kPagesPerBlock : 0;
  if (entries.size() != runs * 16) return corrupt("its page map does not fit its page count");
  ByteReader r(entries);
  m.map.reserve(runs);
  for (uint64_t i = 0; i < runs; i++) {
    RunRef run{r.u32(), r.u32(), r.u64()};
    if (run.pack >= m.packs.size()) return corrupt("its page map names a pack it does not list");
    m.map.push_back(run);
  }
  m.checksum = sha256(object);
  return m;
}

Json to_json(const Manifest& m, bool verified, std::optional<Timestamp> updated_at) {
  Json counts = Json::object();
  for (auto& t : m.tables) counts[t.name] = t.rows;
  Json element{{"uuid", m.uuid.str()},
               {"type", to_string(m.type)},
               {"name", m.name},
               {"description", m.description},
               {"created_at", to_rfc3339(m.created_at)},
               {"epoch", m.lineage.epoch},
               {"sequence", m.sequence},
               {"parent_uuid", uuid_or_null(m.parent)},
               {"base_uuid", uuid_or_null(m.base)},
               {"checksum", m.checksum.hex()},
               {"schema_version", m.schema_version},
               {"app_version", m.app_version},
               {"size", m.size},
               {"stored_bytes", m.stored_bytes},
               {"compression_ratio", m.compression_ratio()},
               {"table_counts", std::move(counts)},
               {"action_log_count", m.action_log_count},
               {"entity_uuid_count", m.entity_uuid_count},
               {"is_complete", true},
               {"is_verified", verified},
               {"updated_at", to_rfc3339(updated_at.value_or(m.created_at))}};
  if (m.is_page_level()) element["damage"] = m.damage;
  if (!m.assets.empty()) element["assets"] = m.assets;
  return element;
}

Result<Manifest> read_manifest(ObjectStore& store, const Lineage& lineage, const Uuid& snapshot) {
  std::string key = keys::manifest(prefix_of(lineage), snapshot);
  auto object = read_object(store, key, kObjectSizeMax);
  if (!object && object.error().kind == ErrorKind::not_found)
    return std::move(object).error().with(key + ": the manifest is missing");
  if (!object) return std::move(object).error().with(key);
  return Manifest::decode(*object, key, lineage);
}

Result<std::vector<Uuid>> list_snapshots(ObjectStore& store, const Lineage& lineage) {
  std::vector<Uuid> out;
  TILLSYNC_TRY(
      for_each_object(store, keys::snapshots_prefix(prefix_of(lineage)), [&](const ObjectInfo& object) -> Result<void> {
        if (auto uuid = keys::snapshot_of_manifest(object.key)) out.push_back(*uuid);
        return {};
      }));
  return out;
}

Result<std::vector<Manifest>> list_manifests(ObjectStore& store, const Lineage& lineage, std::vector<Error>* bad) {
  TILLSYNC_LET(auto uuids, list_snapshots(store, lineage));
  std::vector<Manifest> out;
  std::optional<Error> denied;
  for (auto& uuid : uuids) {
    auto manifest = read_manifest(store, lineage, uuid);
    if (manifest) {
      out.push_back(std::move(*manifest));
    } else if (manifest.error().kind == ErrorKind::corrupt || manifest.error().kind == ErrorKind::not_found) {
      if (bad) bad->push_back(std::move(manifest).error());
    } else if (manifest.error().kind == ErrorKind::denied && lineage.keys) {
      denied = std::move(manifest).error();
    } else {
      return std::move(manifest).error();
    }
  }
  // A recovery key that came later opens what was sealed after it, and what is older is no damage.
  if (out.empty() && denied) return *denied;
  return out;
}

}  // namespace tillsync
