#include "snapshot/block_compressor.h"

#include <doctest/doctest.h>

#include <deque>

#include "compression/zstd.h"
#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_CASE("block compressor: blocks come back named, in their order, as one thread would have made them") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  for (const size_t threads : {1, 2, 3}) {
    for (const size_t depth : {1, 2, 5}) {
      CAPTURE(threads);
      CAPTURE(depth);
      BlockCompressor blocks(threads, depth);
      Compressor alone(Compressor::Tuning::database_pages);
      std::deque<Bytes> given;
      const auto take = [&] {
        const auto& block = blocks.pop();
        CHECK(equal(block.raw, given.front()));
        CHECK(block.name == sha256(given.front()));
        CHECK(equal(block.compressed, alone.compress(given.front())));
        Bytes back;
        must(decompress(block.compressed, given.front().size(), back));
        CHECK(equal(back, given.front()));
        given.pop_front();
      };
      for (int i = 0; i < 60; i++) {
        Bytes raw(random.below(200000), static_cast<uint8_t>(i));
        if (random.below(2)) random.fill(MutableBytes(raw).first(raw.size() / 2));
        while (blocks.is_full()) take();
        blocks.next().raw = raw;
        blocks.next().name.reset();
        if (random.below(2)) blocks.next().name = sha256(raw);
        blocks.push();
        given.push_back(std::move(raw));
        // Now and then it runs empty.
        if (random.below(10) == 0)
          while (!blocks.is_empty()) take();
      }
      while (!blocks.is_empty()) take();
      CHECK(given.empty());
    }
  }
}

TEST_CASE("block compressor: one that is left with blocks under way ends") {
  for (int i = 0; i < 50; i++) {
    BlockCompressor blocks(2, 4);
    for (int block = 0; block < 4; block++) {
      blocks.next().raw = Bytes(100000, static_cast<uint8_t>(block));
      blocks.push();
    }
  }
}
