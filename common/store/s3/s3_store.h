// An object store in a bucket of S3, or of a server that speaks it.
//
// Layout: the object `a/b` is `<prefix>/a/b`. Each carries x-amz-meta-tillsync-token, by which a put whose answer got
// lost is known again; one that was put in one piece carries x-amz-meta-tillsync-sha256 as well.
// Create-only: `If-None-Match: *` where the bucket was seen to refuse with it (the first small put is made twice, the
// second must be refused). Until then, and where it does not work, put() looks first, see ObjectStoreProperties.
// Parts: objects above Options::part_size go up in parts, several at a time, of at most Options::under_way_max bytes
// together, of all puts. Without a journal of the caller's what was sent of a failed put is given up. Nothing that is
// put lies in memory: its source is read for the digest that is signed, and again as the connection takes it. Errors:
// s3_error.h. Throttled: parts at a time are halved; they grow again while parts go well. Threads: any. Source:
// docs/architecture.md, "S3".
#pragma once

#include <condition_variable>
#include <map>

#include "ports/object_store.h"
#include "ports/random.h"
#include "store/s3/s3_client.h"

namespace tillsync::s3 {

class S3Store : public ObjectStore {
 public:
  struct Options {
    BucketAddress address;
    std::string prefix;  // without '/' at either end; "": the whole bucket
    HttpSettings http;
    std::string credentials_file;
    uint64_t upload_limit = 0;
    uint64_t part_size = 8 << 20;       // at least 5 MiB; larger for objects of more than 10,000 parts
    uint64_t under_way_max = 32 << 20;  // of all parts of all puts: what a kill costs at most
    std::chrono::milliseconds stall_timeout{60'000};
    std::chrono::milliseconds complete_timeout{300'000};  // S3 puts the parts together meanwhile
    uint32_t parts_a_page = 1000;                         // of ListParts
  };

  S3Store(Options options, FileSystem& files, Clock& clock, Random& random);
  ~S3Store() override;

  ObjectStoreProperties properties() const override;
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
  void set_upload_limit(uint64_t bytes_per_second) override;
  void stop() override { client_.stop(); }

  // For doctor: what was found out about clock and bucket.
  const S3Client& client() const { return client_; }

 private:
  friend class MultipartUpload;
  enum class CreateOnly { unknown, works, absent };

  // Of all uploads together: what is on its way, and what those wait for who have parts on it or want to begin one.
  struct PartsUnderWay {
    std::mutex mutex;
    std::condition_variable changed;
    uint64_t count = 0, bytes = 0;
    // With the mutex held.
    void begun(uint64_t size) { count++, bytes += size; }
    void ended(uint64_t size) { count--, bytes -= size, changed.notify_all(); }
  };

  // What a HEAD tells besides ObjectInfo.
  struct Seen {
    ObjectInfo info;
    std::string token, sha256;
  };
  Result<void> check(const std::string& key) const;
  Result<void> put_whole(const std::string& key, ObjectSource& source, const std::function<bool(uint64_t)>& progress,
                         bool goes_first);
  Result<std::optional<Seen>> look(const std::string& key);  // nullopt: not there
  // Does a listing show what a HEAD shows? A server that died between its two writes keeps an object that no restore
  // would find (Swift, seen). True where it can't be found out: the key may not list.
  Result<bool> is_listed(const std::string& key);
  // Ids of the uploads of exactly this key that were begun and have not ended.
  Result<std::vector<std::string>> unfinished(const std::string& key);
  void prove_create_only(const S3Request& request);
  std::string new_token();
  std::string path_of(const std::string& key) const { return prefix_ + key; }
  Error error(const Failure& failure, const std::string& doing) const;
  Error exists(const std::string& key) const;
  std::optional<std::string> uncertain_token(const std::string& key);
  void set_uncertain(const std::string& key, const std::string& token, bool is_uncertain);

  const Options options_;
  const std::string prefix_;  // "" or ending in '/'
  Clock& clock_;
  Random& random_;
  std::atomic<CreateOnly> create_only_{CreateOnly::unknown};
  std::atomic<bool> may_delete_{true};
  std::atomic<uint32_t> parts_at_a_time_{1};
  const std::shared_ptr<PartsUnderWay> parts_ = std::make_shared<PartsUnderWay>();
  std::atomic<uint64_t> upload_limit_;
  std::mutex mutex_;
  // Tokens of puts that may have been carried out although they failed: the same put again is no conflict with itself.
  std::map<std::string, std::string> uncertain_;
  S3Client client_;
};

}  // namespace tillsync::s3
