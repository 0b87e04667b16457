// SHA-256.
//
// Purpose: names of blocks and packs, digests of rows, the log's hash chain.
// Threads: a Sha256 belongs to one thread; sha256() may be called from any.
// Source: FIPS 180-4, through OpenSSL 3.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/ids.h"

namespace tillsync {

Digest sha256(ByteView bytes);

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& update(ByteView bytes);
  Digest finish();       // and starts anew
  Sha256 clone() const;  // goes on from what this one was fed

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillsync
