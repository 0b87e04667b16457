// The store as the agent of a sealed terminal sees it: nothing gets past that is not sealed.
//
// Purpose: the last line of defence, whatever is wrong above it. Before the first object is put, the terminal's key
// statements are, and a probe is put and read back: what arrived must be ciphertext. Then every object is looked at
// before it is sent: sealed and signed by this terminal, or one of the small documents that are readable.
// Errors: corrupt when the store has another statement or something readable; internal for an object that is not
// sealed; those of the store. Threads: as ObjectStore.
#pragma once

#include <memory>
#include <mutex>

#include "crypto/object_header.h"
#include "ports/object_store.h"

namespace tillsync {

class SealedStore : public ObjectStore {
 public:
  // statements: of the terminal, oldest first.
  SealedStore(std::unique_ptr<ObjectStore> store, TerminalRef terminal, std::vector<Bytes> statements, Random& random)
      : store_(std::move(store)), terminal_(std::move(terminal)), statements_(std::move(statements)), random_(random) {}
  // Statements and probe, once; what put() does first.
  Result<void> prepare();

  ObjectStoreProperties properties() const override { return store_->properties(); }
  Result<void> put(const std::string& key, ObjectSource& source,
                   const std::function<bool(uint64_t)>& progress = nullptr) override;
  Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                             const std::function<bool(uint64_t)>& progress = nullptr) override;
  Result<void> abandon(const std::string& key, UploadJournal& journal) override {
    return store_->abandon(key, journal);
  }
  Result<void> replace(const std::string& key, ByteView bytes) override;
  Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) override {
    return store_->read(key, offset, out);
  }
  Result<ObjectInfo> head(const std::string& key) override { return store_->head(key); }
  Result<ObjectPage> list(const std::string& prefix, const std::string& start_after, size_t limit) override {
    return store_->list(prefix, start_after, limit);
  }
  Result<void> remove(const std::string& key) override { return store_->remove(key); }
  Result<void> remove_unfinished(const std::string& prefix, Timestamp before) override {
    return store_->remove_unfinished(prefix, before);
  }
  void set_upload_limit(uint64_t bytes_per_second) override { store_->set_upload_limit(bytes_per_second); }
  void stop() override { store_->stop(); }

 private:
  Result<void> check_sealed(const std::string& key, ObjectSource& source);
  Result<void> put_statements();
  Result<void> probe();
  std::unique_ptr<ObjectStore> store_;
  TerminalRef terminal_;
  std::vector<Bytes> statements_;
  Random& random_;
  std::mutex mutex_;
  bool prepared_ = false;
};

}  // namespace tillsync
