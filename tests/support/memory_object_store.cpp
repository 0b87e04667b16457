#include "support/memory_object_store.h"

#include <algorithm>

namespace tillsync::test {

ObjectStoreProperties MemoryObjectStore::properties() const {
  ObjectStoreProperties p;
  p.name = "memory";
  std::lock_guard lock(mutex_);
  p.may_delete = may_delete_;
  return p;
}

MemoryObjectStore::Fault MemoryObjectStore::next_call(const std::string& what) {
  calls_++;
  Fault fault;
  if (offline_)
    fault.before = Error{ErrorKind::offline, 0, what + ": the store can't be reached"};
  else if (fail_count_ > 0 && fail_count_--)
    fault.before = Error{kind_, 0, what + ": made to fail"};
  else if (fail_call_ != 0 && calls_ == fail_call_)
    (after_effect_ ? fault.after : fault.before) = Error{kind_at_, 0, what + ": made to fail"};
  return fault;
}

Result<void> MemoryObjectStore::put(const std::string& key, ObjectSource& source,
                                    const std::function<bool(uint64_t)>& progress) {
  TILLSYNC_TRY(check_key(key));
  Fault fault;
  {
    std::lock_guard lock(mutex_);
    fault = next_call("put " + key);
    if (fault.before) return *fault.before;
  }
  // The source and the progress belong to the caller: never called with the lock held.
  Bytes bytes(source.size()), again(source.size());
  for (Bytes* target : {&bytes, &again}) {
    for (uint64_t at = 0; at < target->size();) {
      MutableBytes part(target->data() + at, std::min<uint64_t>(64 << 10, target->size() - at));
      TILLSYNC_LET(size_t got, source.read(at, part));
      if (got != part.size())
        return Error{ErrorKind::corrupt, 0, "put " + key + ": the source is shorter than it said"};
      at += got;
      if (target == &bytes && progress && !progress(at))
        return Error{ErrorKind::cancelled, 0, "put " + key + ": cancelled"};
    }
  }
  if (bytes != again)
    return Error{ErrorKind::corrupt, 0, "put " + key + ": the source gave other bytes when read again"};
  std::lock_guard lock(mutex_);
  if (objects_.contains(key)) return Error{ErrorKind::conflict, 0, "put " + key + ": the object exists already"};
  objects_[key] = std::move(bytes);
  if (clock_) put_at_[key] = clock_->now();
  if (fault.after) return *fault.after;
  return {};
}

std::optional<Timestamp> MemoryObjectStore::put_at(const std::string& key) const {
  auto it = put_at_.find(key);
  return it == put_at_.end() ? std::nullopt : std::optional<Timestamp>(it->second);
}

Result<void> MemoryObjectStore::replace(const std::string& key, ByteView bytes) {
  TILLSYNC_TRY(check_key(key));
  if (!key.starts_with("fleet/"))
    return Error{ErrorKind::usage, 0, "replace " + key + ": only objects below fleet/ are overwritten"};
  std::lock_guard lock(mutex_);
  Fault fault = next_call("replace " + key);
  if (fault.before) return *fault.before;
  objects_[key] = to_bytes(bytes);
  if (fault.after) return *fault.after;
  return {};
}

Result<size_t> MemoryObjectStore::read(const std::string& key, uint64_t offset, MutableBytes out) {
  TILLSYNC_TRY(check_key(key));
  std::lock_guard lock(mutex_);
  Fault fault = next_call("read " + key);
  if (fault.before) return *fault.before;
  auto it = objects_.find(key);
  if (it == objects_.end()) return Error{ErrorKind::not_found, 0, "there is no object " + key};
  const Bytes& object = it->second;
  if (offset >= object.size()) return size_t{0};
  size_t n = std::min<uint64_t>(out.size(), object.size() - offset);
  std::copy_n(object.begin() + static_cast<ptrdiff_t>(offset), n, out.begin());
  bytes_read_ += n;
  if (fault.after) return *fault.after;
  return n;
}

Result<ObjectInfo> MemoryObjectStore::head(const std::string& key) {
  TILLSYNC_TRY(check_key(key));
  std::lock_guard lock(mutex_);
  Fault fault = next_call("head " + key);
  if (fault.before) return *fault.before;
  auto it = objects_.find(key);
  if (it == objects_.end()) return Error{ErrorKind::not_found, 0, "there is no object " + key};
  return ObjectInfo{key, it->second.size(), put_at(key)};
}

Result<ObjectPage> MemoryObjectStore::list(const std::string& prefix, const std::string& start_after, size_t limit) {
  if (limit < 1 || limit > 1000) return Error{ErrorKind::usage, 0, "list: the limit is 1 to 1,000"};
  std::lock_guard lock(mutex_);
  Fault fault = next_call("list " + prefix);
  if (fault.before) return *fault.before;
  ObjectPage page;
  for (auto it = objects_.upper_bound(std::max(start_after, prefix)); it != objects_.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    if (page.objects.size() == limit) {
      page.more = true;
      break;
    }
    page.objects.push_back({it->first, it->second.size(), put_at(it->first)});
  }
  // An object whose key is the prefix itself; upper_bound passed over it.
  if (start_after < prefix && objects_.contains(prefix)) {
    page.objects.insert(page.objects.begin(), {prefix, objects_[prefix].size(), put_at(prefix)});
    if (page.objects.size() > limit) {
      page.objects.pop_back();
      page.more = true;
    }
  }
  return page;
}

Result<void> MemoryObjectStore::remove(const std::string& key) {
  TILLSYNC_TRY(check_key(key));
  std::lock_guard lock(mutex_);
  Fault fault = next_call("remove " + key);
  if (fault.before) return *fault.before;
  if (!may_delete_) return Error{ErrorKind::denied, 0, "remove " + key + ": deleting is not allowed"};
  objects_.erase(key);
  put_at_.erase(key);
  if (fault.after) return *fault.after;
  return {};
}

void MemoryObjectStore::set_clock(Clock* clock) {
  std::lock_guard lock(mutex_);
  clock_ = clock;
}
void MemoryObjectStore::set_may_delete(bool may) {
  std::lock_guard lock(mutex_);
  may_delete_ = may;
}
void MemoryObjectStore::set_offline(bool offline) {
  std::lock_guard lock(mutex_);
  offline_ = offline;
}
void MemoryObjectStore::fail_next(ErrorKind kind, int count) {
  std::lock_guard lock(mutex_);
  kind_ = kind;
  fail_count_ = count;
}
void MemoryObjectStore::fail_at(uint64_t n, ErrorKind kind, bool after_effect) {
  std::lock_guard lock(mutex_);
  fail_call_ = calls_ + n;
  kind_at_ = kind;
  after_effect_ = after_effect;
}
uint64_t MemoryObjectStore::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}
uint64_t MemoryObjectStore::bytes_read() const {
  std::lock_guard lock(mutex_);
  return bytes_read_;
}
std::vector<std::string> MemoryObjectStore::keys() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (auto& [key, bytes] : objects_) out.push_back(key);
  return out;
}
std::optional<Bytes> MemoryObjectStore::content(const std::string& key) const {
  std::lock_guard lock(mutex_);
  auto it = objects_.find(key);
  return it == objects_.end() ? std::nullopt : std::optional<Bytes>(it->second);
}
void MemoryObjectStore::set(const std::string& key, Bytes bytes) {
  std::lock_guard lock(mutex_);
  if (clock_) put_at_[key] = clock_->now();
  objects_[key] = std::move(bytes);
}
void MemoryObjectStore::flip(const std::string& key, uint64_t offset, uint8_t mask) {
  std::lock_guard lock(mutex_);
  objects_.at(key).at(offset) ^= mask;
}
void MemoryObjectStore::truncate(const std::string& key, uint64_t size) {
  std::lock_guard lock(mutex_);
  objects_.at(key).resize(size);
}
void MemoryObjectStore::erase(const std::string& key) {
  std::lock_guard lock(mutex_);
  objects_.erase(key);
  put_at_.erase(key);
}

}  // namespace tillsync::test
