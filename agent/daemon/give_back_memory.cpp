#include "agent/daemon/give_back_memory.h"

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace tillsync {

void give_back_memory(StateDb& state) {
  sqlite3_db_release_memory(state.lease()->handle());
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

void give_back_free_memory() {
#ifdef __GLIBC__
  constexpr size_t kFreeMax = 2 << 20;
  if (::mallinfo2().fordblks > kFreeMax) ::malloc_trim(0);
#endif
}

}  // namespace tillsync
