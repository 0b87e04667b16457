#include "platform/windows/file_system_windows.h"

#include <windows.h>

#include <sddl.h>

#include <algorithm>
#include <utility>

#include "platform/windows/error_windows.h"
#include "platform/windows/file_facts_windows.h"
#include "platform/windows/handle_windows.h"
#include "platform/windows/wide_text.h"

namespace tillsync {

namespace {

constexpr DWORD kShared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
// At which byte a lock is: where no file has one.
constexpr uint64_t kLockedByte = INT64_MAX - 1;

Handle open_path(const std::wstring& path, DWORD access, DWORD flags = FILE_FLAG_BACKUP_SEMANTICS) {
  return Handle(::CreateFileW(path.c_str(), access, kShared, nullptr, OPEN_EXISTING, flags, nullptr));
}

OVERLAPPED at(uint64_t offset) {
  OVERLAPPED where{};
  where.Offset = static_cast<DWORD>(offset);
  where.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return where;
}

Result<uint64_t> free_space_of(const std::wstring& folder, const std::string& path) {
  ULARGE_INTEGER available{};
  if (!::GetDiskFreeSpaceExW(folder.c_str(), &available, nullptr, nullptr))
    return last_windows_error("get the free space of", path);
  return available.QuadPart;
}

class WindowsFile : public File {
 public:
  WindowsFile(Handle handle, std::string path) : handle_(std::move(handle)), path_(std::move(path)) {}

  Result<size_t> read(uint64_t offset, MutableBytes out) override {
    size_t done = 0;
    while (done < out.size()) {
      OVERLAPPED where = at(offset + done);
      DWORD n = 0;
      if (!::ReadFile(handle_.get(), out.data() + done, once(out.size() - done), &n, &where)) {
        if (::GetLastError() == ERROR_HANDLE_EOF) break;
        return last_windows_error("read", path_);
      }
      if (n == 0) break;
      done += n;
    }
    return done;
  }

  Result<void> write(uint64_t offset, ByteView bytes) override {
    size_t done = 0;
    while (done < bytes.size()) {
      OVERLAPPED where = at(offset + done);
      DWORD n = 0;
      if (!::WriteFile(handle_.get(), bytes.data() + done, once(bytes.size() - done), &n, &where))
        return last_windows_error("write", path_);
      if (n == 0) return windows_error(ERROR_DISK_FULL, "write", path_);
      done += n;
    }
    return {};
  }

  Result<void> truncate(uint64_t size) override {
    FILE_END_OF_FILE_INFO end{};
    end.EndOfFile.QuadPart = static_cast<LONGLONG>(size);
    if (!::SetFileInformationByHandle(handle_.get(), FileEndOfFileInfo, &end, sizeof end))
      return last_windows_error("truncate", path_);
    return {};
  }

  Result<void> sync() override {
    if (sync_failed_ == 0 && !::FlushFileBuffers(handle_.get())) sync_failed_ = ::GetLastError();
    if (sync_failed_ != 0) return windows_error(sync_failed_, "sync", path_);
    return {};
  }

  Result<uint64_t> size() override {
    LARGE_INTEGER size{};
    if (!::GetFileSizeEx(handle_.get(), &size)) return last_windows_error("get the size of", path_);
    return static_cast<uint64_t>(size.QuadPart);
  }

  Result<void> lock() override {
    if (is_locked_) return {};
    OVERLAPPED where = at(kLockedByte);
    is_locked_ = ::LockFileEx(handle_.get(), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &where) != 0;
    if (is_locked_) return {};
    const DWORD failed = ::GetLastError();
    if (failed == ERROR_LOCK_VIOLATION || failed == ERROR_IO_PENDING)
      return Error{ErrorKind::conflict, static_cast<int>(failed), "lock " + path_ + ": another process holds it"};
    return windows_error(failed, "lock", path_);
  }

  Result<std::unique_ptr<File>> duplicate() override {
    HANDLE copy = nullptr;
    const HANDLE process = ::GetCurrentProcess();
    if (!::DuplicateHandle(process, handle_.get(), process, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS))
      return last_windows_error("duplicate", path_);
    return std::unique_ptr<File>(new WindowsFile(Handle(copy), path_));
  }

  Result<uint64_t> free_space() override { return free_space_of(native_path(directory_of(path_)), path_); }

 private:
  // One call takes no more than 32 bits of a size.
  static DWORD once(size_t size) { return static_cast<DWORD>(std::min<size_t>(size, 64 << 20)); }
  Handle handle_;
  DWORD sync_failed_ = 0;
  bool is_locked_ = false;
  std::string path_;
};

// Of a folder: SYSTEM, administrators, and the user that this runs as.
class PrivateSecurity {
 public:
  PrivateSecurity() {
    HANDLE opened = nullptr;
    if (!::OpenProcessToken(::GetCurrentProcess(), TOKEN_QUERY, &opened)) return;
    const Handle token(opened);
    alignas(TOKEN_USER) char user[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    DWORD size = 0;
    wchar_t* name = nullptr;
    if (!::GetTokenInformation(token.get(), TokenUser, user, sizeof user, &size) ||
        !::ConvertSidToStringSidW(reinterpret_cast<TOKEN_USER*>(user)->User.Sid, &name))
      return;
    const std::wstring rights =
        L"D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;" + std::wstring(name) + std::wstring(L")");
    ::LocalFree(name);
    ::ConvertStringSecurityDescriptorToSecurityDescriptorW(rights.c_str(), SDDL_REVISION_1, &descriptor_, nullptr);
    attributes_ = {sizeof attributes_, descriptor_, FALSE};
  }
  PrivateSecurity(const PrivateSecurity&) = delete;
  ~PrivateSecurity() { ::LocalFree(descriptor_); }
  // nullptr: it can't be said whose it is.
  SECURITY_ATTRIBUTES* get() { return descriptor_ ? &attributes_ : nullptr; }

 private:
  PSECURITY_DESCRIPTOR descriptor_ = nullptr;
  SECURITY_ATTRIBUTES attributes_{};
};

bool is_unknown_call(DWORD error) {
  return error == ERROR_INVALID_PARAMETER || error == ERROR_INVALID_FUNCTION || error == ERROR_NOT_SUPPORTED ||
         error == ERROR_CALL_NOT_IMPLEMENTED;
}

// Replaces a file that others have open, too: they keep what they opened. false: not here.
bool rename_as_posix(const std::wstring& from, const std::wstring& to) {
  constexpr DWORD kReplace = 1, kPosix = 2;  // of FILE_RENAME_INFORMATION_EX; not in mingw-w64 10
  constexpr auto kRenameInfoEx = static_cast<FILE_INFO_BY_HANDLE_CLASS>(22);
  const Handle file = open_path(from, DELETE | SYNCHRONIZE, FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
  if (!file) return false;
  const size_t bytes = to.size() * sizeof(wchar_t);
  std::vector<char> room(sizeof(FILE_RENAME_INFO) + bytes);
  auto* info = reinterpret_cast<FILE_RENAME_INFO*>(room.data());
  // A union of BOOLEAN ReplaceIfExists and DWORD Flags.
  *reinterpret_cast<DWORD*>(info) = kReplace | kPosix;
  info->FileNameLength = static_cast<DWORD>(bytes);
  std::copy(to.begin(), to.end(), info->FileName);
  return ::SetFileInformationByHandle(file.get(), kRenameInfoEx, info, static_cast<DWORD>(room.size())) != 0;
}

}  // namespace

std::unique_ptr<File> adopt_file(void* handle, std::string path) {
  return std::make_unique<WindowsFile>(Handle(handle), std::move(path));
}

Result<std::unique_ptr<File>> WindowsFileSystem::open(const std::string& path, OpenMode mode) {
  DWORD access = GENERIC_READ | GENERIC_WRITE, how = OPEN_EXISTING;
  const char* doing = "open";
  switch (mode) {
    case OpenMode::read: access = GENERIC_READ; break;
    case OpenMode::read_write: break;
    case OpenMode::create: how = OPEN_ALWAYS; break;
    case OpenMode::create_new:
      how = CREATE_NEW;
      doing = "create";
      break;
  }
  Handle handle(
      ::CreateFileW(native_path(path).c_str(), access, kShared, nullptr, how, FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!handle) return last_windows_error(doing, path);
  return std::unique_ptr<File>(new WindowsFile(std::move(handle), path));
}

Result<FileInfo> WindowsFileSystem::stat(const std::string& path) {
  const Handle file =
      open_path(native_path(path), FILE_READ_ATTRIBUTES, FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
  BY_HANDLE_FILE_INFORMATION raw{};
  if (!file || !::GetFileInformationByHandle(file.get(), &raw)) return last_windows_error("look at", path);
  FileInfo info;
  info.type = type_of(file.get(), raw.dwFileAttributes);
  info.size = info.type == FileType::directory ? 0 : joined(raw.nFileSizeHigh, raw.nFileSizeLow);
  info.mtime_ns = unix_ns(raw.ftLastWriteTime);
  info.inode = joined(raw.nFileIndexHigh, raw.nFileIndexLow);
  info.device = raw.dwVolumeSerialNumber;
  info.mode = info.type == FileType::directory ? 0700 : 0600;
  if (raw.dwFileAttributes & FILE_ATTRIBUTE_READONLY) info.mode &= ~uint32_t{0200};
  return info;
}

Result<void> WindowsFileSystem::remove(const std::string& path) {
  const Handle file = open_path(native_path(path), DELETE | FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES,
                                FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
  if (!file || !remove_open_file(file.get())) return last_windows_error("remove", path);
  return {};
}

Result<void> WindowsFileSystem::rename(const std::string& from, const std::string& to) {
  const std::wstring source = native_path(from), target = native_path(to);
  if (rename_as_posix(source, target)) return {};
  if (::MoveFileExW(source.c_str(), target.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) return {};
  return last_windows_error("rename " + from + " to", to);
}

Result<void> WindowsFileSystem::rename_new(const std::string& from, const std::string& to) {
  if (::MoveFileExW(native_path(from).c_str(), native_path(to).c_str(), MOVEFILE_WRITE_THROUGH)) return {};
  return last_windows_error("give " + from + " the name", to);
}

Result<void> WindowsFileSystem::link_new(const std::string& from, const std::string& to) {
  const std::string doing = "give " + from + " the further name";
  const Handle file = open_path(native_path(from), GENERIC_READ | GENERIC_WRITE | FILE_WRITE_ATTRIBUTES,
                                FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
  if (!file) return last_windows_error("open", from);
  // The time first: whoever finds the new name finds the new time.
  FILETIME now{};
  ::GetSystemTimeAsFileTime(&now);
  if (!::SetFileTime(file.get(), nullptr, nullptr, &now)) return last_windows_error("set the time of", from);
  if (!::FlushFileBuffers(file.get())) return last_windows_error("sync", from);
  if (::CreateHardLinkW(native_path(to).c_str(), native_path(from).c_str(), nullptr)) return {};
  const DWORD failed = ::GetLastError();
  if (failed == ERROR_NOT_SAME_DEVICE || failed == ERROR_TOO_MANY_LINKS || is_unknown_call(failed))
    return Error{ErrorKind::usage, static_cast<int>(failed), doing + " " + to + ": not possible between these folders"};
  return windows_error(failed, doing, to);
}

Result<std::vector<DirectoryEntry>> WindowsFileSystem::list(const std::string& directory) {
  const std::wstring all = native_path(directory) + L"\\*";
  WIN32_FIND_DATAW found{};
  const HANDLE search = ::FindFirstFileExW(all.c_str(), FindExInfoBasic, &found, FindExSearchNameMatch, nullptr,
                                           FIND_FIRST_EX_LARGE_FETCH);
  if (search == INVALID_HANDLE_VALUE) return last_windows_error("list", directory);
  std::vector<DirectoryEntry> out;
  do {
    std::string name = to_utf8(found.cFileName);
    if (name != "." && name != "..")
      out.push_back({std::move(name), type_of(found.dwFileAttributes, found.dwReserved0)});
  } while (::FindNextFileW(search, &found));
  const DWORD ended = ::GetLastError();
  ::FindClose(search);
  if (ended != ERROR_NO_MORE_FILES) return windows_error(ended, "list", directory);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

Result<void> WindowsFileSystem::make_directories(const std::string& path) {
  const std::wstring native = native_path(path);
  PrivateSecurity security;
  if (::CreateDirectoryW(native.c_str(), security.get())) return {};
  if (::GetLastError() == ERROR_PATH_NOT_FOUND && directory_of(path) != path) {
    TILLSYNC_TRY(make_directories(directory_of(path)));
    if (::CreateDirectoryW(native.c_str(), security.get())) return {};
  }
  const DWORD failed = ::GetLastError();
  const DWORD attributes = ::GetFileAttributesW(native.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_DIRECTORY) return {};
  return windows_error(failed, "make the folder", path);
}

Result<void> WindowsFileSystem::sync_directory(const std::string& path) {
  const std::wstring native = native_path(path);
  const Handle folder = open_path(native, GENERIC_READ | GENERIC_WRITE);
  if (folder) {
    if (::FlushFileBuffers(folder.get())) return {};
    const DWORD failed = ::GetLastError();
    if (is_unknown_call(failed) || failed == ERROR_ACCESS_DENIED || failed == ERROR_INVALID_HANDLE) return {};
    return windows_error(failed, "sync the folder", path);
  }
  const DWORD failed = ::GetLastError();
  const DWORD attributes = ::GetFileAttributesW(native.c_str());
  if (attributes == INVALID_FILE_ATTRIBUTES || !(attributes & FILE_ATTRIBUTE_DIRECTORY))
    return windows_error(failed, "open the folder", path);
  return {};
}

Result<uint64_t> WindowsFileSystem::free_space(const std::string& path) {
  return free_space_of(native_path(path), path);
}

}  // namespace tillsync
