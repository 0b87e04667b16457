#include "store/counted_store.h"

namespace tillsync {

std::string_view to_string(StoreOperation operation) {
  switch (operation) {
    case StoreOperation::put: return "put";
    case StoreOperation::replace: return "replace";
    case StoreOperation::read: return "read";
    case StoreOperation::head: return "head";
    case StoreOperation::list: return "list";
    case StoreOperation::remove: return "remove";
  }
  return "";
}

template <class T>
Result<T> CountedStore::count(StoreOperation operation, Result<T> outcome) {
  calls_[static_cast<size_t>(operation)]++;
  if (outcome) return outcome;
  const ErrorKind kind = outcome.error().kind;
  const bool is_an_answer = kind == ErrorKind::not_found || kind == ErrorKind::conflict || kind == ErrorKind::cancelled;
  if (!is_an_answer) errors_[static_cast<size_t>(error_class(kind))]++;
  return outcome;
}

StoreCounts CountedStore::counts() const {
  StoreCounts counts;
  for (size_t i = 0; i < calls_.size(); i++) counts.calls[i] = calls_[i];
  for (size_t i = 0; i < errors_.size(); i++) counts.errors[i] = errors_[i];
  counts.sent_bytes = sent_;
  counts.received_bytes = received_;
  return counts;
}

Result<void> CountedStore::put(const std::string& key, ObjectSource& source,
                               const std::function<bool(uint64_t)>& progress) {
  auto done = count(StoreOperation::put, store_->put(key, source, progress));
  if (done) sent_ += source.size();
  return done;
}

Result<void> CountedStore::put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                                         const std::function<bool(uint64_t)>& progress) {
  auto done = count(StoreOperation::put, store_->put_resumable(key, source, journal, progress));
  if (done) sent_ += source.size();
  return done;
}

Result<void> CountedStore::abandon(const std::string& key, UploadJournal& journal) {
  return count(StoreOperation::remove, store_->abandon(key, journal));
}

Result<void> CountedStore::replace(const std::string& key, ByteView bytes) {
  auto done = count(StoreOperation::replace, store_->replace(key, bytes));
  if (done) sent_ += bytes.size();
  return done;
}

Result<size_t> CountedStore::read(const std::string& key, uint64_t offset, MutableBytes out) {
  auto got = count(StoreOperation::read, store_->read(key, offset, out));
  if (got) received_ += *got;
  return got;
}

Result<ObjectInfo> CountedStore::head(const std::string& key) { return count(StoreOperation::head, store_->head(key)); }

Result<ObjectPage> CountedStore::list(const std::string& prefix, const std::string& start_after, size_t limit) {
  return count(StoreOperation::list, store_->list(prefix, start_after, limit));
}

Result<void> CountedStore::remove(const std::string& key) { return count(StoreOperation::remove, store_->remove(key)); }

Result<void> CountedStore::remove_unfinished(const std::string& prefix, Timestamp before) {
  return count(StoreOperation::remove, store_->remove_unfinished(prefix, before));
}

}  // namespace tillsync
