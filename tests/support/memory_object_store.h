// An object store in memory, stricter than S3: create-only, keys and limits checked, replace() only below fleet/, and
// the source of every put is read twice, because a real one may have to send it again.
//
// Errors on demand: set_offline(), fail_next(), fail_at(); damage on demand: flip(), truncate(), erase().
// Threads: any.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "ports/clock.h"
#include "ports/object_store.h"

namespace tillsync::test {

class MemoryObjectStore : public ObjectStore {
 public:
  ObjectStoreProperties properties() const override;
  Result<void> put(const std::string& key, ObjectSource& source,
                   const std::function<bool(uint64_t)>& progress = nullptr) override;
  Result<void> replace(const std::string& key, ByteView bytes) override;
  Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) override;
  Result<ObjectInfo> head(const std::string& key) override;
  Result<ObjectPage> list(const std::string& prefix, const std::string& start_after, size_t limit) override;
  Result<void> remove(const std::string& key) override;

  // Objects that are put from now on carry its time; without one the store does not say when.
  void set_clock(Clock* clock);
  // A store that lets us put and read, and refuses remove().
  void set_may_delete(bool may);

  void set_offline(bool offline);
  // The next `count` calls fail.
  void fail_next(ErrorKind kind, int count = 1);
  // Call n from now (1 = the next one) fails; after_effect: the work is done and only the answer is lost.
  void fail_at(uint64_t n, ErrorKind kind, bool after_effect = false);
  uint64_t calls() const;
  uint64_t bytes_read() const;

  std::vector<std::string> keys() const;
  std::optional<Bytes> content(const std::string& key) const;
  void set(const std::string& key, Bytes bytes);
  void flip(const std::string& key, uint64_t offset, uint8_t mask = 1);
  void truncate(const std::string& key, uint64_t size);
  void erase(const std::string& key);

 private:
  struct Fault {
    std::optional<Error> before, after;
  };
  Fault next_call(const std::string& what);
  mutable std::mutex mutex_;
  std::optional<Timestamp> put_at(const std::string& key) const;
  std::map<std::string, Bytes> objects_;
  std::map<std::string, Timestamp> put_at_;
  Clock* clock_ = nullptr;
  bool offline_ = false, may_delete_ = true;
  uint64_t calls_ = 0, bytes_read_ = 0, fail_call_ = 0;
  int fail_count_ = 0;
  bool after_effect_ = false;
  ErrorKind kind_ = ErrorKind::transient, kind_at_ = ErrorKind::transient;
};

}  // namespace tillsync::test
