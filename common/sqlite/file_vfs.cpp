#include "sqlite/file_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <optional>

#include "base/checks.h"

namespace tillsync {

struct FileVfs::Impl {
  sqlite3_vfs vfs{};
  std::string name;
  FileSystem& files;
  Clock& clock;
  Random& random;
};

namespace {

constexpr int kFrameHeaderSize = 24;
constexpr size_t kFramesKeptMax = 256 << 10;

// SQLite writes each frame of a write-ahead log in two calls, and a commit frame by frame. What follows each other is
// kept here until the frame that commits it is whole, and written as one: at that moment the file is as it would have
// been, and before it the log's end is nobody's but the writer's, whose every other call writes what is kept first.
struct WrittenFrames {
  Bytes bytes;
  uint64_t at = 0;           // of the first byte, in the file
  bool is_commit = false;    // the last header is a commit's
  uint64_t read_at = ~0ull;  // of the last read: checksums are renewed by reading a frame and writing its header alone
};

// What SQLite allocates for an open file: its own base first, then ours.
struct OpenFile {
  sqlite3_file base;
  std::unique_ptr<File>* file;  // nullptr for an anonymous file
  Bytes* anonymous;             // content of a file without a name (temporary tables, sorting)
  FileVfs::Impl* vfs;
  std::string* path;
  int lock_level;
  bool locked;
  bool name_not_durable;  // the folder was not synced since this open: an earlier process may have made the file
  bool remove_on_close;
  WrittenFrames* frames;  // of a write-ahead log
};

OpenFile& of(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }
FileVfs::Impl& of(sqlite3_vfs* vfs) { return *static_cast<FileVfs::Impl*>(vfs->pAppData); }

// SQLite calls us on the thread that called it.
thread_local std::optional<Error> said, told;

// Keeps the words of a failed call for sqlite_error().
template <class T>
const Result<T>& heard(const Result<T>& done) {
  if (!done) said = done.error();
  return done;
}

// Our errors back to SQLite's: kinds with a code of their own there, else the I/O error of the operation.
int code_of(const Error& error, int otherwise) {
  switch (error.kind) {
    case ErrorKind::no_space: return SQLITE_FULL;
    case ErrorKind::conflict: return SQLITE_BUSY;
    default: return otherwise;
  }
}

Result<void> write_kept(OpenFile& f) {
  if (!f.frames || f.frames->bytes.empty()) return {};
  auto written = (*f.file)->write(f.frames->at, f.frames->bytes);
  f.frames->bytes.clear();
  return written;
}

Result<void> write_to_log(OpenFile& f, uint64_t offset, ByteView source) {
  WrittenFrames& kept = *f.frames;
  if (!kept.bytes.empty() && offset != kept.at + kept.bytes.size()) TILLSYNC_TRY(write_kept(f));
  const bool is_header = source.size() == kFrameHeaderSize;
  if (kept.bytes.empty()) {
    if (!is_header || offset == kept.read_at) return (*f.file)->write(offset, source);
    kept.at = offset;
  }
  append(kept.bytes, source);
  if (is_header) {
    // The size of the database after the commit; 0 in every other frame.
    kept.is_commit = be32(source.data() + 4) != 0;
    return {};
  }
  return kept.is_commit || kept.bytes.size() >= kFramesKeptMax ? write_kept(f) : Result<void>();
}

int x_close(sqlite3_file* raw) {
  OpenFile& f = of(raw);
  // Of no commit, but as it would be without us.
  if (f.file) (void)write_kept(f).has_value();
  delete f.frames;
  delete f.file;  // releases the lock
  delete f.anonymous;
  if (f.remove_on_close && f.path) (void)f.vfs->files.remove(*f.path).has_value();
  delete f.path;
  f = OpenFile{};
  return SQLITE_OK;
}

int x_read(sqlite3_file* raw, void* out, int amount, sqlite3_int64 offset) {
  OpenFile& f = of(raw);
  MutableBytes target(static_cast<uint8_t*>(out), static_cast<size_t>(amount));
  size_t got = 0;
  if (f.anonymous) {
    auto at = static_cast<uint64_t>(offset);
    if (at < f.anonymous->size()) {
      got = std::min<uint64_t>(target.size(), f.anonymous->size() - at);
      std::memcpy(target.data(), f.anonymous->data() + at, got);
    }
  } else {
    if (f.frames) {
      if (!heard(write_kept(f))) return SQLITE_IOERR_READ;
      f.frames->read_at = static_cast<uint64_t>(offset);
    }
    auto read = (*f.file)->read(static_cast<uint64_t>(offset), target);
    if (!heard(read)) return SQLITE_IOERR_READ;
    got = *read;
  }
  if (got == target.size()) return SQLITE_OK;
  std::memset(target.data() + got, 0, target.size() - got);
  return SQLITE_IOERR_SHORT_READ;
}

int x_write(sqlite3_file* raw, const void* bytes, int amount, sqlite3_int64 offset) {
  OpenFile& f = of(raw);
  ByteView source(static_cast<const uint8_t*>(bytes), static_cast<size_t>(amount));
  if (f.anonymous) {
    auto at = static_cast<size_t>(offset);
    if (f.anonymous->size() < at + source.size()) f.anonymous->resize(at + source.size());
    std::memcpy(f.anonymous->data() + at, source.data(), source.size());
    return SQLITE_OK;
  }
  const auto at = static_cast<uint64_t>(offset);
  auto written = f.frames ? write_to_log(f, at, source) : (*f.file)->write(at, source);
  return heard(written) ? SQLITE_OK : code_of(written.error(), SQLITE_IOERR_WRITE);
}

int x_truncate(sqlite3_file* raw, sqlite3_int64 size) {
  OpenFile& f = of(raw);
  if (f.anonymous) {
    f.anonymous->resize(static_cast<size_t>(size));
    return SQLITE_OK;
  }
  if (auto kept = write_kept(f); !heard(kept)) return code_of(kept.error(), SQLITE_IOERR_WRITE);
  auto done = (*f.file)->truncate(static_cast<uint64_t>(size));
  return heard(done) ? SQLITE_OK : code_of(done.error(), SQLITE_IOERR_TRUNCATE);
}

int x_sync(sqlite3_file* raw, int) {
  OpenFile& f = of(raw);
  if (f.anonymous) return SQLITE_OK;
  if (auto kept = write_kept(f); !heard(kept)) return code_of(kept.error(), SQLITE_IOERR_WRITE);
  auto done = (*f.file)->sync();
  if (!heard(done)) return code_of(done.error(), SQLITE_IOERR_FSYNC);
  // A journal whose name is lost with the power is no journal: the first sync makes the name durable too.
  if (f.name_not_durable) {
    auto named = f.vfs->files.sync_directory(directory_of(*f.path));
    if (!heard(named)) return code_of(named.error(), SQLITE_IOERR_DIR_FSYNC);
    f.name_not_durable = false;
  }
  return SQLITE_OK;
}

int x_file_size(sqlite3_file* raw, sqlite3_int64* out) {
  OpenFile& f = of(raw);
  if (f.anonymous) {
    *out = static_cast<sqlite3_int64>(f.anonymous->size());
    return SQLITE_OK;
  }
  if (auto kept = write_kept(f); !heard(kept)) return code_of(kept.error(), SQLITE_IOERR_WRITE);
  auto size = (*f.file)->size();
  if (!heard(size)) return SQLITE_IOERR_FSTAT;
  *out = static_cast<sqlite3_int64>(*size);
  return SQLITE_OK;
}

int x_lock(sqlite3_file* raw, int level) {
  OpenFile& f = of(raw);
  if (!f.locked && f.file) {
    auto taken = (*f.file)->lock();
    if (!heard(taken)) return code_of(taken.error(), SQLITE_IOERR_LOCK);
    f.locked = true;
  }
  f.lock_level = std::max(f.lock_level, level);
  return SQLITE_OK;
}

// The lock itself is kept until close: our databases have one connection.
int x_unlock(sqlite3_file* raw, int level) {
  of(raw).lock_level = level;
  return SQLITE_OK;
}

// Is a journal that is found hot? Only if nobody is writing it: whoever holds our lock is the only one there is.
int x_check_reserved_lock(sqlite3_file* raw, int* out) {
  *out = of(raw).lock_level >= SQLITE_LOCK_RESERVED;
  return SQLITE_OK;
}

int x_file_control(sqlite3_file* raw, int operation, void* argument) {
  OpenFile& f = of(raw);
  switch (operation) {
    case SQLITE_FCNTL_LOCKSTATE: *static_cast<int*>(argument) = f.lock_level; return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
      *static_cast<char**>(argument) = sqlite3_mprintf("%s", f.vfs->name.c_str());
      return SQLITE_OK;
    case kWhatThePortSaid:
      // Once: the next error, of another file perhaps, must not be told in the words of this one.
      told = std::exchange(said, std::nullopt);
      *static_cast<const Error**>(argument) = told ? &*told : nullptr;
      return told ? SQLITE_OK : SQLITE_NOTFOUND;
    default: return SQLITE_NOTFOUND;
  }
}

int x_sector_size(sqlite3_file*) { return 4096; }
// Nothing is promised: a torn or missing write of any kind is what SQLite must expect.
int x_device_characteristics(sqlite3_file*) { return 0; }

const sqlite3_io_methods kMethods = [] {
  sqlite3_io_methods m{};
  m.iVersion = 1;  // no shared memory: WAL works with locking_mode=EXCLUSIVE only
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
  return m;
}();

int v_open(sqlite3_vfs* raw_vfs, sqlite3_filename name, sqlite3_file* raw, int flags, int* out_flags) {
  OpenFile& f = of(raw);
  f = OpenFile{};  // pMethods null: SQLite calls no xClose after a failed open
  FileVfs::Impl& vfs = of(raw_vfs);
  f.vfs = &vfs;
  if (!name) {
    f.anonymous = new Bytes;
    f.base.pMethods = &kMethods;
    if (out_flags) *out_flags = flags;
    return SQLITE_OK;
  }
  std::string path = name;
  std::unique_ptr<File> file;
  auto take = [&](Result<std::unique_ptr<File>> opened) -> int {
    if (!heard(opened)) {
      switch (opened.error().kind) {
        case ErrorKind::no_space: return SQLITE_FULL;
        case ErrorKind::denied: return SQLITE_PERM;
        // SQLITE_CANTOPEN says that there is no such file, which nobody would try again.
        case ErrorKind::transient:
        case ErrorKind::offline: return SQLITE_IOERR;
        default: return SQLITE_CANTOPEN;
      }
    }
    file = std::move(*opened);
    return SQLITE_OK;
  };
  int code;
  if (flags & SQLITE_OPEN_READONLY) {
    code = take(vfs.files.open(path, OpenMode::read));
  } else {
    bool exclusive = (flags & SQLITE_OPEN_EXCLUSIVE) != 0;
    auto there = exclusive ? Result<std::unique_ptr<File>>(Error{ErrorKind::not_found, 0, ""})
                           : vfs.files.open(path, OpenMode::read_write);
    if (!there && there.error().kind == ErrorKind::not_found && (flags & SQLITE_OPEN_CREATE)) {
      code = take(vfs.files.open(path, OpenMode::create_new));
    } else {
      code = take(std::move(there));
    }
  }
  if (code != SQLITE_OK) return code;
  f.file = new std::unique_ptr<File>(std::move(file));
  f.path = new std::string(std::move(path));
  f.name_not_durable = (flags & SQLITE_OPEN_READONLY) == 0;
  f.remove_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
  if (flags & SQLITE_OPEN_WAL) f.frames = new WrittenFrames;
  f.base.pMethods = &kMethods;
  if (out_flags) *out_flags = flags;
  return SQLITE_OK;
}

int v_delete(sqlite3_vfs* raw, const char* name, int sync_directory) {
  FileVfs::Impl& vfs = of(raw);
  auto removed = vfs.files.remove(name);
  if (!removed && removed.error().kind == ErrorKind::not_found) return SQLITE_IOERR_DELETE_NOENT;
  if (!heard(removed)) return SQLITE_IOERR_DELETE;
  if (sync_directory && !heard(vfs.files.sync_directory(directory_of(name)))) return SQLITE_IOERR_DIR_FSYNC;
  return SQLITE_OK;
}

int v_access(sqlite3_vfs* raw, const char* name, int flags, int* out) {
  auto info = of(raw).files.stat(name);
  if (!info && info.error().kind != ErrorKind::not_found) return heard(info), SQLITE_IOERR_ACCESS;
  *out = info.has_value();
  // As SQLite's own VFS does it: an empty journal counts as none.
  if (info && flags == SQLITE_ACCESS_EXISTS && info->type == FileType::regular && info->size == 0) *out = 0;
  return SQLITE_OK;
}

bool is_absolute(std::string_view path) {
#ifdef _WIN32
  if (path.size() > 2 && path[1] == ':' && path[2] == '/') return true;
#endif
  return path.starts_with('/');
}

int v_full_pathname(sqlite3_vfs*, const char* name, int capacity, char* out) {
  // Paths of the port are absolute already.
  size_t length = std::strlen(name);
  if (!is_absolute(name) || length >= static_cast<size_t>(capacity)) return SQLITE_CANTOPEN;
  std::memcpy(out, name, length + 1);
  return SQLITE_OK;
}

int v_randomness(sqlite3_vfs* raw, int amount, char* out) {
  of(raw).random.fill({reinterpret_cast<uint8_t*>(out), static_cast<size_t>(amount)});
  return amount;
}

int v_sleep(sqlite3_vfs* raw, int microseconds) {
  of(raw).clock.sleep_for(std::chrono::microseconds(microseconds));
  return microseconds;
}

// Julian day in milliseconds; 1970-01-01 is day 2440587.5.
int v_current_time_int64(sqlite3_vfs* raw, sqlite3_int64* out) {
  *out = to_ms(of(raw).clock.now()) + 210866760000000;
  return SQLITE_OK;
}

int v_current_time(sqlite3_vfs* raw, double* out) {
  sqlite3_int64 ms;
  v_current_time_int64(raw, &ms);
  *out = static_cast<double>(ms) / 86400000.0;
  return SQLITE_OK;
}

int v_last_error(sqlite3_vfs*, int, char*) { return 0; }

std::string unique_name() {
  static std::atomic<int> count{0};
  return "tillsync-" + std::to_string(++count);
}

}  // namespace

FileVfs::FileVfs(FileSystem& files, Clock& clock, Random& random)
    : impl_(new Impl{.vfs = {}, .name = unique_name(), .files = files, .clock = clock, .random = random}) {
  sqlite3_vfs& v = impl_->vfs;
  v.iVersion = 2;
  v.szOsFile = sizeof(OpenFile);
  v.mxPathname = 4096;
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
  TILLSYNC_CHECK(sqlite3_vfs_register(&v, 0) == SQLITE_OK);
}

FileVfs::~FileVfs() { sqlite3_vfs_unregister(&impl_->vfs); }

const char* FileVfs::name() const { return impl_->name.c_str(); }

}  // namespace tillsync
