// Bytes of a source, whole, with the digests that a request carries.
#pragma once

#include <string>

#include "base/ids.h"
#include "ports/object_store.h"

namespace tillsync::s3 {

// corrupt when the source ends before it said.
Result<void> read_whole(ObjectSource& source, uint64_t offset, MutableBytes out);
// The value of Content-MD5, which buckets with Object Lock ask for. "" where the system forbids MD5.
std::string content_md5(ByteView bytes);

}  // namespace tillsync::s3
