// What the targets for objects of a store share: whose the objects are, the repair of what would else end every change
// of a byte at the door, and a meter for memory.
//
// Fault model: of a terminal that is not sealed, whoever can write to the store can make every checksum hold. So what
// lies behind the checksums is read as if nothing had been proven.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "crypto/sealed_object.h"
#include "fuzz/fuzz.h"

namespace tillsync::fuzz {

// The terminal of the examples in docs/formats.md, not sealed.
const Lineage& kept_in_the_clear();

// 00 01 02 … each time: what is written twice has the same bytes.
struct CountingRandom : Random {
  void fill(MutableBytes out) override {
    for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<uint8_t>(i);
  }
};

// A zstd frame that holds the bytes as they are: unpacked by the same code, and much faster to make.
Bytes stored_frame(ByteView content);
// A section of a manifest: both lengths, and the frame.
void put_stored_section(Bytes& out, ByteView content);

// Header, body and trailer of an object that is not sealed, all checks hold.
Bytes object_of(ObjectKind kind, ByteView body, uint32_t index_length = 0);
// Makes the checks of header and trailer hold, and the size, whatever the bytes; nothing where there are too few.
void repair_object(Bytes& object);

// What the first byte of an input says of the rest of it.
struct Form {
  explicit Form(ByteView input);
  uint8_t repair;    // 0: an object as it is; 1: its checks are repaired; 2, 3: what the target says
  bool write_again;  // what was accepted is written and read again. A compressor is slow to make: one input of sixteen
  uint8_t rest;
};

// Bytes that were asked for since start(), freed or not; 0 where nothing can be counted (no ASan).
class MemoryMeter {
 public:
  static void start();
  static uint64_t asked_bytes();
};

// With TILLSYNC_FUZZ_TELL, prints why an input was refused: over a corpus it shows how deep the inputs come.
void tell(const Error& error);

// What a sound writer made must be accepted: run(input) for each input, once, when the target begins. With
// TILLSYNC_SOUND_INPUTS=FOLDER they are written there too, for the corpus.
void run_sound_inputs(const std::vector<Bytes>& inputs, const std::function<void(ByteView)>& run);

// LLVMFuzzerTestOneInput of such a target. run(input): Accepted is what it says of an input that a sound writer made.
template <auto SoundInputs, auto Run, auto Accepted>
int one_input(const uint8_t* data, size_t size) {
  [[maybe_unused]] static const bool begun = [] {
    run_sound_inputs(SoundInputs(), [](ByteView input) { FUZZ_HOLDS(Run(input) == Accepted); });
    return true;
  }();
  if (size >= 1) (void)Run({data, size});
  return 0;
}

}  // namespace tillsync::fuzz
