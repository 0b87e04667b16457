#include "platform/linux/system_random_linux.h"

#include <sys/random.h>

#include <cerrno>
#include <system_error>

namespace tillsync {

void SystemRandom::fill(MutableBytes out) {
  size_t done = 0;
  while (done < out.size()) {
    ssize_t n = ::getrandom(out.data() + done, out.size() - done, 0);
    if (n < 0 && errno == EINTR) continue;
    // Without randomness there is no safe way to go on: ids would repeat and keys be known.
    if (n < 0) throw std::system_error(errno, std::generic_category(), "getrandom");
    done += static_cast<size_t>(n);
  }
}

}  // namespace tillsync
