// What sealing costs a FULL: the same image packed in the clear and sealed for two recipients, in turns, in one run.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_random_linux.h"
#include "snapshot/builder.h"

using namespace tillsync;

namespace {

// Pages that compress as a till's do: a third random, the rest text that repeats.
class Pages : public PageImage {
 public:
  explicit Pages(PageNo count) : count_(count) {}
  uint32_t page_size() const override { return 4096; }
  PageNo page_count() const override { return count_; }
  Result<void> read(PageNo first, MutableBytes out) override {
    uint64_t state = first * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < out.size(); i++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      out[i] =
          i % 48 < 16 ? static_cast<uint8_t>(state) : static_cast<uint8_t>("tea and coffee, two sugars, cash"[i % 32]);
    }
    return {};
  }
  Result<void> generations(PageNo, std::span<uint32_t> out) override {
    std::fill(out.begin(), out.end(), 1);
    return {};
  }

 private:
  PageNo count_;
};

double seconds_of(const Lineage& lineage, PageImage& image, const std::string& folder) {
  LinuxFileSystem files;
  SystemRandom random;
  SnapshotPlan plan;
  plan.metadata.lineage = lineage;
  plan.metadata.type = SnapshotType::full;
  const auto begun = std::chrono::steady_clock::now();
  auto built = build_snapshot(plan, image, files, folder, random);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (!built) {
    std::fprintf(stderr, "%s\n", built.error().context.c_str());
    std::exit(1);
  }
  for (auto& pack : built->packs) (void)files.remove(pack.path).has_value();
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  const auto megabytes = static_cast<PageNo>(argc > 1 ? std::atoi(argv[1]) : 200);
  char name[] = "/tmp/tillsync-sealing-bench.XXXXXX";
  const std::string folder = ::mkdtemp(name);
  SystemRandom random;
  auto ring = std::make_shared<Keyring>();
  ring->signer = SigningKey::make(random);
  ring->recipients = {SealingKey::make(random).public_key(), SealingKey::make(random).public_key()};
  const Lineage clear{Uuid{}, "pos", 1}, sealed{Uuid{}, "pos", 1, ring};
  Pages image(megabytes * 256);
  double best_clear = 1e9, best_sealed = 1e9;
  for (int round = 0; round < 5; round++) {
    best_clear = std::min(best_clear, seconds_of(clear, image, folder));
    best_sealed = std::min(best_sealed, seconds_of(sealed, image, folder));
  }
  std::printf("FULL of %u MiB, best of 5: in the clear %.3f s, sealed %.3f s, ratio %.3f\n", megabytes, best_clear,
              best_sealed, best_sealed / best_clear);
  std::filesystem::remove_all(folder);
}
