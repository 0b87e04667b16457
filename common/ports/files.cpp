#include "ports/files.h"

#include <cstdio>

namespace tillsync {

constexpr uint64_t kSyncedAtOnce = 4 << 20;

Result<std::unique_ptr<File>> File::duplicate() {
  return Error{ErrorKind::usage, 0, "this file can't be given to another thread"};
}

Result<uint64_t> File::free_space() { return Error{ErrorKind::usage, 0, "nothing is known of this file's disk"}; }

Result<PendingFile> PendingFile::create(FileSystem& files, const std::string& path, uint32_t unique) {
  char suffix[24];
  std::snprintf(suffix, sizeof suffix, ".%08x.tmp", unique);
  std::string temporary = path + suffix;
  TILLSYNC_LET(auto file, files.open(temporary, OpenMode::create_new));
  return PendingFile(files, path, std::move(temporary), std::move(file));
}

PendingFile::PendingFile(PendingFile&& other) noexcept
    : files_(other.files_),
      path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      file_(std::move(other.file_)),
      size_(other.size_),
      on_its_way_(other.on_its_way_) {}

PendingFile::~PendingFile() {
  if (!file_) return;
  file_.reset();
  // Nothing to be done about a failure: the start-up sweep removes leftovers.
  (void)files_->remove(temporary_).has_value();
}

Result<void> PendingFile::append(ByteView bytes) {
  TILLSYNC_TRY(file_->write(size_, bytes));
  size_ += bytes.size();
  if (size_ - on_its_way_ >= kSyncedAtOnce) {
    file_->begin_sync(on_its_way_, size_ - on_its_way_);
    on_its_way_ = size_;
  }
  return {};
}

Result<void> PendingFile::finish(bool create_only) {
  TILLSYNC_TRY(file_->sync());
  TILLSYNC_TRY(create_only ? files_->rename_new(temporary_, path_) : files_->rename(temporary_, path_));
  file_.reset();
  auto synced = files_->sync_directory(directory_of(path_));
  // The name is ours and may be gone with the power: taken back, or whoever finds it would take it for durable.
  if (!synced && create_only) (void)files_->remove(path_).has_value();
  return synced;
}

std::string directory_of(const std::string& path) {
  auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<Bytes> read_file(FileSystem& files, const std::string& path, uint64_t limit) {
  TILLSYNC_LET(auto file, files.open(path, OpenMode::read));
  TILLSYNC_LET(uint64_t size, file->size());
  if (size > limit)
    return Error{ErrorKind::corrupt, 0, path + ": " + std::to_string(size) + " bytes are more than expected here"};
  Bytes out(size);
  TILLSYNC_LET(size_t got, file->read(0, out));
  out.resize(got);
  return out;
}

}  // namespace tillsync
