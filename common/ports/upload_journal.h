// What is known of uploads that were begun and have not ended, as a port: with it an upload goes on after a restart.
//
// Why it is not asked of the store alone: some list no uploads, or others' uploads, and a part is only ours where
// number, size and ETag are those that were written down. Durability: a call that returns has made it durable; begin()
// does so before the first part is sent. Errors: as the database or file that it is kept in; a failed call has changed
// nothing, or will be found done. Threads: one thread at a time for one key.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/types.h"

namespace tillsync {

struct UploadPart {
  uint32_t number = 0;  // from 1
  uint64_t size = 0;
  Digest sha256;
  std::string etag;  // as the store gave it, quotes included
  bool operator==(const UploadPart&) const = default;
};

struct Upload {
  std::string key;
  std::string id;     // the store's; opaque, at most 2,000 bytes
  std::string token;  // ours, random: an object that carries it is this upload's
  uint64_t object_size = 0;
  uint64_t part_size = 0;  // of all parts but the last
  Timestamp began_at{};
  std::vector<UploadPart> parts = {};  // that were sent, by number
  bool operator==(const Upload&) const = default;
};

class UploadJournal {
 public:
  virtual ~UploadJournal() = default;
  virtual Result<std::optional<Upload>> load(const std::string& key) = 0;
  // Uploads whose key starts with prefix; their parts may be left out.
  virtual Result<std::vector<Upload>> list(const std::string& prefix) = 0;
  // Replaces what is known of the key.
  virtual Result<void> begin(const Upload& upload) = 0;
  // Replaces a part of the same number. Nothing happens if the key has no upload of that id.
  virtual Result<void> part_done(const std::string& key, const std::string& id, const UploadPart& part) = 0;
  // Fine if there is nothing.
  virtual Result<void> forget(const std::string& key) = 0;
};

// Lives as long as the process; threads: any.
class MemoryUploadJournal : public UploadJournal {
 public:
  Result<std::optional<Upload>> load(const std::string& key) override;
  Result<std::vector<Upload>> list(const std::string& prefix) override;
  Result<void> begin(const Upload& upload) override;
  Result<void> part_done(const std::string& key, const std::string& id, const UploadPart& part) override;
  Result<void> forget(const std::string& key) override;

 private:
  std::mutex mutex_;
  std::map<std::string, Upload> uploads_;
};

}  // namespace tillsync
