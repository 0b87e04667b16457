#include "agent/daemon/give_back_memory.h"

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __linux__
#include <sys/mman.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
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

void give_back_code() {
#ifdef __linux__
  std::ifstream mappings("/proc/self/smaps");
  unsigned long begin = 0, end = 0;
  bool is_code = false;
  for (std::string line; std::getline(mappings, line);) {
    unsigned long first, last, inode, kilobytes;
    char rights[5], field[16];
    // "7f5a1c000000-7f5a1c021000 r-xp 00000000 fe:00 4711    /usr/lib/…", its fields, "VmFlags: rd ex mr" at last
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %*s %*s %lu", &first, &last, rights, &inode) == 4) {
      begin = first;
      end = last;
      is_code = inode != 0 && rights[1] == '-' && rights[3] == 'p';
    } else if (std::sscanf(line.c_str(), "%15[A-Za-z]: %lu kB", field, &kilobytes) == 2) {
      // A page of our own, here or swapped out: it would be lost.
      const bool is_own = std::string_view(field) == "Anonymous" || std::string_view(field) == "Swap";
      if (is_own && kilobytes > 0) is_code = false;
    } else if (is_code && line.starts_with("VmFlags:")) {
      ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
  }
#endif
}

}  // namespace tillsync
