// Loaded into a program that a test runs (LD_PRELOAD): ends it by SIGKILL at its Nth change of a file of one class.
//
// Purpose: kills at moments that a clock never hits, between two writes of one commit or in the middle of a page,
// without a line of test code in the program itself. It looks at the calls by which platform/linux changes files.
//   TILLSYNC_DIE_BELOW    folder; only files below it count
//   TILLSYNC_DIE_IN       class: wal, state, replica, map, spool, staging, safety, live, store (class_of())
//   TILLSYNC_DIE_AT       which change, from 1
//   TILLSYNC_DIE_PART     thousandths of a write that still reach the file; of any other call, 0: before it, else after
//   TILLSYNC_KEEP_SYNCED  if set, state.db and its log are copied to ….synced with each of their syncs: what a power
//                         cut would leave of them
//   TILLSYNC_DIE_REPORT   file that gets a line: class, call, bytes written, bytes asked for, inside a commit or not
// A commit to state.db is one write of whole frames, or several if it is large; the last frame's header carries a size.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr off_t kWalHeader = 32;
constexpr size_t kFrame = 24 + 4096;  // of state.db

struct Order {
  char below[1024];
  char wanted[32];
  char report[1024];
  long at;
  unsigned part;
};

const Order& order() {
  static const Order given = [] {
    Order o{};
    auto text = [](const char* name) {
      const char* value = std::getenv(name);
      return value ? value : "";
    };
    std::snprintf(o.below, sizeof o.below, "%s/", text("TILLSYNC_DIE_BELOW"));
    std::snprintf(o.wanted, sizeof o.wanted, "%s", text("TILLSYNC_DIE_IN"));
    std::snprintf(o.report, sizeof o.report, "%s", text("TILLSYNC_DIE_REPORT"));
    o.at = std::atol(text("TILLSYNC_DIE_AT"));
    o.part = static_cast<unsigned>(std::atoi(text("TILLSYNC_DIE_PART")));
    return o;
  }();
  return given;
}

std::atomic<long> changes{0};
// state.db has one connection, used by one thread at a time.
std::atomic<bool> commit_is_open{false};

// Whole frames, the last of which commits.
bool ends_a_commit(const void* bytes, size_t size) {
  if (size == 0 || size % kFrame != 0) return false;
  uint32_t commit_size;
  std::memcpy(&commit_size, static_cast<const char*>(bytes) + size - kFrame + 4, sizeof commit_size);
  return commit_size != 0;
}

bool ends_with(const char* text, const char* end) {
  const size_t n = std::strlen(text), m = std::strlen(end);
  return n >= m && std::strcmp(text + n - m, end) == 0;
}

const char* class_of(const char* path) {
  if (std::strncmp(path, order().below, std::strlen(order().below)) != 0) return "";
  const char* rest = path + std::strlen(order().below);
  if (ends_with(rest, "/state.db-wal")) return "wal";
  if (ends_with(rest, "/state.db")) return "state";
  if (std::strstr(rest, "/replica-")) return ends_with(rest, ".map") ? "map" : "replica";
  if (std::strstr(rest, "/spool/")) return "spool";
  if (std::strstr(rest, "/staging/")) return "staging";
  if (std::strstr(rest, "/safety/")) return "safety";
  // What a restore in place, or a checkpoint, writes into the application's own files.
  if (std::strcmp(rest, "pos.db") == 0 || std::strcmp(rest, "pos.db-wal") == 0) return "live";
  if (std::strncmp(rest, "store/", 6) == 0) return "store";
  return "";
}

const char* class_of(int descriptor) {
  char link[64], path[2048];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t n = ::readlink(link, path, sizeof path - 1);
  if (n <= 0) return "";
  path[n] = 0;
  return class_of(path);
}

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

[[noreturn]] void die(const char* what, const char* call, size_t written, size_t asked) {
  char line[200];
  const bool inside = std::strcmp(what, "wal") == 0 && (commit_is_open || (written > 0 && written < asked));
  const int n =
      std::snprintf(line, sizeof line, "%s %s %zu %zu %s\n", what, call, written, asked, inside ? "inside" : "between");
  const int report = ::open(order().report, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (report < 0 || ::write(report, line, static_cast<size_t>(n)) != n) std::abort();
  ::kill(::getpid(), SIGKILL);
  while (true) ::pause();
}

// After a sync: the file as it is now, whole or not at all.
void keep_synced(int descriptor, const char* what) {
  static const bool wanted = std::getenv("TILLSYNC_KEEP_SYNCED") != nullptr;
  if (!wanted || (std::strcmp(what, "wal") != 0 && std::strcmp(what, "state") != 0)) return;
  char link[64], path[2048], kept[2100], unfinished[2200];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t n = ::readlink(link, path, sizeof path - 1);
  if (n <= 0) std::abort();
  path[n] = 0;
  std::snprintf(kept, sizeof kept, "%s.synced", path);
  std::snprintf(unfinished, sizeof unfinished, "%s.unfinished", kept);
  const int from = ::open(path, O_RDONLY);
  const int to = ::open(unfinished, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (from < 0 || to < 0) std::abort();
  char piece[65536];
  ssize_t got;
  while ((got = ::read(from, piece, sizeof piece)) > 0)
    if (::write(to, piece, static_cast<size_t>(got)) != got) std::abort();
  ::close(from);
  ::close(to);
  if (got < 0 || ::renameat(AT_FDCWD, unfinished, AT_FDCWD, kept) != 0) std::abort();
}

bool is_the_one(const char* what) { return *what && std::strcmp(what, order().wanted) == 0 && ++changes == order().at; }

// Any call but a write: before it, or after.
template <class Call>
int counted(const char* what, const char* name, Call call) {
  if (!is_the_one(what)) return call();
  if (order().part != 0) call();
  die(what, name, 0, 0);
}

template <class Function>
ssize_t counted_write(Function real, int descriptor, const void* bytes, size_t size, off_t offset) {
  const char* what = class_of(descriptor);
  const bool of_commit = std::strcmp(what, "wal") == 0 && offset >= kWalHeader;
  if (is_the_one(what)) {
    const size_t part = size * order().part / 1000;
    if (part > 0 && real(descriptor, bytes, part, offset) != static_cast<ssize_t>(part)) std::abort();
    if (part == size && of_commit && ends_a_commit(bytes, size)) commit_is_open = false;
    die(what, "pwrite", part, size);
  }
  const ssize_t done = real(descriptor, bytes, size, offset);
  if (of_commit) commit_is_open = !ends_a_commit(bytes, size);
  return done;
}

}  // namespace

extern "C" {

ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return counted_write(real, descriptor, bytes, size, offset);
}

ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off64_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite64");
  return counted_write(real, descriptor, bytes, size, offset);
}

int ftruncate(int descriptor, off_t size) noexcept {
  static const auto real = next<int (*)(int, off_t)>("ftruncate");
  return counted(class_of(descriptor), "ftruncate", [&] { return real(descriptor, size); });
}

int fdatasync(int descriptor) {
  static const auto real = next<int (*)(int)>("fdatasync");
  const char* what = class_of(descriptor);
  const int done = counted(what, "fdatasync", [&] { return real(descriptor); });
  if (done == 0) keep_synced(descriptor, what);
  return done;
}

int rename(const char* from, const char* to) noexcept {
  static const auto real = next<int (*)(const char*, const char*)>("rename");
  return counted(class_of(to), "rename", [&] { return real(from, to); });
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  static const auto real = next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  return counted(class_of(to), "renameat2", [&] { return real(from_folder, from, to_folder, to, flags); });
}

int link(const char* from, const char* to) noexcept {
  static const auto real = next<int (*)(const char*, const char*)>("link");
  return counted(class_of(to), "link", [&] { return real(from, to); });
}

int remove(const char* path) noexcept {
  static const auto real = next<int (*)(const char*)>("remove");
  return counted(class_of(path), "remove", [&] { return real(path); });
}
}
