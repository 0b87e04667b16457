#include "support/shared_vfs.h"

#include <sqlite3.h>

#include <atomic>
#include <cstring>
#include <map>
#include <vector>

#include "base/checks.h"

namespace tillsync::test {

namespace {

struct OpenFile;

// Locks and wal-index of one database.
struct Shared {
  int readers = 0;
  const OpenFile *reserved = nullptr, *pending = nullptr, *exclusive = nullptr;
  struct Slot {
    int shared = 0;
    const OpenFile* exclusive = nullptr;
  };
  Slot slots[SQLITE_SHM_NLOCK];
  std::vector<std::unique_ptr<Bytes>> regions;
  int mapped_by = 0;
};

}  // namespace

struct Computer::Impl {
  std::map<std::string, Shared> databases;
};
Computer::Computer() : impl_(new Impl) {}
Computer::~Computer() = default;

struct SharedVfs::Impl {
  sqlite3_vfs vfs{};
  std::string name;
  sqlite3_vfs* inner = nullptr;
  FileSystem* files = nullptr;
  Computer::Impl* computer = nullptr;
};

namespace {

// What SQLite allocates for an open file; the inner VFS's part follows.
struct OpenFile {
  sqlite3_file base;
  SharedVfs::Impl* vfs;
  std::string* path;
  int level;
  unsigned shared_slots, exclusive_slots;
  bool mapped;
  sqlite3_file* inner() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  Shared& shared() const { return vfs->computer->databases[*path]; }
};

OpenFile& of(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }
SharedVfs::Impl& of(sqlite3_vfs* vfs) { return *static_cast<SharedVfs::Impl*>(vfs->pAppData); }

// The process is alive, as far as the file port says.
bool alive(const OpenFile& f) { return f.vfs->files->stat(*f.path).has_value(); }

int x_unlock(sqlite3_file* raw, int level) {
  OpenFile& f = of(raw);
  if (f.level <= level) return SQLITE_OK;
  Shared& s = f.shared();
  for (auto* holder : {&s.reserved, &s.pending, &s.exclusive})
    if (*holder == &f) *holder = nullptr;
  if (level == SQLITE_LOCK_NONE) s.readers--;
  f.level = level;
  return SQLITE_OK;
}

int x_lock(sqlite3_file* raw, int level) {
  OpenFile& f = of(raw);
  if (f.level >= level) return SQLITE_OK;
  if (!alive(f)) return SQLITE_IOERR_LOCK;
  Shared& s = f.shared();
  auto by_others = [&](const OpenFile* holder) { return holder && holder != &f; };
  if (f.level == SQLITE_LOCK_NONE) {
    if (by_others(s.pending) || by_others(s.exclusive)) return SQLITE_BUSY;
    s.readers++;
    f.level = SQLITE_LOCK_SHARED;
  }
  if (level == SQLITE_LOCK_SHARED) return SQLITE_OK;
  if (by_others(s.reserved) || by_others(s.pending)) return SQLITE_BUSY;
  if (level == SQLITE_LOCK_RESERVED) {
    s.reserved = &f;
    f.level = level;
    return SQLITE_OK;
  }
  s.pending = &f;
  f.level = SQLITE_LOCK_PENDING;
  if (s.readers > 1) return SQLITE_BUSY;
  s.exclusive = &f;
  f.level = SQLITE_LOCK_EXCLUSIVE;
  return SQLITE_OK;
}

int x_check_reserved_lock(sqlite3_file* raw, int* out) {
  Shared& s = of(raw).shared();
  *out = s.reserved || s.pending || s.exclusive;
  return SQLITE_OK;
}

int x_shm_lock(sqlite3_file* raw, int offset, int n, int flags) {
  OpenFile& f = of(raw);
  Shared& s = f.shared();
  const unsigned mask = ((1U << n) - 1) << offset;
  auto each = [&](auto&& act) {
    for (int i = offset; i < offset + n; i++) act(s.slots[i]);
  };
  if (flags & SQLITE_SHM_UNLOCK) {
    if (flags & SQLITE_SHM_SHARED) {
      if (f.shared_slots & mask) each([](Shared::Slot& slot) { slot.shared--; });
      f.shared_slots &= ~mask;
    } else {
      if (f.exclusive_slots & mask) each([](Shared::Slot& slot) { slot.exclusive = nullptr; });
      f.exclusive_slots &= ~mask;
    }
    return SQLITE_OK;
  }
  if (!alive(f)) return SQLITE_IOERR_SHMLOCK;
  bool busy = false;
  if (flags & SQLITE_SHM_SHARED) {
    if (f.shared_slots & mask) return SQLITE_OK;
    each([&](Shared::Slot& slot) { busy |= slot.exclusive != nullptr; });
    if (busy) return SQLITE_BUSY;
    each([](Shared::Slot& slot) { slot.shared++; });
    f.shared_slots |= mask;
  } else {
    if ((f.exclusive_slots & mask) == mask) return SQLITE_OK;
    each([&](Shared::Slot& slot) { busy |= slot.exclusive != nullptr || slot.shared > 0; });
    if (busy) return SQLITE_BUSY;
    each([&](Shared::Slot& slot) { slot.exclusive = &f; });
    f.exclusive_slots |= mask;
  }
  return SQLITE_OK;
}

int x_shm_map(sqlite3_file* raw, int region, int size, int extend, void volatile** out) {
  OpenFile& f = of(raw);
  Shared& s = f.shared();
  *out = nullptr;
  if (!f.mapped) {
    if (!alive(f)) return SQLITE_IOERR_SHMOPEN;
    f.mapped = true;
    s.mapped_by++;
  }
  while (extend && s.regions.size() <= static_cast<size_t>(region))
    s.regions.push_back(std::make_unique<Bytes>(static_cast<size_t>(size), uint8_t{0}));
  if (static_cast<size_t>(region) < s.regions.size()) *out = s.regions[static_cast<size_t>(region)]->data();
  return SQLITE_OK;
}

void x_shm_barrier(sqlite3_file*) {}

// Who comes first begins with an empty wal-index, as the first one on a real machine empties the file.
int x_shm_unmap(sqlite3_file* raw, int) {
  OpenFile& f = of(raw);
  if (!f.mapped) return SQLITE_OK;
  for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
    if (f.shared_slots & (1U << i)) x_shm_lock(raw, i, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
    if (f.exclusive_slots & (1U << i)) x_shm_lock(raw, i, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
  }
  f.mapped = false;
  if (--f.shared().mapped_by == 0) f.shared().regions.clear();
  return SQLITE_OK;
}

int x_close(sqlite3_file* raw) {
  OpenFile& f = of(raw);
  x_shm_unmap(raw, 0);
  x_unlock(raw, SQLITE_LOCK_NONE);
  int rc = f.inner()->pMethods->xClose(f.inner());
  delete f.path;
  f.path = nullptr;
  f.base.pMethods = nullptr;
  return rc;
}

int x_read(sqlite3_file* raw, void* out, int n, sqlite3_int64 at) {
  return of(raw).inner()->pMethods->xRead(of(raw).inner(), out, n, at);
}
int x_write(sqlite3_file* raw, const void* in, int n, sqlite3_int64 at) {
  return of(raw).inner()->pMethods->xWrite(of(raw).inner(), in, n, at);
}
int x_truncate(sqlite3_file* raw, sqlite3_int64 size) {
  return of(raw).inner()->pMethods->xTruncate(of(raw).inner(), size);
}
int x_sync(sqlite3_file* raw, int flags) { return of(raw).inner()->pMethods->xSync(of(raw).inner(), flags); }
int x_file_size(sqlite3_file* raw, sqlite3_int64* out) {
  return of(raw).inner()->pMethods->xFileSize(of(raw).inner(), out);
}
int x_file_control(sqlite3_file* raw, int operation, void* argument) {
  if (operation == SQLITE_FCNTL_LOCKSTATE) {
    *static_cast<int*>(argument) = of(raw).level;
    return SQLITE_OK;
  }
  return of(raw).inner()->pMethods->xFileControl(of(raw).inner(), operation, argument);
}
int x_sector_size(sqlite3_file* raw) { return of(raw).inner()->pMethods->xSectorSize(of(raw).inner()); }
int x_device_characteristics(sqlite3_file* raw) {
  return of(raw).inner()->pMethods->xDeviceCharacteristics(of(raw).inner());
}

const sqlite3_io_methods kMethods = [] {
  sqlite3_io_methods m{};
  m.iVersion = 2;
  m.xClose = x_close;
  m.xRead = x_read;
  m.xWrite = x_write;
  m.xTruncate = x_truncate;
  m.xSync = x_sync;
  m.xFileSize = x_file_size;
  m.xLock = x_lock;
  m.xUnlock = x_unlock;
  m.xCheckReservedLock = x_check_reserved_lock;
  m.xFileControl = x_file_control;
  m.xSectorSize = x_sector_size;
  m.xDeviceCharacteristics = x_device_characteristics;
  m.xShmMap = x_shm_map;
  m.xShmLock = x_shm_lock;
  m.xShmBarrier = x_shm_barrier;
  m.xShmUnmap = x_shm_unmap;
  return m;
}();

int v_open(sqlite3_vfs* raw_vfs, sqlite3_filename name, sqlite3_file* raw, int flags, int* out_flags) {
  OpenFile& f = of(raw);
  std::memset(static_cast<void*>(&f), 0, sizeof f);
  f.vfs = &of(raw_vfs);
  int rc = f.vfs->inner->xOpen(f.vfs->inner, name, f.inner(), flags, out_flags);
  if (rc != SQLITE_OK) return rc;
  f.path = new std::string(name ? name : "");
  f.base.pMethods = &kMethods;
  return SQLITE_OK;
}
int v_delete(sqlite3_vfs* vfs, const char* name, int sync) { return of(vfs).inner->xDelete(of(vfs).inner, name, sync); }
int v_access(sqlite3_vfs* vfs, const char* name, int flags, int* out) {
  return of(vfs).inner->xAccess(of(vfs).inner, name, flags, out);
}
int v_full_pathname(sqlite3_vfs* vfs, const char* name, int n, char* out) {
  return of(vfs).inner->xFullPathname(of(vfs).inner, name, n, out);
}
int v_randomness(sqlite3_vfs* vfs, int n, char* out) { return of(vfs).inner->xRandomness(of(vfs).inner, n, out); }
int v_sleep(sqlite3_vfs* vfs, int us) { return of(vfs).inner->xSleep(of(vfs).inner, us); }
int v_current_time(sqlite3_vfs* vfs, double* out) { return of(vfs).inner->xCurrentTime(of(vfs).inner, out); }
int v_current_time_int64(sqlite3_vfs* vfs, sqlite3_int64* out) {
  return of(vfs).inner->xCurrentTimeInt64(of(vfs).inner, out);
}
int v_last_error(sqlite3_vfs* vfs, int n, char* out) { return of(vfs).inner->xGetLastError(of(vfs).inner, n, out); }

}  // namespace

SharedVfs::SharedVfs(const FileVfs& inner, FileSystem& files, Computer& computer, bool is_default) : impl_(new Impl) {
  static std::atomic<int> count{0};
  impl_->name = "shared-" + std::to_string(++count);
  impl_->inner = sqlite3_vfs_find(inner.name());
  TILLSYNC_CHECK(impl_->inner != nullptr);
  impl_->files = &files;
  impl_->computer = computer.impl_.get();
  sqlite3_vfs& v = impl_->vfs;
  v.iVersion = 2;
  v.szOsFile = static_cast<int>(sizeof(OpenFile)) + impl_->inner->szOsFile;
  v.mxPathname = impl_->inner->mxPathname;
  v.zName = impl_->name.c_str();
  v.pAppData = impl_.get();
  v.xOpen = v_open;
  v.xDelete = v_delete;
  v.xAccess = v_access;
  v.xFullPathname = v_full_pathname;
  v.xRandomness = v_randomness;
  v.xSleep = v_sleep;
  v.xCurrentTime = v_current_time;
  v.xGetLastError = v_last_error;
  v.xCurrentTimeInt64 = v_current_time_int64;
  TILLSYNC_CHECK(sqlite3_vfs_register(&v, is_default) == SQLITE_OK);
}

SharedVfs::~SharedVfs() {
  sqlite3_vfs_unregister(&impl_->vfs);
  // What was the default before is so again, and not whatever was registered last.
  if (sqlite3_vfs* real = sqlite3_vfs_find("unix")) sqlite3_vfs_register(real, 1);
}

const char* SharedVfs::name() const { return impl_->name.c_str(); }

}  // namespace tillsync::test
