// Change notification by hand: a test says "changed", the code under test is woken.
//
// With a FakeClock nothing waits: wait() answers what is pending, else moves the clock by its timeout and answers
// timeout. Without one it really waits, for tests with threads.
// Threads: as the port.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "ports/change_notifier.h"
#include "support/fake_clock.h"

namespace tillsync::test {

class FakeChangeNotifier : public ChangeNotifier {
 public:
  explicit FakeChangeNotifier(FakeClock* clock = nullptr) : clock_(clock) {}
  Event wait(std::chrono::milliseconds timeout) override {
    std::unique_lock lock(mutex_);
    if (!changed_ && !woken_) {
      if (clock_) {
        clock_->advance(timeout);
        return Event::timeout;
      }
      auto longest = std::min<std::chrono::milliseconds>(timeout, std::chrono::hours(24));
      signal_.wait_for(lock, longest, [this] { return changed_ || woken_; });
    }
    if (std::exchange(woken_, false)) return Event::woken;
    return std::exchange(changed_, false) ? Event::changed : Event::timeout;
  }
  void wake() override { set(woken_); }
  void change() { set(changed_); }

 private:
  void set(bool& flag) {
    {
      std::lock_guard lock(mutex_);
      flag = true;
    }
    signal_.notify_all();
  }
  FakeClock* clock_;
  std::mutex mutex_;
  std::condition_variable signal_;
  bool changed_ = false, woken_ = false;
};

// Hands out notifiers; change(path) reaches every one that watches the path.
class FakeChangeNotifierFactory : public ChangeNotifierFactory {
 public:
  explicit FakeChangeNotifierFactory(FakeClock* clock = nullptr) : shared_(std::make_shared<Shared>()), clock_(clock) {}
  Result<std::unique_ptr<ChangeNotifier>> watch(const std::string& database_path) override {
    auto notifier = std::make_unique<Registered>(clock_, shared_);
    std::lock_guard lock(shared_->mutex);
    shared_->watching.emplace(database_path, notifier.get());
    return std::unique_ptr<ChangeNotifier>(std::move(notifier));
  }
  void change(const std::string& database_path) {
    std::lock_guard lock(shared_->mutex);
    auto [from, to] = shared_->watching.equal_range(database_path);
    for (auto it = from; it != to; ++it) it->second->change();
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::multimap<std::string, FakeChangeNotifier*> watching;
  };
  struct Registered : FakeChangeNotifier {
    Registered(FakeClock* clock, std::shared_ptr<Shared> s) : FakeChangeNotifier(clock), shared(std::move(s)) {}
    ~Registered() override {
      std::lock_guard lock(shared->mutex);
      std::erase_if(shared->watching, [this](auto& entry) { return entry.second == this; });
    }
    std::shared_ptr<Shared> shared;
  };
  std::shared_ptr<Shared> shared_;
  FakeClock* clock_;
};

}  // namespace tillsync::test
