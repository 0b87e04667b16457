// The store as the agent sees it: nothing is written, and nothing removed, without the claim on the epoch.
//
// Errors: those of EpochClaim::hold() and of the store. Threads: as ObjectStore.
#pragma once

#include "agent/daemon/epoch_claim.h"

namespace tillsync {

class FencedStore : public ObjectStore {
 public:
  FencedStore(ObjectStore& store, EpochClaim& claim) : store_(store), claim_(claim) {}
  ObjectStoreProperties properties() const override { return store_.properties(); }
  Result<void> put(const std::string& key, ObjectSource& source,
                   const std::function<bool(uint64_t)>& progress = nullptr) override {
    TILLSYNC_TRY(claim_.hold());
    return store_.put(key, source, progress);
  }
  Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                             const std::function<bool(uint64_t)>& progress = nullptr) override {
    TILLSYNC_TRY(claim_.hold());
    return store_.put_resumable(key, source, journal, progress);
  }
  Result<void> abandon(const std::string& key, UploadJournal& journal) override {
    TILLSYNC_TRY(claim_.hold());
    return store_.abandon(key, journal);
  }
  Result<void> replace(const std::string& key, ByteView bytes) override {
    TILLSYNC_TRY(claim_.hold());
    return store_.replace(key, bytes);
  }
  Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) override {
    return store_.read(key, offset, out);
  }
  Result<ObjectInfo> head(const std::string& key) override { return store_.head(key); }
  Result<ObjectPage> list(const std::string& prefix, const std::string& start_after, size_t limit) override {
    return store_.list(prefix, start_after, limit);
  }
  Result<void> remove(const std::string& key) override {
    TILLSYNC_TRY(claim_.hold());
    return store_.remove(key);
  }
  Result<void> remove_unfinished(const std::string& prefix, Timestamp before) override {
    TILLSYNC_TRY(claim_.hold());
    return store_.remove_unfinished(prefix, before);
  }
  void set_upload_limit(uint64_t bytes_per_second) override { store_.set_upload_limit(bytes_per_second); }
  void stop() override { store_.stop(); }

 private:
  ObjectStore& store_;
  EpochClaim& claim_;
};

}  // namespace tillsync
