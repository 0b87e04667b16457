// The random port on Windows: its preferred generator. Threads: any.
#pragma once

#include "ports/random.h"

namespace tillsync {

class SystemRandom : public Random {
 public:
  void fill(MutableBytes out) override;
};

}  // namespace tillsync
