#include "store/s3/part_source.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/checks.h"

namespace tillsync::s3 {

namespace {

// As Sha256, and nothing at all where the system forbids it.
class Md5 {
 public:
  Md5() { is_allowed_ = context_ && EVP_DigestInit_ex(context_.get(), EVP_md5(), nullptr) == 1; }
  void update(ByteView bytes) {
    is_allowed_ = is_allowed_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
  }
  std::string finish() {
    std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
    unsigned length = 0;
    if (!is_allowed_ || EVP_DigestFinal_ex(context_.get(), digest.data(), &length) != 1) return {};
    return to_base64(ByteView(digest).first(length));
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_{EVP_MD_CTX_new()};
  bool is_allowed_ = false;
};

}  // namespace

Result<void> SharedSource::read(uint64_t offset, MutableBytes out) {
  if (out.empty()) return {};
  std::lock_guard lock(mutex_);
  TILLSYNC_LET(const size_t got, source_.read(offset, out));
  if (got != out.size())
    return Error{
        ErrorKind::corrupt, 0,
        "the source ends after " + std::to_string(offset + got) + " of " + std::to_string(source_.size()) + " bytes"};
  return {};
}

Result<PartDigests> digests_of(SharedSource& source, uint64_t offset, uint64_t size) {
  Sha256 sha256;
  Md5 md5;
  Bytes buffer(std::min<uint64_t>(size, SharedSource::kReadBytesMax));
  for (uint64_t at = 0; at < size; at += buffer.size()) {
    const MutableBytes piece = MutableBytes(buffer).first(std::min<uint64_t>(buffer.size(), size - at));
    TILLSYNC_TRY(source.read(offset + at, piece));
    sha256.update(piece);
    md5.update(piece);
  }
  return PartDigests{sha256.finish(), md5.finish()};
}

std::string content_md5(ByteView bytes) {
  Md5 md5;
  md5.update(bytes);
  return md5.finish();
}

void PartBody::rewind() {
  position_ = 0;
  (void)hash_.finish();
}

bool PartBody::next(MutableBytes out) {
  if (error_ || thrown_) return false;
  try {
    TILLSYNC_CHECK(out.size() <= size_ - position_);
    while (!out.empty()) {
      const MutableBytes piece = out.first(std::min(out.size(), SharedSource::kReadBytesMax));
      if (auto read = source_.read(offset_ + position_, piece); !read) {
        error_ = std::move(read).error();
        return false;
      }
      hash_.update(piece);
      position_ += piece.size();
      out = out.subspan(piece.size());
    }
    if (position_ == size_ && hash_.finish() != sha256_)
      error_ = Error{ErrorKind::corrupt, 0,
                     "the source gives other bytes from " + std::to_string(offset_) + " to " +
                         std::to_string(offset_ + size_) + " when it is read again"};
  } catch (...) {
    // Not through libcurl, which is C.
    thrown_ = std::current_exception();
  }
  return !error_ && !thrown_;
}

Result<void> PartBody::outcome() const {
  if (thrown_) std::rethrow_exception(thrown_);
  if (error_) return *error_;
  return {};
}

}  // namespace tillsync::s3
