// Object storage, as a port. Every object is immutable and written create-only; only fleet/status and fleet/names are
// overwritten.
//
// Keys: UTF-8, '/' between parts, no leading '/', no empty, '.' or '..' part, at most 1,000 bytes.
// Errors: not_found (object, or bucket or directory: the context says which), conflict (put of a key that exists),
// offline, throttled (Error::retry_after where the store said it), denied, no_space, transient, timeout, corrupt (what
// arrived is not what was sent), usage (bad key, or what this store can't do), cancelled.
// Waiting is the caller's: a store tries again at once, where that is enough, and else says what happened.
// Threads: all calls are safe from any thread. Progress and journals are only called on the thread of the call. A
// source is read by that thread or one of the store's, one read at a time, and by none once the call returned.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"
#include "ports/upload_journal.h"

namespace tillsync {

struct ObjectInfo {
  std::string key;
  uint64_t size = 0;
  // When it was put, by the store's clock; nullopt: the store does not say.
  std::optional<Timestamp> modified_at = std::nullopt;
};

struct ObjectPage {
  std::vector<ObjectInfo> objects;  // in byte order of their keys
  bool more = false;                // ask again with start_after = the last key
};

// What a store can do. What is learned while it is used (create_only, may_delete) may change.
struct ObjectStoreProperties {
  std::string name;  // "directory", "s3", "memory"
  // put() of an existing key is refused by the store itself. Without it put() looks first, and of two puts at the same
  // moment the later one wins: keys must be unique by their content, or have one writer.
  bool create_only = true;
  bool may_delete = true;
  uint64_t object_size_max = 0;  // 0: no limit of its own
  // put_resumable() sends objects of more than part_size_bytes in parts, and goes on after a restart.
  bool resumable = false;
  uint64_t part_size_bytes = 0;
  // So many put_resumable() at once share one link and what may be under way on it: a second one fills what the end of
  // the first leaves free. More bring nothing.
  uint32_t uploads_at_once = 1;
};

// Where put() takes its bytes from: may be read more than once; other bytes than before are corrupt, and not stored.
class ObjectSource {
 public:
  virtual ~ObjectSource() = default;
  virtual uint64_t size() const = 0;
  virtual Result<size_t> read(uint64_t offset, MutableBytes out) = 0;
  // Where these bytes are a file of ours that is durable and never written to again: its path. A store in a folder of
  // the same file system then need not copy it.
  virtual std::optional<std::string> durable_file() const { return std::nullopt; }
};

class BytesSource : public ObjectSource {
 public:
  explicit BytesSource(ByteView bytes) : bytes_(bytes) {}
  uint64_t size() const override { return bytes_.size(); }
  Result<size_t> read(uint64_t offset, MutableBytes out) override;

 private:
  ByteView bytes_;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  virtual ObjectStoreProperties properties() const = 0;
  // Durable when it returns. On failure nothing appears under the key; where the answer got lost (offline, transient,
  // timeout) it may have been stored, and the same put again then succeeds, or is a conflict after a restart.
  // progress, if given, is called with the bytes sent so far, never with less than before, and with the same number
  // again while nothing moves; returning false stops with cancelled. A small object that is put goes before what
  // put_resumable() sends at the same time.
  virtual Result<void> put(const std::string& key, ObjectSource& source,
                           const std::function<bool(uint64_t)>& progress = nullptr) = 0;
  // As put(), and what was sent before a failure or a restart is not sent again: the journal says what that is. The
  // source must have the same bytes each time; what changed is sent anew. The journal holds nothing of the key after
  // success or a conflict.
  virtual Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal& /*journal*/,
                                     const std::function<bool(uint64_t)>& progress = nullptr) {
    return put(key, source, progress);
  }
  // Gives up what put_resumable() began: frees what the store holds of it, then forgets it. Fine if there is nothing.
  virtual Result<void> abandon(const std::string& key, UploadJournal& journal) { return journal.forget(key); }
  // Overwrites, atomically. Only for status and names.
  virtual Result<void> replace(const std::string& key, ByteView bytes) = 0;
  // Reads out.size() bytes from offset; fewer means the end of the object.
  virtual Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) = 0;
  virtual Result<ObjectInfo> head(const std::string& key) = 0;
  // Objects whose key starts with prefix and is greater than start_after. limit: 1 to 1,000.
  virtual Result<ObjectPage> list(const std::string& prefix, const std::string& start_after, size_t limit) = 0;
  // Fine if it is gone already.
  virtual Result<void> remove(const std::string& key) = 0;
  // Removes what puts below prefix left that began before then and never ended: their process was killed. Nothing that
  // can be listed.
  virtual Result<void> remove_unfinished(const std::string& /*prefix*/, Timestamp /*before*/) { return {}; }
  // The same of put_resumable(): only what the journal knows. A store's own list of uploads is no proof that they are
  // ours.
  Result<void> abandon_unfinished(const std::string& prefix, Timestamp before, UploadJournal& journal);

  // Bytes per second that all puts together send, 0 for no limit; from now on, also for puts under way.
  virtual void set_upload_limit(uint64_t /*bytes_per_second*/) {}
  // Calls under way, and those to come, end with cancelled, soon. For the end of the process.
  virtual void stop() {}
};

// usage error unless the key is one of the allowed form.
Result<void> check_key(const std::string& key);
// Whole object; corrupt when larger than limit.
Result<Bytes> read_object(ObjectStore& store, const std::string& key, uint64_t limit);
// Every object below prefix, page by page; stops at the first error, also of visit.
Result<void> for_each_object(ObjectStore& store, const std::string& prefix,
                             const std::function<Result<void>(const ObjectInfo&)>& visit);
// Names of the folders below prefix, which ends in '/'. Listing jumps over what lies in a folder that is known already,
// so that a long log costs nothing.
Result<std::vector<std::string>> list_folders(ObjectStore& store, const std::string& prefix);

}  // namespace tillsync
