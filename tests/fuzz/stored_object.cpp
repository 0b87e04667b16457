#include "fuzz/stored_object.h"

#include <algorithm>
#include <atomic>
#include <fstream>

#if defined(__SANITIZE_ADDRESS__)
#define TILLSYNC_METER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TILLSYNC_METER 1
#endif
#endif
#ifdef TILLSYNC_METER
// Of sanitizer/allocator_interface.h, which not every compiler brings along.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                         void (*)(const volatile void*));
#endif

namespace tillsync::fuzz {

namespace {

bool is_sound = false;
uint64_t asked = 0;
#ifdef TILLSYNC_METER
void on_malloc(const volatile void*, size_t size) { asked += size; }
void on_free(const volatile void*) {}
#endif

// One for all: to look the algorithm up costs more than to hash what a target has.
Sha256& hash() {
  static Sha256 one;
  return one;
}

void put_check(uint8_t* at, const Digest& digest, size_t size) { std::memcpy(at, digest.bytes.data(), size); }

}  // namespace

const Lineage& kept_in_the_clear() {
  static const Lineage lineage{Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "till", 3};
  return lineage;
}

// Source: RFC 8878 §3.1.1: single segment, content size in 4 bytes, no checksum, raw blocks.
Bytes stored_frame(ByteView content) {
  constexpr size_t kBlockMax = 128 << 10;
  Bytes out;
  out.reserve(content.size() + 16);
  ByteWriter w(out);
  w.u32(0xfd2fb528);
  w.u8(0xa0);
  w.u32(static_cast<uint32_t>(content.size()));
  do {
    const size_t n = std::min(content.size(), kBlockMax);
    const uint32_t header = static_cast<uint32_t>(n << 3) | (n == content.size() ? 1 : 0);
    w.u16(static_cast<uint16_t>(header));
    w.u8(static_cast<uint8_t>(header >> 16));
    w.bytes(content.first(n));
    content = content.subspan(n);
  } while (!content.empty());
  return out;
}

void put_stored_section(Bytes& out, ByteView content) {
  const Bytes frame = stored_frame(content);
  ByteWriter w(out);
  w.u32(static_cast<uint32_t>(content.size()));
  w.u32(static_cast<uint32_t>(frame.size()));
  w.bytes(frame);
}

Bytes object_of(ObjectKind kind, ByteView body, uint32_t index_length) {
  static std::array<Bytes, 9> heads;
  Bytes& head = heads.at(static_cast<size_t>(kind));
  if (head.empty()) {
    CountingRandom random;
    head = ObjectHeader::make(kind, kept_in_the_clear(), random).encode();
  }
  Bytes object;
  object.reserve(head.size() + body.size() + ObjectTrailer::kSize);
  append(object, head);
  append(object, body);
  const uint64_t size = object.size();
  append(object,
         ObjectTrailer::encode(hash().update(object), size, index_length ? size - index_length : 0, index_length));
  return object;
}

void repair_object(Bytes& object) {
  if (object.size() < ObjectHeader::kSize + ObjectTrailer::kSize) return;
  put_check(object.data() + 120, sha256(ByteView(object).first(120)), 8);
  uint8_t* trailer = object.data() + object.size() - ObjectTrailer::kSize;
  const uint64_t size = object.size();
  std::memcpy(trailer, "TILLSEND", 8);
  for (size_t i = 0; i < 8; i++) trailer[24 + i] = static_cast<uint8_t>(size >> (8 * i));
  std::memset(trailer + 20, 0, 4);
  std::memset(trailer + 64, 0, 64);
  put_check(trailer + 32, sha256(ByteView(object).first(object.size() - 96)), 32);
  put_check(trailer + 20, hash().update({trailer, 20}).update({trailer + 24, 40}).finish(), 4);
}

Form::Form(ByteView input) : repair(input[0] & 3), write_again(input[0] & 4), rest(input[0] >> 3) {
  uint8_t sum = 0;
  for (const uint8_t b : input) sum = static_cast<uint8_t>(sum + b);
  write_again = write_again && (is_sound || sum % 16 == 0);
}

void MemoryMeter::start() {
#ifdef TILLSYNC_METER
  [[maybe_unused]] static const int installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
#endif
  asked = 0;
}

uint64_t MemoryMeter::asked_bytes() { return asked; }

void tell(const Error& error) {
  static const bool told = std::getenv("TILLSYNC_FUZZ_TELL") != nullptr;
  if (told) std::printf("refused: %s\n", error.context.c_str());
}

void run_sound_inputs(const std::vector<Bytes>& inputs, const std::function<void(ByteView)>& run) {
  const char* folder = std::getenv("TILLSYNC_SOUND_INPUTS");
  is_sound = true;
  for (const Bytes& input : inputs) run(input);
  is_sound = false;
  for (size_t i = 0; folder && i < inputs.size(); i++) {
    std::ofstream out(std::string(folder) + "/sound-" + std::to_string(i), std::ios::binary);
    out.write(reinterpret_cast<const char*>(inputs[i].data()), static_cast<std::streamsize>(inputs[i].size()));
    FUZZ_HOLDS(out.flush().good());
  }
}

}  // namespace tillsync::fuzz
