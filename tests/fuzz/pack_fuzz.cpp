// A pack: its index, and every block of it. First byte: bits 0 and 1: 0 the object as it is, 1 its checks are repaired,
// and that of its index, 2 the length of the index (two bytes), the index without its SHA-256, and what is stored:
// offsets, stored lengths and checks are repaired, 3 the names of what can be unpacked as well; bit 2 writes the index
// again.
#include <zstd.h>
#include <algorithm>
#include <random>

#include "compression/zstd.h"
#include "crypto/hash.h"
#include "fuzz/stored_object.h"
#include "snapshot/pack_reader.h"
#include "snapshot/pack_writer.h"
#include "support/memory_file_system.h"

using namespace tillsync;
using namespace tillsync::fuzz;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

const std::string kKey = "pack";

// A store that has one object.
class OneObject : public ObjectStore {
 public:
  explicit OneObject(ByteView object) : object_(object) {}
  ObjectStoreProperties properties() const override { return {}; }
  Result<void> put(const std::string&, ObjectSource&, const std::function<bool(uint64_t)>&) override { return none(); }
  Result<void> replace(const std::string&, ByteView) override { return none(); }
  Result<size_t> read(const std::string&, uint64_t offset, MutableBytes out) override {
    if (offset > object_.size()) return size_t{0};
    const ByteView part = object_.subspan(offset, std::min<uint64_t>(out.size(), object_.size() - offset));
    std::copy(part.begin(), part.end(), out.begin());
    return part.size();
  }
  Result<ObjectInfo> head(const std::string& key) override { return ObjectInfo{key, object_.size()}; }
  Result<ObjectPage> list(const std::string&, const std::string&, size_t) override { return ObjectPage{}; }
  Result<void> remove(const std::string&) override { return none(); }

 private:
  static Error none() { return Error{ErrorKind::usage, 0, "it is read only"}; }
  ByteView object_;
};

void put_u64(uint8_t* at, uint64_t v) {
  for (size_t i = 0; i < 8; i++) at[i] = static_cast<uint8_t>(v >> (8 * i));
}
void put_u32(uint8_t* at, uint32_t v) {
  for (size_t i = 0; i < 4; i++) at[i] = static_cast<uint8_t>(v >> (8 * i));
}

// What the content of a stored block is, by zstd alone, if it can be unpacked into no more than a block can have.
bool unpack(ByteView stored, size_t size, Bytes& out) {
  static ZSTD_DCtx* context = ZSTD_createDCtx();
  static Bytes room(4 << 20);
  if (size > room.size()) return false;
  const size_t n = ZSTD_decompressDCtx(context, room.data(), size, stored.data(), stored.size());
  if (ZSTD_isError(n) || n != size) return false;
  out.assign(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(n));
  return true;
}

// The entries of an index follow each other from byte 128, each with what is stored for it: its stored length as far as
// there is something, the last one with all that is left.
void repair_entries(Bytes& index, ByteView stored, bool names) {
  if (index.size() < 8) return;
  const uint32_t count = le32(index.data() + 4);
  size_t at = 8;
  uint64_t offset = 128;
  for (uint32_t i = 0; i < count && at + 58 <= index.size(); i++) {
    uint8_t* entry = index.data() + at;
    const uint32_t pages = entry[57];
    ByteReader numbers(ByteView(index).subspan(at + 58));
    for (uint32_t n = 0; entry[0] == 2 && n < pages && numbers.ok(); n++) numbers.uvar();
    at += 58 + numbers.position();
    const bool last = i + 1 == count || at + 58 > index.size();
    const size_t length = last ? stored.size() : std::min<size_t>(le32(entry + 49), stored.size());
    const ByteView block = stored.first(length);
    stored = stored.subspan(length);
    std::memcpy(entry + 33, sha256(block).bytes.data(), 8);
    put_u64(entry + 41, offset);
    put_u32(entry + 49, static_cast<uint32_t>(length));
    offset += length;
    Bytes raw;
    if (names && unpack(block, le32(entry + 53), raw)) std::memcpy(entry + 1, sha256(raw).bytes.data(), 32);
  }
}

struct Parts {
  ByteView index, stored;
};
// Of forms 2 and 3, without the first byte.
Parts parts_of(ByteView rest) {
  if (rest.size() < 2) return {};
  const size_t n = std::min<size_t>(rest[0] | rest[1] << 8, rest.size() - 2);
  return {rest.subspan(2, n), rest.subspan(2 + n)};
}

Bytes object_from(const Form& form, ByteView rest) {
  if (form.repair <= 1) {
    Bytes object = to_bytes(rest);
    if (form.repair == 0 || object.size() < 256) return object;
    const uint8_t* trailer = object.data() + object.size() - 128;
    const uint64_t at = le64(trailer + 8);
    if (at <= object.size() - 160) {
      const Digest digest = sha256(ByteView(object).subspan(at, object.size() - 160 - at));
      std::copy(digest.bytes.begin(), digest.bytes.end(), object.end() - 160);
    }
    repair_object(object);
    return object;
  }
  const Parts parts = parts_of(rest);
  Bytes index = to_bytes(parts.index), body = to_bytes(parts.stored);
  repair_entries(index, parts.stored, form.repair == 3);
  append(index, sha256(index).view());
  append(body, index);
  return object_of(ObjectKind::pack, body, static_cast<uint32_t>(index.size()));
}

void must_be_written_again(const PackIndex& index, uint64_t offset) {
  const Bytes written = index.encode();
  const auto read = PackIndex::decode(written, offset, 128);
  FUZZ_HOLDS(read && read->page_size == index.page_size && read->blocks.size() == index.blocks.size());
  FUZZ_HOLDS(read->encode() == written);
}

void must_be_refused_well(const Error& error, const Form& form) {
  tell(error);
  FUZZ_HOLDS(error.kind == ErrorKind::corrupt || (form.repair <= 1 && error.kind == ErrorKind::denied));
  FUZZ_HOLDS(error.context.starts_with(kKey + ": "));
}

// How many of its blocks hold; nothing if the pack does not.
std::optional<size_t> run(ByteView input) {
  const Form form(input);
  const Bytes made = object_from(form, input.subspan(1));
  const Exact object(made);
  OneObject store(object.view());
  MemoryMeter::start();
  auto pack = PackReader::open(store, kKey, kept_in_the_clear());
  FUZZ_HOLDS(MemoryMeter::asked_bytes() <= (uint64_t{1} << 20) + 100 * object.view().size());
  if (!pack) {
    must_be_refused_well(pack.error(), form);
    return std::nullopt;
  }
  const PackIndex& index = pack->index();
  uint64_t end = 128;
  size_t sound = 0;
  for (uint32_t i = 0; i < index.blocks.size(); i++) {
    const PackBlock& block = index.blocks[i];
    FUZZ_HOLDS(block.offset == end && block.pages >= 1 && block.pages <= kPagesPerBlock);
    FUZZ_HOLDS(block.raw_length == block.pages * index.page_size && block.raw_length <= 4 << 20);
    FUZZ_HOLDS(block.numbers.size() == (block.kind == BlockKind::list ? block.pages : 0));
    FUZZ_HOLDS(std::is_sorted(block.numbers.begin(), block.numbers.end()));
    FUZZ_HOLDS(std::adjacent_find(block.numbers.begin(), block.numbers.end()) == block.numbers.end());
    FUZZ_HOLDS(block.numbers.empty() || block.numbers.front() >= 1);
    end += block.stored_length;
    // The room for a block's content: asked for only if so few bytes can give it.
    MemoryMeter::start();
    const auto content = pack->block(i);
    FUZZ_HOLDS(MemoryMeter::asked_bytes() <= (uint64_t{1} << 20) + block.stored_length * (uint64_t{1} << 16));
    if (!content) {
      must_be_refused_well(content.error(), form);
      continue;
    }
    sound++;
    Bytes expected;
    FUZZ_HOLDS(unpack(object.view().subspan(block.offset, block.stored_length), block.raw_length, expected));
    FUZZ_HOLDS(equal(*content, expected) && sha256(*content) == block.name);
    // A second look, from a store that did not change, sees the same.
    if (form.write_again) FUZZ_HOLDS(equal(pack->block(i).value(), expected));
  }
  const auto beyond = pack->block(static_cast<uint32_t>(index.blocks.size()));
  FUZZ_HOLDS(!beyond && beyond.error().kind == ErrorKind::corrupt);
  if (form.write_again) must_be_written_again(index, end);
  return sound;
}

std::vector<Bytes> sound_inputs() {
  CountingRandom random;
  Compressor compressor;
  test::MemoryFileSystem files;
  files.add_directory("/spool");
  auto writer = PackWriter::create(files, "/spool", kept_in_the_clear(), 512, random);
  FUZZ_HOLDS(writer);
  Bytes run_of_two(1024), changed(1536, 'A');
  for (size_t i = 0; i < run_of_two.size(); i++) run_of_two[i] = static_cast<uint8_t>(i >> 5);
  std::fill(changed.begin() + 512, changed.end(), 'B');
  FUZZ_HOLDS(writer->add_run(compressor.compress(run_of_two), run_of_two.size(), sha256(run_of_two)));
  FUZZ_HOLDS(writer->add_list(compressor.compress(changed), changed.size(), sha256(changed), {2, 5, 1000}));
  const Bytes zeros(512, 0);
  FUZZ_HOLDS(writer->add_list(compressor.compress(zeros), zeros.size(), sha256(zeros), {7}));
  const auto finished = writer->finish();
  FUZZ_HOLDS(finished);
  const auto object = read_file(files, finished->path);
  FUZZ_HOLDS(object);
  const ByteView whole(*object);
  const size_t at = le64(whole.data() + whole.size() - 120);
  const ByteView index = whole.subspan(at, whole.size() - 160 - at);
  std::vector<Bytes> inputs;
  for (const uint8_t first : {0, 5, 6, 3}) {
    Bytes input{first};
    if (first & 2) {
      ByteWriter(input).u16(static_cast<uint16_t>(index.size()));
      append(input, index);
      append(input, whole.subspan(128, at - 128));
    } else {
      append(input, whole);
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return one_input<sound_inputs, run, size_t{3}>(data, size);
}

#ifdef TILLSYNC_FUZZ
// Half of the changes are in one of the parts, whose length is then set right: the index, or what is stored.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (size < 4 || Form({data, size}).repair <= 1 || random() % 2) return LLVMFuzzerMutate(data, size, max_size);
  const Parts parts = parts_of({data + 1, size - 1});
  Bytes index = to_bytes(parts.index), stored = to_bytes(parts.stored);
  Bytes& changed = random() % 2 ? index : stored;
  const size_t n = changed.size();
  changed.resize(n + 16);
  changed.resize(LLVMFuzzerMutate(changed.data(), n, changed.size()));
  Bytes out{data[0]};
  ByteWriter(out).u16(static_cast<uint16_t>(index.size()));
  append(out, index);
  append(out, stored);
  if (out.size() > max_size) return size;
  std::copy(out.begin(), out.end(), data);
  return out.size();
}
#endif
