// What a sealed terminal reads: objects, the index of one that is read by ranges, the list of keys, key statements.
// First byte: bits 0 and 1: 0 an object as it is, 1 its checks are repaired and it is signed anew, 2 a statement, 3 a
// list of keys; bit 2: of an object, its index is read alone, of a statement, it is the second one; bit 3 of a
// statement: it is signed anew.
//
// The writer's private keys are known here, the data key of the objects is not: so nothing that was changed may open.
// Of what is not signed anew, nothing may even be taken for the terminal's.
#include <algorithm>

#include "crypto/envelope.h"
#include "crypto/hash.h"
#include "crypto/statement.h"
#include "fuzz/json_mutator.h"
#include "fuzz/stored_object.h"

using namespace tillsync;
using namespace tillsync::fuzz;

namespace {

Secret filled(uint8_t byte) { return Secret(Bytes(32, byte)); }
const SigningKey& signer(bool second = false) {
  static const SigningKey first_one(filled(0x11)), second_one(filled(0x44));
  return second ? second_one : first_one;
}

// The keys of the examples in docs/formats.md.
const Lineage& sealed_lineage() {
  static const Lineage lineage = [] {
    auto ring = std::make_shared<Keyring>();
    ring->signer = signer();
    ring->recipients = {SealingKey(filled(0x22)).public_key(), SealingKey(filled(0x33)).public_key()};
    ring->openers = {SealingKey(filled(0x33))};
    ring->signers = {signer().public_key(), signer(true).public_key()};
    Lineage out = kept_in_the_clear();
    out.keys = ring;
    return out;
  }();
  return lineage;
}

constexpr std::string_view kBody = "the body of an anchor", kIndex = "the index of a pack";

const Bytes& sound_object() {
  static const Bytes object = [] {
    CountingRandom random;
    return seal_object(ObjectKind::anchor, sealed_lineage(), random, as_bytes(kBody));
  }();
  return object;
}

const Bytes& sound_pack() {
  static const Bytes object = [] {
    CountingRandom random;
    ObjectSealer sealer(ObjectKind::pack, sealed_lineage(), random);
    Bytes out = sealer.head();
    append(out, sealer.seal(out.size(), as_bytes("a block")));
    const size_t at = out.size();
    append(out, sealer.seal_index(at, as_bytes(kIndex)));
    Sha256 hash;
    hash.update(out);
    const size_t size = out.size();
    append(out, sealer.trailer(hash, size, at, static_cast<uint32_t>(size - at)));
    return out;
  }();
  return object;
}

KeyStatement statement(bool second, const Digest& previous = {}) {
  KeyStatement s;
  s.terminal = sealed_lineage().terminal;
  s.name = second ? "t" : "store-042/till-3";
  s.created_at = from_ms(1767225600000);
  s.number = second ? 2 : 1;
  s.signing = signer(second).public_key();
  s.sealing = sealed_lineage().keys->recipients[0];
  s.previous = previous;
  return s;
}
const std::string& sound_statement(bool second) {
  static const std::string first_one = statement(false).encode(signer(), nullptr);
  static const std::string second_one = statement(true, sha256(as_bytes(first_one))).encode(signer(true), &signer());
  return second ? second_one : first_one;
}

void sign_object(Bytes& object) {
  if (object.size() < ObjectHeader::kSize + ObjectTrailer::kSize) return;
  repair_object(object);
  const Signature signature = signer().sign(ByteView(object).subspan(object.size() - 96, 32));
  std::copy(signature.begin(), signature.end(), object.end() - 64);
}

// corrupt; denied where its list of keys has none of ours: that is looked at before the signature.
bool refused(const Error& error, bool may_be_denied) {
  tell(error);
  FUZZ_HOLDS(error.kind == ErrorKind::corrupt || (may_be_denied && error.kind == ErrorKind::denied));
  FUZZ_HOLDS(!error.context.empty() && error.context.size() < 2000);
  return false;
}

bool run_whole(ByteView object) {
  MemoryMeter::start();
  const auto opened = open_object(object, ObjectKind::anchor, sealed_lineage());
  FUZZ_HOLDS(MemoryMeter::asked_bytes() <= (uint64_t{1} << 16) + 8 * object.size());
  if (!opened) return refused(opened.error(), true);
  FUZZ_HOLDS(equal(object, sound_object()) && as_text(opened->body) == kBody);
  // Who has no key is told so, and who has none of them is as well.
  Lineage other = sealed_lineage();
  other.keys = nullptr;
  FUZZ_HOLDS(open_object(object, ObjectKind::anchor, other).error().kind == ErrorKind::denied);
  return true;
}

bool run_ranges(ByteView object, bool repaired) {
  auto opener = ObjectOpener::open(object.first(std::min(ObjectOpener::head_size(sealed_lineage()), object.size())),
                                   ObjectKind::pack, sealed_lineage());
  if (!opener) return refused(opener.error(), true);
  if (object.size() < ObjectTrailer::kSize) return false;
  const auto trailer = opener->trailer(object.last(ObjectTrailer::kSize), object.size());
  if (!trailer) return refused(trailer.error(), false);
  const uint64_t at = trailer->index_offset, end = object.size() - ObjectTrailer::kSize;
  if (at > end || trailer->index_length > end - at) return false;
  const auto index = opener->unseal_index(at, object.subspan(at, trailer->index_length));
  if (!index) return refused(index.error(), false);
  // What lies before it is not looked at here; head, place and the index itself are what they were.
  FUZZ_HOLDS(as_text(*index) == kIndex);
  const Bytes& sound = sound_pack();
  FUZZ_HOLDS(equal(object.first(opener->body_at()), ByteView(sound).first(opener->body_at())));
  FUZZ_HOLDS(at == le64(sound.data() + sound.size() - 120));
  FUZZ_HOLDS(repaired || equal(object.last(ObjectTrailer::kSize), ByteView(sound).last(ObjectTrailer::kSize)));
  return true;
}

// With the signatures that its keys would make.
std::string signed_anew(ByteView text, bool second) {
  Json document = parse_json(as_text(text));
  if (!document.is_object()) return std::string(as_text(text));
  document.erase("signatures");
  const std::string message =
      "tillsync key statement\n" + document.dump(-1, ' ', false, Json::error_handler_t::replace);
  Json signatures = Json::array();
  for (const bool which : {true, false})
    if (second || !which)
      signatures.push_back({{"key", signer(which).public_key().id().hex()},
                            {"signature", to_hex(signer(which).sign(as_bytes(message)))}});
  document["signatures"] = std::move(signatures);
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool run_statement(ByteView text, bool second, bool repaired) {
  KeyHistory history;
  const Uuid& terminal = sealed_lineage().terminal;
  if (second) FUZZ_HOLDS(history.add(as_bytes(sound_statement(false)), "1", terminal));
  const std::string made = repaired ? signed_anew(text, second) : std::string(as_text(text));
  const Exact bytes(as_bytes(made));
  const auto added = history.add(bytes.view(), "key", terminal);
  FUZZ_HOLDS(history.statements().size() == (second ? 1u : 0u) + (added ? 1u : 0u));
  if (!added) {
    FUZZ_HOLDS(added.error().context.starts_with("key: "));
    return refused(added.error(), false);
  }
  const KeyStatement& s = history.statements().back();
  FUZZ_HOLDS(s.terminal == terminal && s.number == (second ? 2u : 1u));
  FUZZ_HOLDS(!second || s.previous == sha256(as_bytes(sound_statement(false))));
  const KeyStatement sound = statement(second);
  if (!repaired) FUZZ_HOLDS(s.name == sound.name && s.signing == sound.signing && s.sealing == sound.sealing);
  if (!repaired) FUZZ_HOLDS(s.created_at == sound.created_at);
  // What was read can be stated again.
  for (const bool which : {false, true}) {
    if (s.signing != signer(which).public_key()) continue;
    KeyHistory again;
    if (second) FUZZ_HOLDS(again.add(as_bytes(sound_statement(false)), "1", terminal));
    FUZZ_HOLDS(again.add(as_bytes(s.encode(signer(which), second ? &signer() : nullptr)), "key", terminal));
    FUZZ_HOLDS(again.statements().back().name == s.name && again.statements().back().created_at == s.created_at);
    return true;
  }
  FUZZ_HOLDS(!"a statement of a key that is nobody's");
  return false;
}

bool run_envelope(ByteView envelope) {
  const ByteView sound(sound_object());
  const auto key = unwrap(envelope, sound.first(128), sealed_lineage().keys->openers);
  if (!key) return refused(key.error(), true);
  // 00 01 02 …, as it was made with.
  for (size_t i = 0; i < 32; i++) FUZZ_HOLDS(key->view()[i] == i);
  // Its own entry, somewhere, and the ephemeral key.
  FUZZ_HOLDS(equal(envelope.subspan(8, 32), sound.subspan(136, 32)));
  FUZZ_HOLDS(as_text(envelope).find(as_text(sound.subspan(128 + 40 + 64, 64))) != std::string_view::npos);
  return true;
}

bool run(ByteView input) {
  const uint8_t first = input[0];
  const bool bit2 = first & 4, bit3 = first & 8;
  const Exact rest(input.subspan(1));
  switch (first & 3) {
    case 0: return bit2 ? run_ranges(rest.view(), false) : run_whole(rest.view());
    case 1: {
      Bytes object = to_bytes(rest.view());
      sign_object(object);
      const Exact made(object);
      return bit2 ? run_ranges(made.view(), true) : run_whole(made.view());
    }
    case 2: return run_statement(rest.view(), bit2, bit3);
    default: return run_envelope(rest.view());
  }
}

std::vector<Bytes> sound_inputs() {
  std::vector<Bytes> inputs;
  auto add = [&](uint8_t first, ByteView rest) {
    inputs.push_back({first});
    append(inputs.back(), rest);
  };
  add(0, sound_object());
  add(1, sound_object());
  add(4, sound_pack());
  add(5, sound_pack());
  for (const uint8_t first : {2, 10}) add(first, as_bytes(sound_statement(false)));
  for (const uint8_t first : {6, 14}) add(first, as_bytes(sound_statement(true)));
  add(3, ByteView(sound_object()).subspan(128, envelope_size(2)));
  return inputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return one_input<sound_inputs, run, true>(data, size);
}

#ifdef TILLSYNC_FUZZ
// Two of three changes of a statement leave it one.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (size < 2 || (data[0] & 3) != 2 || random() % 3 == 0) return LLVMFuzzerMutate(data, size, max_size);
  return change_json(data, 1, size, max_size, random);
}
#endif
