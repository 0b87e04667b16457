// 32 secret bytes: a private key, a data key.
//
// Purpose: they are wiped when they go, and lie in memory that neither swap nor a core dump gets, once the program has
// called protect_secrets(). Without it, or when the system refuses, they lie on the heap and are wiped all the same.
// Threads: values; protect_secrets() once, at the start of main().
#pragma once

#include "base/bytes.h"
#include "ports/random.h"

namespace tillsync {

class Secret {
 public:
  static constexpr size_t kSize = 32;
  Secret();  // zeros
  explicit Secret(ByteView thirty_two);
  static Secret make(Random& random);
  Secret(const Secret& other);
  Secret& operator=(const Secret& other);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();
  ByteView view() const { return {bytes_, kSize}; }
  MutableBytes bytes() { return {bytes_, kSize}; }
  bool operator==(const Secret& other) const;  // in constant time

 private:
  uint8_t* bytes_;
};

void protect_secrets();
// Overwrites a buffer that held one.
void wipe(MutableBytes bytes);

}  // namespace tillsync
