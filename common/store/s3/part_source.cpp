#include "store/s3/part_source.h"

#include <openssl/evp.h>

namespace tillsync::s3 {

Result<void> read_whole(ObjectSource& source, uint64_t offset, MutableBytes out) {
  if (out.empty()) return {};
  TILLSYNC_LET(const size_t got, source.read(offset, out));
  if (got != out.size())
    return Error{
        ErrorKind::corrupt, 0,
        "the source ends after " + std::to_string(offset + got) + " of " + std::to_string(source.size()) + " bytes"};
  return {};
}

std::string content_md5(ByteView bytes) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_md5(), nullptr) != 1) return {};
  return to_base64(ByteView(digest).first(length));
}

}  // namespace tillsync::s3
