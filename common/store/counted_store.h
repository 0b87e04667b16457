// Counts what is asked of a store, for whoever pays for requests or wonders about errors.
//
// Purpose: a decorator that changes nothing. One call counts once, however many requests a store makes of it (parts,
// tries again). Units: bytes of objects. Errors: those of the store. Threads: as ObjectStore; counts() any.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "ports/object_store.h"

namespace tillsync {

enum class StoreOperation { put, replace, read, head, list, remove };
inline constexpr size_t kStoreOperations = 6;
std::string_view to_string(StoreOperation operation);

struct StoreCounts {
  std::array<uint64_t, kStoreOperations> calls{};  // by StoreOperation
  std::array<uint64_t, 5> errors{};                // by ErrorClass; what is not there, or there already, is none
  uint64_t sent_bytes = 0;                         // of puts that succeeded
  uint64_t received_bytes = 0;
};

class CountedStore : public ObjectStore {
 public:
  explicit CountedStore(std::unique_ptr<ObjectStore> store) : store_(std::move(store)) {}
  StoreCounts counts() const;

  ObjectStoreProperties properties() const override { return store_->properties(); }
  Result<void> put(const std::string& key, ObjectSource& source,
                   const std::function<bool(uint64_t)>& progress = nullptr) override;
  Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                             const std::function<bool(uint64_t)>& progress = nullptr) override;
  Result<void> abandon(const std::string& key, UploadJournal& journal) override;
  Result<void> replace(const std::string& key, ByteView bytes) override;
  Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) override;
  Result<ObjectInfo> head(const std::string& key) override;
  Result<ObjectPage> list(const std::string& prefix, const std::string& start_after, size_t limit) override;
  Result<void> remove(const std::string& key) override;
  Result<void> remove_unfinished(const std::string& prefix, Timestamp before) override;
  void set_upload_limit(uint64_t bytes_per_second) override { store_->set_upload_limit(bytes_per_second); }
  void stop() override { store_->stop(); }

 private:
  template <class T>
  Result<T> count(StoreOperation operation, Result<T> outcome);
  std::unique_ptr<ObjectStore> store_;
  std::array<std::atomic<uint64_t>, kStoreOperations> calls_{};
  std::array<std::atomic<uint64_t>, 5> errors_{};
  std::atomic<uint64_t> sent_ = 0, received_ = 0;
};

}  // namespace tillsync
