// Redo of a page: any bytes are applied or refused within the page; what is encoded gives the page back, also twice
// and on top of a part of itself.
#include "capture/replica.h"
#include "fuzz/fuzz.h"

using namespace tillsync;
using namespace tillsync::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kPage = 512;
  Exact change({data, size});
  std::unique_ptr<uint8_t[]> page(new uint8_t[kPage]());
  MutableBytes target(page.get(), kPage);
  (void)apply_page_change(change.view(), target).has_value();

  Bytes base(kPage), now(kPage);
  for (size_t i = 0; i < kPage; i++) {
    base[i] = i < size ? data[i] : 0;
    now[i] = kPage + i < size ? data[kPage + i] : base[i];
  }
  Bytes encoded;
  encode_page_change(base, now, encoded);
  FUZZ_HOLDS(encoded.size() <= kPage + 1);
  std::memcpy(page.get(), base.data(), kPage);
  for (int i = 0; i < 2; i++) {
    FUZZ_HOLDS(apply_page_change(encoded, target).has_value());
    FUZZ_HOLDS(std::memcmp(page.get(), now.data(), kPage) == 0);
  }
  std::memcpy(page.get(), base.data(), kPage);
  std::memcpy(page.get(), now.data(), kPage / 2);
  FUZZ_HOLDS(apply_page_change(encoded, target).has_value());
  FUZZ_HOLDS(std::memcmp(page.get(), now.data(), kPage) == 0);
  return 0;
}
