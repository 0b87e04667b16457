// Two uploads at once, where the store takes them: the next begins while the one before ends.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <thread>

#include "agent/transfers_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// Takes two uploads at once. What comes when is decided by the test: each upload, once its last part is on its way,
// waits for what at_end says.
class TwoAtOnceStore : public MemoryObjectStore {
 public:
  ObjectStoreProperties properties() const override {
    auto p = MemoryObjectStore::properties();
    p.resumable = true;
    p.part_size_bytes = 100;
    p.uploads_at_once = 2;
    return p;
  }
  Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal&,
                             const std::function<bool(uint64_t)>& progress) override {
    {
      std::lock_guard lock(mutex);
      begun.push_back(key);
      most_at_once = std::max(most_at_once, ++under_way);
      changed.notify_all();
    }
    const auto ended = [&]() -> Result<void> {
      const uint64_t before_last_part = source.size() - std::min<uint64_t>(source.size(), 150);
      for (const uint64_t sent : {before_last_part, source.size()})
        if (!progress(sent)) return Error{ErrorKind::cancelled, 0, "stopped"};
      TILLSYNC_TRY(at_end ? at_end(key, progress) : Result<void>());
      return put(key, source, nullptr);
    }();
    std::lock_guard lock(mutex);
    under_way--;
    return ended;
  }
  // Fails the test where it never happens.
  void wait_until(const std::function<bool()>& happened) {
    std::unique_lock lock(mutex);
    CHECK(changed.wait_for(lock, 60s, happened));
  }
  bool has_begun(const std::string& key) { return std::count(begun.begin(), begun.end(), key) != 0; }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> begun;
  int under_way = 0, most_at_once = 0;
  std::function<Result<void>(const std::string& key, const std::function<bool(uint64_t)>& progress)> at_end;
};

}  // namespace

TEST_SUITE_BEGIN("agent");

TEST_CASE("transfers: where the store takes two, the next begins while the one before ends, and no third") {
  TransfersWorld world;
  TwoAtOnceStore store;
  world.use(store);
  for (const char* pack : {"pack-1", "pack-2", "pack-3"}) world.wanted.push_back(world.spool(Lane::packs, pack, 350));
  world.wanted.push_back(world.spool(Lane::assets, "asset", 50));
  bool is_alone = true;
  store.at_end = [&](const std::string& key, auto&) -> Result<void> {
    if (key == "pack-1") store.wait_until([&] { return store.has_begun("pack-2"); });
    if (key == "pack-2") store.wait_until([&] { return store.has_begun("pack-3"); });
    std::lock_guard lock(store.mutex);
    is_alone = is_alone && store.under_way == 1;
    return {};
  };
  const auto outcome = must(world.engine->run(world.begin()));
  CHECK(outcome.state == RunOutcome::State::done);
  CHECK(outcome.result == 1100);
  CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2", "pack-3", "asset"});
  CHECK(store.most_at_once == 2);
  CHECK_FALSE(is_alone);
  CHECK(world.transfers->status().sent_bytes == 1100);
  CHECK(world.transfers->status().active == 0);
  CHECK(world.count("transfer_queue") == 0);
}

TEST_CASE("transfers: an outage of one of two holds up the third, and the other ends first") {
  TransfersWorld world;
  TwoAtOnceStore store;
  world.use(store);
  for (const char* pack : {"pack-1", "pack-2", "pack-3"}) world.wanted.push_back(world.spool(Lane::packs, pack, 350));
  bool has_failed = false;
  int waits = 0;
  store.at_end = [&](const std::string& key, auto&) -> Result<void> {
    if (key == "pack-1" && !std::exchange(has_failed, true)) {
      store.wait_until([&] { return store.has_begun("pack-2"); });
      return Error{ErrorKind::offline, 0, "the link is down"};
    }
    if (key == "pack-2") {
      // Until the failure is known: what begins after it would begin now.
      while (world.count("transfer_queue WHERE retry_count > 0") == 0) std::this_thread::yield();
      std::lock_guard lock(store.mutex);
      CHECK_FALSE(store.has_begun("pack-3"));
    }
    return {};
  };
  world.while_waiting = [&] {
    waits++;
    CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2"});
    CHECK(store.under_way == 0);
    world.clock.advance(10s);
  };
  CHECK(must(world.engine->run(world.begin())).state == RunOutcome::State::done);
  CHECK(waits > 0);
  CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2", "pack-1", "pack-3"});
  CHECK(world.transfers->status().errors == 1);
  CHECK(world.count("transfer_queue") == 0);
}

TEST_CASE("transfers: what ends the step stops both of two") {
  TransfersWorld world;
  TwoAtOnceStore store;
  world.use(store);
  for (const char* pack : {"pack-1", "pack-2", "pack-3"}) world.wanted.push_back(world.spool(Lane::packs, pack, 350));
  const Uuid uuid = world.begin();
  std::atomic<int> stopped = 0;
  const auto until_stopped = [&](const std::function<bool(uint64_t)>& progress) {
    while (progress(350)) std::this_thread::yield();
    stopped++;
    return Error{ErrorKind::cancelled, 0, "stopped"};
  };
  SUBCASE("a cancellation") {
    store.at_end = [&](const std::string& key, const auto& progress) -> Result<void> {
      if (key == "pack-2") (void)world.engine->cancel(uuid).has_value();
      return until_stopped(progress);
    };
    CHECK(must(world.engine->run(uuid)).state == RunOutcome::State::cancelled);
    CHECK(stopped == 2);
  }
  SUBCASE("a failure that does not heal") {
    store.at_end = [&](const std::string& key, const auto& progress) -> Result<void> {
      if (key == "pack-2") return until_stopped(progress);
      store.wait_until([&] { return store.has_begun("pack-2"); });
      return Error{ErrorKind::denied, 403, "not allowed"};
    };
    const auto outcome = must(world.engine->run(uuid));
    CHECK(outcome.state == RunOutcome::State::failed);
    CHECK(outcome.error->kind == ErrorKind::denied);
    CHECK(stopped == 1);
  }
  CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2"});
  CHECK(world.transfers->status().active == 0);
  CHECK(world.count("transfer_queue") == 0);
}

TEST_SUITE_END();
