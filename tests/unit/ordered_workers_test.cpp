#include "base/ordered_workers.h"

#include <doctest/doctest.h>

#include <deque>
#include <stdexcept>

#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Sum {
  std::vector<uint64_t> values;
  uint64_t result = 0;
};

// What a thread holds is its own: two of them would get into each other's way in `scratch`.
std::function<void(Sum&)> add_up() {
  return [scratch = std::make_shared<uint64_t>()](Sum& sum) {
    *scratch = 0;
    for (const uint64_t value : sum.values) {
      if (value == 13) throw std::runtime_error("thirteen");
      *scratch += value;
    }
    sum.result = *scratch;
  };
}

}  // namespace

TEST_CASE("ordered workers: jobs come back done, in the order they were given in") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  for (const size_t threads : {1, 2, 3}) {
    for (const size_t depth : {1, 2, 5}) {
      CAPTURE(threads);
      CAPTURE(depth);
      OrderedWorkers<Sum> workers(threads, depth, add_up);
      std::deque<uint64_t> expected;
      const auto take = [&] {
        CHECK(workers.pop().result == expected.front());
        expected.pop_front();
      };
      for (int i = 0; i < 200; i++) {
        while (workers.is_full()) take();
        Sum& next = workers.next();
        next.values.clear();
        uint64_t sum = 0;
        for (uint64_t n = random.below(3000); n > 0; n--) {
          next.values.push_back(100 + random.below(1000));
          sum += next.values.back();
        }
        workers.push();
        expected.push_back(sum);
        // Now and then it runs empty.
        if (random.below(10) == 0)
          while (!workers.is_empty()) take();
      }
      while (!workers.is_empty()) take();
      CHECK(expected.empty());
    }
  }
}

TEST_CASE("ordered workers: an exception comes out of the job it was thrown in, and the next one is done") {
  OrderedWorkers<Sum> workers(2, 3, add_up);
  for (const uint64_t value : {1, 13, 2}) {
    workers.next().values = {value};
    workers.push();
  }
  CHECK(workers.pop().result == 1);
  CHECK_THROWS_WITH(workers.pop(), "thirteen");
  CHECK(workers.pop().result == 2);
  CHECK(workers.is_empty());
}

TEST_CASE("ordered workers: those that are left with jobs under way end") {
  for (int i = 0; i < 50; i++) {
    OrderedWorkers<Sum> workers(2, 4, add_up);
    while (!workers.is_full()) {
      workers.next().values.assign(10000, 1);
      workers.push();
    }
  }
}
