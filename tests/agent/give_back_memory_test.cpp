// Memory that is given back, by what the kernel says of it.
#include "agent/daemon/give_back_memory.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr size_t kSize = 1 << 20;

struct Mapped {
  explicit Mapped(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    void* where = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    ::close(fd);
    REQUIRE(where != MAP_FAILED);
    bytes = static_cast<char*>(where);
  }
  ~Mapped() { ::munmap(bytes, kSize); }
  // As code is: nobody writes to it any more.
  void read_only() { REQUIRE(::mprotect(bytes, kSize, PROT_READ) == 0); }
  bool holds(char expected) const {
    for (size_t i = 0; i < kSize; i += 4096)
      if (bytes[i] != expected) return false;
    return true;
  }
  size_t resident_kilobytes() const {
    char wanted[32];
    std::snprintf(wanted, sizeof wanted, "%lx-", reinterpret_cast<unsigned long>(bytes));
    std::ifstream mappings("/proc/self/smaps");
    for (std::string line, here; std::getline(mappings, line);) {
      if (line.find('-') != line.npos && line.find(':') > line.find(' ')) here = line;
      if (here.starts_with(wanted) && line.starts_with("Rss:")) return std::strtoul(line.c_str() + 4, nullptr, 10);
    }
    FAIL("the kernel does not know of it");
    return 0;
  }
  char* bytes = nullptr;
};

}  // namespace

TEST_SUITE_BEGIN("agent");

TEST_CASE("memory: code that nobody runs is given back and there again, what was changed in it stays") {
  TemporaryDirectory folder;
  const std::string path = folder / "library";
  std::ofstream(path) << std::string(kSize, 'c');
  Mapped code(path), changed(path), writable(path);
  code.read_only();
  changed.bytes[kSize / 2] = 'x';
  changed.read_only();
  CHECK(code.holds('c'));
  CHECK(writable.holds('c'));
  CHECK(code.resident_kilobytes() == kSize / 1024);
  give_back_code();
  CHECK(code.resident_kilobytes() == 0);
  CHECK(writable.resident_kilobytes() == kSize / 1024);
  CHECK(changed.bytes[kSize / 2] == 'x');
  CHECK(code.holds('c'));
}

TEST_SUITE_END();
