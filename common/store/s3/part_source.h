// Bytes of a source as the body of a request: their digests first, which the request carries and is signed with, then
// the bytes themselves as the connection takes them. No part lies in memory whole.
//
// What is sent is hashed again. Where it is not what was signed the last bytes are never given to the connection, so
// that no server gets a whole body of it, whatever that server checks.
// Threads: a PartBody's next() and rewind() on the connection's; the rest on the put's.
#pragma once

#include <exception>
#include <mutex>
#include <optional>
#include <string>

#include "base/ids.h"
#include "crypto/hash.h"
#include "ports/object_store.h"
#include "store/s3/http_client.h"

namespace tillsync::s3 {

// A source that several threads read, one at a time.
class SharedSource {
 public:
  static constexpr size_t kReadBytesMax = 64 << 10;  // of each read; what a connection takes at once as well

  explicit SharedSource(ObjectSource& source) : source_(source) {}
  uint64_t size() const { return source_.size(); }
  // All of out, of at most kReadBytesMax. corrupt when the source ends before it said.
  Result<void> read(uint64_t offset, MutableBytes out);

 private:
  std::mutex mutex_;
  ObjectSource& source_;
};

struct PartDigests {
  Digest sha256;
  std::string md5;  // the value of Content-MD5, which buckets with Object Lock ask for; "" where the system forbids MD5
};
Result<PartDigests> digests_of(SharedSource& source, uint64_t offset, uint64_t size);
std::string content_md5(ByteView bytes);

class PartBody : public StreamedBody {
 public:
  // sha256: as it was signed.
  PartBody(SharedSource& source, uint64_t offset, uint64_t size, const Digest& sha256)
      : source_(source), offset_(offset), size_(size), sha256_(sha256) {}
  uint64_t size() const override { return size_; }
  void rewind() override;
  bool next(MutableBytes out) override;
  // After the request: why next() could not go on. Throws what the source threw. The source's own error, or corrupt:
  // other bytes came than were signed.
  Result<void> outcome() const;

 private:
  SharedSource& source_;
  const uint64_t offset_, size_;
  const Digest sha256_;
  uint64_t position_ = 0;
  Sha256 hash_;
  std::optional<Error> error_;
  std::exception_ptr thrown_;
};

}  // namespace tillsync::s3
