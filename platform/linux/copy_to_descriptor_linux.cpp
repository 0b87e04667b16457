#include "platform/linux/copy_to_descriptor_linux.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "platform/linux/errno_linux.h"

namespace tillsync {

namespace {

constexpr size_t kChunk = 1 << 20;

Result<void> write_all(int fd, uint64_t offset, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "write", "the restored file");
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Result<void> copy_to_descriptor(FileSystem& files, const std::string& path, int fd,
                                const std::function<bool(uint64_t, uint64_t)>& progress) {
  TILLSYNC_LET(auto file, files.open(path, OpenMode::read));
  TILLSYNC_LET(const uint64_t size, file->size());
  Bytes chunk(kChunk);
  for (uint64_t at = 0; at < size;) {
    TILLSYNC_LET(const size_t got, file->read(at, chunk));
    if (got == 0) return Error{ErrorKind::internal, 0, path + ": ends before its size"};
    TILLSYNC_TRY(write_all(fd, at, ByteView(chunk).first(got)));
    (void)::sync_file_range(fd, static_cast<off_t>(at), static_cast<off_t>(got), SYNC_FILE_RANGE_WRITE);
    at += got;
    if (progress && !progress(at, size)) return Error{ErrorKind::cancelled, 0, "interrupted"};
  }
  return {};
}

}  // namespace tillsync
