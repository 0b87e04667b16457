// A journal of uploads whose calls fail, or that forgets what it was told.
#pragma once

#include "ports/upload_journal.h"

namespace tillsync::test {

class FaultyUploadJournal : public UploadJournal {
 public:
  explicit FaultyUploadJournal(UploadJournal& journal) : journal_(journal) {}

  // Call n from now (1 = the next one) fails; after_effect: it was written, and only the answer is lost.
  void fail_at(uint64_t n, bool after_effect = false) {
    fail_call_ = calls_ + n;
    after_effect_ = after_effect;
  }
  // Parts that are done from now on are not written down: what a crash just before would leave.
  void forget_parts(bool forgets) { forgets_parts_ = forgets; }
  uint64_t calls() const { return calls_; }

  Result<std::optional<Upload>> load(const std::string& key) override {
    return call<std::optional<Upload>>([&] { return journal_.load(key); });
  }
  Result<std::vector<Upload>> list(const std::string& prefix) override {
    return call<std::vector<Upload>>([&] { return journal_.list(prefix); });
  }
  Result<void> begin(const Upload& upload) override {
    return call<void>([&] { return journal_.begin(upload); });
  }
  Result<void> part_done(const std::string& key, const std::string& id, const UploadPart& part) override {
    return call<void>([&] { return forgets_parts_ ? Result<void>() : journal_.part_done(key, id, part); });
  }
  Result<void> forget(const std::string& key) override {
    return call<void>([&] { return journal_.forget(key); });
  }

 private:
  template <class T, class F>
  Result<T> call(F&& f) {
    const bool fails = ++calls_ == fail_call_;
    const Error error{ErrorKind::no_space, 0, "journal: made to fail"};
    if (fails && !after_effect_) return error;
    Result<T> done = f();
    if (fails) return error;
    return done;
  }

  UploadJournal& journal_;
  uint64_t calls_ = 0, fail_call_ = 0;
  bool after_effect_ = false, forgets_parts_ = false;
};

}  // namespace tillsync::test
