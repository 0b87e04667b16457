// A manifest and a verified mark. First byte: bits 0 and 1: 0 the object as it is, 1 its checks are repaired, 2 the
// count of map entries, these, and the JSON of a manifest, 3 the JSON of a mark; bit 2 writes what was accepted again;
// bit 3 of 0 and 1: it is a mark.
#include <algorithm>
#include <random>

#include "assets/asset_reference.h"
#include "compression/zstd.h"
#include "fuzz/json_mutator.h"
#include "fuzz/stored_object.h"
#include "ports/object_keys.h"
#include "snapshot/pack_index.h"
#include "snapshot/verified.h"

using namespace tillsync;
using namespace tillsync::fuzz;

namespace {

const Uuid& snapshot() {
  static const Uuid uuid = Uuid::parse("0199f3a0-7c00-7abc-8def-0123456789ab").value();
  return uuid;
}
const std::string& key_of(bool mark) {
  static const std::string prefix = prefix_of(kept_in_the_clear());
  static const std::string keys[2] = {keys::manifest(prefix, snapshot()), keys::verified(prefix, snapshot())};
  return keys[mark];
}

// What of an input is JSON, of forms 2 and 3.
size_t json_at(const Form& form, ByteView input) {
  if (form.repair == 3 || input.size() < 2) return 1;
  return std::min(input.size(), size_t{2} + 16 * input[1]);
}

Bytes object_from(const Form& form, ByteView input) {
  if (form.repair <= 1) {
    Bytes object = to_bytes(input.subspan(1));
    if (form.repair) repair_object(object);
    return object;
  }
  const size_t at = json_at(form, input);
  Bytes body;
  put_stored_section(body, input.subspan(at));
  if (form.repair == 2) put_stored_section(body, at > 2 ? input.subspan(2, at - 2) : ByteView());
  return object_of(form.repair == 2 ? ObjectKind::manifest : ObjectKind::verified, body);
}

void must_be_refused_well(const Error& error, const std::string& key, const Form& form) {
  tell(error);
  FUZZ_HOLDS(error.kind == ErrorKind::corrupt || (form.repair <= 1 && error.kind == ErrorKind::denied));
  FUZZ_HOLDS(error.context.starts_with(key + ": "));
}

void must_be_whole(const Manifest& m) {
  FUZZ_HOLDS(m.uuid == snapshot() && m.lineage == kept_in_the_clear());
  FUZZ_HOLDS(is_page_size(m.page_size) && m.page_count >= 1);
  const bool full = m.type == SnapshotType::full;
  FUZZ_HOLDS(full == !m.predecessor() && (full || m.base));
  FUZZ_HOLDS(m.map.size() == (full ? (uint64_t{m.page_count} + kPagesPerBlock - 1) / kPagesPerBlock : 0));
  for (auto& run : m.map) FUZZ_HOLDS(run.pack < m.packs.size());
  for (auto& pack : m.packs) FUZZ_HOLDS(keys::sha256_of_pack(pack.key) == pack.sha256);
  FUZZ_HOLDS(!m.is_page_level() || (full && m.tables.empty()));
  // What a person and the next reader are told of it.
  FUZZ_HOLDS(to_json(m, true).is_object());
  const auto assets = assets_from_json(m.assets, m.lineage.terminal);
  if (!assets) FUZZ_HOLDS(assets.error().kind == ErrorKind::corrupt);
}

void must_be_written_again(Manifest m) {
  CountingRandom random;
  const Bytes written = m.encode(random);
  auto read = Manifest::decode(written, key_of(false), kept_in_the_clear());
  FUZZ_HOLDS(read.has_value());
  FUZZ_HOLDS(read->checksum == m.checksum && read->map == m.map && read->packs == m.packs && read->tables == m.tables);
  FUZZ_HOLDS(read->name == m.name && read->schema == m.schema && read->captured_at == m.captured_at);
  FUZZ_HOLDS(read->encode(random) == written);
}

void must_be_written_again(const VerifiedMark& mark) {
  CountingRandom random;
  const Bytes written = mark.encode(kept_in_the_clear(), random);
  const auto read = VerifiedMark::decode(written, key_of(true), kept_in_the_clear());
  FUZZ_HOLDS(read && read->manifest_sha256 == mark.manifest_sha256 && read->verified_at == mark.verified_at);
  FUZZ_HOLDS(read->encode(kept_in_the_clear(), random) == written);
}

bool run(ByteView input) {
  const Form form(input);
  const bool is_mark = form.repair <= 1 ? form.rest & 1 : form.repair == 3;
  const Bytes made = object_from(form, input);
  const Exact object(made);
  // zstd packs 128 KiB into 4 bytes at best; the rest is what a byte of JSON becomes at most.
  const uint64_t bytes_max = (uint64_t{1} << 20) + object.view().size() * (form.repair <= 1 ? 100000u : 1000u);
  MemoryMeter::start();
  if (is_mark) {
    const auto mark = VerifiedMark::decode(object.view(), key_of(true), kept_in_the_clear());
    FUZZ_HOLDS(MemoryMeter::asked_bytes() <= bytes_max);
    if (!mark) return must_be_refused_well(mark.error(), key_of(true), form), false;
    FUZZ_HOLDS(mark->snapshot == snapshot());
    if (form.write_again) must_be_written_again(*mark);
    return true;
  }
  auto manifest = Manifest::decode(object.view(), key_of(false), kept_in_the_clear());
  FUZZ_HOLDS(MemoryMeter::asked_bytes() <= bytes_max);
  if (!manifest) return must_be_refused_well(manifest.error(), key_of(false), form), false;
  must_be_whole(*manifest);
  if (form.write_again) must_be_written_again(std::move(*manifest));
  return true;
}

Manifest sound(SnapshotType type) {
  Manifest m;
  m.uuid = snapshot();
  m.name = "n";
  m.type = type;
  m.lineage = kept_in_the_clear();
  if (type != SnapshotType::full) m.base = m.parent = m.lineage.terminal;
  m.created_at = m.captured_at = from_ms(1767225600123);
  m.sequence = 7;
  m.page_size = 512;
  m.page_count = 65;
  Digest digest;
  digest.bytes.fill(0xab);
  m.packs = {{keys::pack(prefix_of(m.lineage), digest), digest, 4711}};
  m.configuration = {{"database", "till"}, {"retention", {{"last", 3}}}};
  if (type == SnapshotType::full) m.map = {{0, 0, 1}, {0, 1, 2}};
  return m;
}

std::vector<Bytes> sound_inputs() {
  std::vector<Bytes> inputs;
  CountingRandom random;
  auto add = [&](const Bytes& object, bool mark) {
    ByteReader in(ByteView(object).subspan(128, object.size() - 256));
    const auto json = take_section(in, 1 << 20);
    const auto map = mark ? Result<Bytes>(Bytes()) : take_section(in, 1 << 20);
    FUZZ_HOLDS(json && map && in.at_end());
    for (uint8_t first : {1, 6}) {
      Bytes input{first};
      if (first == 1) {
        if (mark) input[0] = 8 | 4;
        append(input, object);
      } else if (mark) {
        input[0] = 7;
        append(input, *json);
      } else {
        input.push_back(static_cast<uint8_t>(map->size() / 16));
        append(input, *map);
        append(input, *json);
      }
      inputs.push_back(std::move(input));
    }
  };
  Manifest full = sound(SnapshotType::full), incremental = sound(SnapshotType::incremental), damaged = full;
  full.schema = {"CREATE TABLE sale(a)"};
  full.tables = {{"sale", 3, {}}};
  AssetReference asset;
  asset.name = "menu";
  asset.path = "/m";
  asset.include = {"*"};
  asset.tree = AssetTreeRef{};
  asset.tree->sha256.bytes.fill(1);
  full.assets = Json::array({to_json(asset, full.lineage.terminal)});
  incremental.schema_version = -2;
  damaged.damage = "no";
  for (Manifest* m : {&full, &incremental, &damaged}) add(m->encode(random), false);
  VerifiedMark mark;
  mark.snapshot = snapshot();
  mark.verified_at = full.created_at;
  mark.method = "replay";
  add(mark.encode(kept_in_the_clear(), random), true);
  return inputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return one_input<sound_inputs, run, true>(data, size);
}

#ifdef TILLSYNC_FUZZ
// Two of three changes leave the JSON sound.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (size < 3 || Form({data, size}).repair <= 1 || random() % 3 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const size_t at = json_at(Form({data, size}), {data, size});
  return change_json(data, at, size, max_size, random);
}
#endif
