#include "support/faulty_file_system.h"

#include <map>

namespace tillsync::test {

struct FaultyFileSystem::Plan {
  std::mutex mutex;
  uint64_t calls = 0, fail_at = 0, hook_at = 0;
  ErrorKind kind = ErrorKind::internal;
  bool for_good = false;
  std::function<void()> hook;
  Watcher watcher;
  std::string failed_call, prefix;
  std::map<std::string, uint64_t> written;

  void count_written(const std::string& path, uint64_t bytes) {
    std::lock_guard lock(mutex);
    written[path] += bytes;
  }
  Result<void> call(std::string_view what, const std::string& path) {
    std::function<void()> due;
    Watcher asked;
    bool fails;
    ErrorKind with;
    uint64_t n;
    {
      std::lock_guard lock(mutex);
      n = ++calls;
      if (n == hook_at) due = hook;
      asked = watcher;
      fails = fail_at != 0 && (n == fail_at || (for_good && n > fail_at)) && path.starts_with(prefix);
      with = kind;
      if (n == fail_at || n == hook_at) failed_call = std::string(what) + " " + path;
    }
    if (due) due();
    if (asked) {
      if (auto refused = asked(std::string(what) + " " + path)) fails = true, with = *refused;
    }
    if (!fails) return {};
    return Error{with, 0, std::string(what) + " " + path + ": made to fail (call " + std::to_string(n) + ")"};
  }
};

class FaultyFileSystem::Handle : public File {
 public:
  Handle(std::unique_ptr<File> inner, std::shared_ptr<Plan> plan, std::string path)
      : inner_(std::move(inner)), plan_(std::move(plan)), path_(std::move(path)) {}
  Result<size_t> read(uint64_t offset, MutableBytes out) override {
    TILLSYNC_TRY(plan_->call("read", path_));
    return inner_->read(offset, out);
  }
  Result<void> write(uint64_t offset, ByteView bytes) override {
    auto allowed = plan_->call("write", path_);
    if (!allowed) {
      (void)inner_->write(offset, bytes.first(bytes.size() / 2)).has_value();
      return std::move(allowed).error();
    }
    TILLSYNC_TRY(inner_->write(offset, bytes));
    plan_->count_written(path_, bytes.size());
    return {};
  }
  Result<void> truncate(uint64_t size) override {
    TILLSYNC_TRY(plan_->call("truncate", path_));
    return inner_->truncate(size);
  }
  Result<void> sync() override {
    TILLSYNC_TRY(plan_->call("sync", path_));
    return inner_->sync();
  }
  Result<uint64_t> size() override {
    TILLSYNC_TRY(plan_->call("size", path_));
    return inner_->size();
  }
  Result<void> lock() override {
    TILLSYNC_TRY(plan_->call("lock", path_));
    return inner_->lock();
  }

 private:
  std::unique_ptr<File> inner_;
  std::shared_ptr<Plan> plan_;
  std::string path_;
};

FaultyFileSystem::FaultyFileSystem(FileSystem& inner) : inner_(inner), plan_(std::make_shared<Plan>()) {}

void FaultyFileSystem::fail_at(uint64_t n, ErrorKind kind, bool for_good) {
  std::lock_guard lock(plan_->mutex);
  plan_->fail_at = n;
  plan_->kind = kind;
  plan_->for_good = for_good;
}

void FaultyFileSystem::at_call(uint64_t n, std::function<void()> hook) {
  std::lock_guard lock(plan_->mutex);
  plan_->hook_at = n;
  plan_->hook = std::move(hook);
}

void FaultyFileSystem::on_call(Watcher watcher) {
  std::lock_guard lock(plan_->mutex);
  plan_->watcher = std::move(watcher);
}

Result<void> FaultyFileSystem::call(const std::string& what, const std::string& path) {
  return plan_->call(what, path);
}

void FaultyFileSystem::reset() {
  std::lock_guard lock(plan_->mutex);
  plan_->calls = plan_->fail_at = plan_->hook_at = 0;
  plan_->hook = nullptr;
  plan_->watcher = nullptr;
  plan_->failed_call.clear();
  plan_->prefix.clear();
  plan_->written.clear();
}

uint64_t FaultyFileSystem::calls() const {
  std::lock_guard lock(plan_->mutex);
  return plan_->calls;
}

std::string FaultyFileSystem::failed_call() const {
  std::lock_guard lock(plan_->mutex);
  return plan_->failed_call;
}

void FaultyFileSystem::fail_only_below(const std::string& prefix) {
  std::lock_guard lock(plan_->mutex);
  plan_->prefix = prefix;
}

uint64_t FaultyFileSystem::bytes_written(const std::string& prefix) const {
  std::lock_guard lock(plan_->mutex);
  uint64_t sum = 0;
  for (auto at = plan_->written.lower_bound(prefix); at != plan_->written.end() && at->first.starts_with(prefix); ++at)
    sum += at->second;
  return sum;
}

Result<std::unique_ptr<File>> FaultyFileSystem::open(const std::string& path, OpenMode mode) {
  TILLSYNC_TRY(plan_->call("open", path));
  TILLSYNC_LET(auto file, inner_.open(path, mode));
  return std::unique_ptr<File>(new Handle(std::move(file), plan_, path));
}
Result<FileInfo> FaultyFileSystem::stat(const std::string& path) {
  TILLSYNC_TRY(plan_->call("stat", path));
  return inner_.stat(path);
}
Result<void> FaultyFileSystem::remove(const std::string& path) {
  TILLSYNC_TRY(plan_->call("remove", path));
  return inner_.remove(path);
}
Result<void> FaultyFileSystem::rename(const std::string& from, const std::string& to) {
  TILLSYNC_TRY(plan_->call("rename", from));
  return inner_.rename(from, to);
}
Result<void> FaultyFileSystem::rename_new(const std::string& from, const std::string& to) {
  TILLSYNC_TRY(plan_->call("rename_new", from));
  return inner_.rename_new(from, to);
}
Result<void> FaultyFileSystem::link_new(const std::string& from, const std::string& to) {
  TILLSYNC_TRY(plan_->call("link_new", to));
  return inner_.link_new(from, to);
}
Result<std::vector<DirectoryEntry>> FaultyFileSystem::list(const std::string& directory) {
  TILLSYNC_TRY(plan_->call("list", directory));
  return inner_.list(directory);
}
Result<void> FaultyFileSystem::make_directories(const std::string& path) {
  TILLSYNC_TRY(plan_->call("make_directories", path));
  return inner_.make_directories(path);
}
Result<void> FaultyFileSystem::sync_directory(const std::string& path) {
  TILLSYNC_TRY(plan_->call("sync_directory", path));
  return inner_.sync_directory(path);
}
Result<uint64_t> FaultyFileSystem::free_space(const std::string& path) {
  TILLSYNC_TRY(plan_->call("free_space", path));
  return inner_.free_space(path);
}

}  // namespace tillsync::test
