#include "platform/linux/lock_holders_linux.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

namespace tillsync {

namespace {
std::string name_of(int process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/comm");
  std::string name;
  std::getline(in, name);
  return name;
}
}  // namespace

std::string lock_holders(const std::string& database_path) {
  // Locks for writing: of the wal-index in WAL mode, of the database file or its RESERVED byte otherwise.
  std::set<std::string> files;
  for (const char* suffix : {"", "-shm"}) {
    struct stat info;
    if (::stat((database_path + suffix).c_str(), &info) != 0) continue;
    char key[64];
    std::snprintf(key, sizeof key, "%02x:%02x:%llu", major(info.st_dev), minor(info.st_dev),
                  static_cast<unsigned long long>(info.st_ino));
    files.insert(key);
  }
  std::set<int> processes;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    // "1: POSIX  ADVISORY  WRITE 4711 fe:00:123 120 120"
    std::istringstream words(line);
    std::string number, kind, mode, what, file;
    int process = 0;
    if (!(words >> number >> kind >> mode >> what >> process >> file) || what != "WRITE" || !files.contains(file))
      continue;
    if (process > 0 && process != ::getpid()) processes.insert(process);
  }
  std::string text;
  for (int process : processes) {
    text += (text.empty() ? "process " : ", process ") + std::to_string(process);
    std::string name = name_of(process);
    if (!name.empty()) text += " (" + name + ")";
  }
  return text;
}

}  // namespace tillsync
