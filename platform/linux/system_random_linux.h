// The random port on Linux: getrandom(2), the kernel's generator. Threads: any.
#pragma once

#include "ports/random.h"

namespace tillsync {

class SystemRandom : public Random {
 public:
  void fill(MutableBytes out) override;
};

}  // namespace tillsync
