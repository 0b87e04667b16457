#include "platform/windows/system_random_windows.h"

#include <windows.h>

#include <bcrypt.h>

#include <system_error>

namespace tillsync {

void SystemRandom::fill(MutableBytes out) {
  const NTSTATUS status =
      ::BCryptGenRandom(nullptr, out.data(), static_cast<ULONG>(out.size()), BCRYPT_USE_SYSTEM_PREFERRED_RNG);
  // Without randomness there is no safe way to go on: ids would repeat and keys be known.
  if (status != 0) throw std::system_error(static_cast<int>(status), std::system_category(), "BCryptGenRandom");
}

}  // namespace tillsync
