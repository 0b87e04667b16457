#include "agent/daemon/thread_name.h"

#ifdef __linux__
#include <pthread.h>
#endif

namespace tillsync {

void name_this_thread([[maybe_unused]] const std::string& name) {
#ifdef __linux__
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
#endif
}

}  // namespace tillsync
