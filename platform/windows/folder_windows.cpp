#include "platform/windows/folder_windows.h"

#include <windows.h>

#include <winioctl.h>
#include <winternl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/checks.h"
#include "platform/windows/error_windows.h"
#include "platform/windows/file_facts_windows.h"
#include "platform/windows/file_system_windows.h"
#include "platform/windows/handle_windows.h"
#include "platform/windows/wide_text.h"

namespace tillsync {

namespace {

constexpr ULONG kShared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
constexpr ULONG kAlways = FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_FOR_BACKUP_INTENT | FILE_OPEN_REPARSE_POINT;

UNICODE_STRING unicode(std::wstring& text) {
  const auto bytes = static_cast<USHORT>(text.size() * sizeof(wchar_t));
  return {bytes, bytes, text.data()};
}

Result<NodeInfo> info_of(HANDLE file, const std::string& path) {
  BY_HANDLE_FILE_INFORMATION raw{};
  FILE_BASIC_INFO basic{};
  if (!::GetFileInformationByHandle(file, &raw) ||
      !::GetFileInformationByHandleEx(file, FileBasicInfo, &basic, sizeof basic))
    return last_windows_error("look at", path);
  NodeInfo info;
  info.type = type_of(file, raw.dwFileAttributes);
  info.size = info.type == FileType::directory ? 0 : joined(raw.nFileSizeHigh, raw.nFileSizeLow);
  info.mtime_ns = unix_ns(basic.LastWriteTime.QuadPart);
  info.ctime_ns = unix_ns(basic.ChangeTime.QuadPart);
  info.inode = joined(raw.nFileIndexHigh, raw.nFileIndexLow);
  info.device = raw.dwVolumeSerialNumber;
  info.mode = info.type == FileType::directory ? 0700 : 0600;
  if (raw.dwFileAttributes & FILE_ATTRIBUTE_READONLY && info.type != FileType::directory) info.mode &= ~uint32_t{0200};
  return info;
}

class WindowsFolder : public Folder {
 public:
  WindowsFolder(Handle handle, std::string path) : handle_(std::move(handle)), path_(std::move(path)) {}

  Result<NodeInfo> info() override { return info_of(handle_.get(), path_); }

  Result<std::vector<std::string>> names() override {
    std::vector<std::string> names;
    // A handle of its own: a listing is a state of it.
    TILLSYNC_LET(const Handle again, open_by_kernel("list", "", FILE_LIST_DIRECTORY, 0, FILE_OPEN, kAlways));
    alignas(FILE_ID_BOTH_DIR_INFO) std::array<char, 32 << 10> some{};
    auto from = FileIdBothDirectoryRestartInfo;
    while (::GetFileInformationByHandleEx(again.get(), from, some.data(), static_cast<DWORD>(some.size()))) {
      from = FileIdBothDirectoryInfo;
      for (const char* at = some.data();;) {
        const auto* entry = reinterpret_cast<const FILE_ID_BOTH_DIR_INFO*>(at);
        std::string name = to_utf8({entry->FileName, entry->FileNameLength / sizeof(wchar_t)});
        if (name != "." && name != "..") names.push_back(std::move(name));
        if (entry->NextEntryOffset == 0) break;
        at += entry->NextEntryOffset;
      }
    }
    const DWORD ended = ::GetLastError();
    // An empty root has not even "." and "..".
    if (ended != ERROR_NO_MORE_FILES && ended != ERROR_FILE_NOT_FOUND) return windows_error(ended, "list", path_);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<NodeInfo> stat(const std::string& name) override {
    TILLSYNC_LET(const Handle file, open_in("look at", name, FILE_READ_ATTRIBUTES, 0));
    return info_of(file.get(), at(name));
  }

  Result<OpenedFile> open_file(const std::string& name) override {
    TILLSYNC_LET(Handle file, open_in("open", name, GENERIC_READ, 0));
    TILLSYNC_LET(NodeInfo info, info_of(file.get(), at(name)));
    if (info.type != FileType::regular) return unexpected("open", name);
    if (is_reparse_point(file.get())) {
      // Its content is not what lies on the disk: the way round is the file system's, for the very same file.
      TILLSYNC_LET(Handle content,
                   open_in("open", name, GENERIC_READ, 0, FILE_OPEN, kAlways & ~FILE_OPEN_REPARSE_POINT));
      TILLSYNC_LET(const NodeInfo same, info_of(content.get(), at(name)));
      if (same.type != FileType::regular || same.inode != info.inode || same.device != info.device)
        return unexpected("open", name);
      info = same;
      file = std::move(content);
    }
    return OpenedFile{adopt(std::move(file), name), info};
  }

  Result<std::unique_ptr<Folder>> open_folder(const std::string& name) override {
    TILLSYNC_LET(Handle folder, open_in("open", name, FILE_LIST_DIRECTORY | FILE_TRAVERSE | FILE_READ_ATTRIBUTES, 0));
    TILLSYNC_LET(const NodeInfo info, info_of(folder.get(), at(name)));
    if (info.type != FileType::directory) return unexpected("open", name);
    return std::unique_ptr<Folder>(std::make_unique<WindowsFolder>(std::move(folder), at(name)));
  }

  Result<std::string> read_link(const std::string& name) override {
    TILLSYNC_LET(const Handle link, open_in("read the link", name, FILE_READ_ATTRIBUTES, 0));
    // REPARSE_DATA_BUFFER is in no header beside winternl.h. Source: MS-FSCC 2.1.2.4 and 2.1.2.5.
    struct Head {
      DWORD tag;
      WORD size, reserved;
      WORD substitute_offset, substitute_size, print_offset, print_size;
    };
    alignas(Head) std::array<char, MAXIMUM_REPARSE_DATA_BUFFER_SIZE> data{};
    DWORD size = 0;
    if (!::DeviceIoControl(link.get(), FSCTL_GET_REPARSE_POINT, nullptr, 0, data.data(),
                           static_cast<DWORD>(data.size()), &size, nullptr)) {
      const DWORD failed = ::GetLastError();
      if (failed == ERROR_NOT_A_REPARSE_POINT) return unexpected("read the link", name);
      return windows_error(failed, "read the link", at(name));
    }
    Head head{};
    std::memcpy(&head, data.data(), sizeof head);
    const bool is_symbolic = head.tag == IO_REPARSE_TAG_SYMLINK;
    if (!is_symbolic && head.tag != IO_REPARSE_TAG_MOUNT_POINT) return unexpected("read the link", name);
    const size_t begin = sizeof head + (is_symbolic ? sizeof(DWORD) : 0) + head.print_offset;
    if (begin + head.print_size > size) return Error{ErrorKind::corrupt, 0, at(name) + ": the link has no target"};
    std::wstring target(head.print_size / sizeof(wchar_t), L'\0');
    std::memcpy(target.data(), data.data() + begin, target.size() * sizeof(wchar_t));
    return to_utf8(target);
  }

  Result<std::unique_ptr<File>> make_file(const std::string& name) override {
    TILLSYNC_LET(Handle file, open_in("make", name, GENERIC_READ | GENERIC_WRITE,
                                      FILE_NON_DIRECTORY_FILE | FILE_WRITE_THROUGH, FILE_CREATE));
    return adopt(std::move(file), name);
  }

  Result<std::unique_ptr<Folder>> make_folder(const std::string& name) override {
    TILLSYNC_LET(Handle folder, open_in("make", name, FILE_LIST_DIRECTORY | FILE_TRAVERSE | FILE_READ_ATTRIBUTES,
                                        FILE_DIRECTORY_FILE, FILE_CREATE));
    return std::unique_ptr<Folder>(std::make_unique<WindowsFolder>(std::move(folder), at(name)));
  }

  // By its path, for want of another call: what is made is a name, without content. Looked for in our folder then.
  Result<void> make_link(const std::string& name, const std::string& target) override {
    TILLSYNC_TRY(check(name));
    std::wstring wide = to_wide(target);
    std::replace(wide.begin(), wide.end(), L'/', L'\\');
    const DWORD there = ::GetFileAttributesW(native_path(is_absolute(wide) ? target : at(target)).c_str());
    DWORD flags = SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE;
    if (there != INVALID_FILE_ATTRIBUTES && there & FILE_ATTRIBUTE_DIRECTORY) flags |= SYMBOLIC_LINK_FLAG_DIRECTORY;
    if (!::CreateSymbolicLinkW(native_path(at(name)).c_str(), wide.c_str(), flags)) {
      const DWORD failed = ::GetLastError();
      if (failed == ERROR_PRIVILEGE_NOT_HELD || failed == ERROR_INVALID_FUNCTION || failed == ERROR_NOT_SUPPORTED)
        return Error{ErrorKind::usage, static_cast<int>(failed), at(name) + ": no links can be made here"};
      return windows_error(failed, "make the link", at(name));
    }
    auto made = stat(name);
    if (!made || made->type != FileType::symlink)
      return Error{ErrorKind::usage, 0, at(name) + ": no links can be made here"};
    return {};
  }

  Result<void> set_attributes(const std::string& name, const NodeAttributes& attributes) override {
    TILLSYNC_LET(const Handle file, open_in("open", name, FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES, 0));
    TILLSYNC_LET(const NodeInfo there, info_of(file.get(), at(name)));
    FILE_BASIC_INFO basic{};  // zero: as it is
    basic.LastWriteTime.QuadPart = attributes.mtime_ns / 100 + kUnixEpochTicks;
    // Of a folder it would say something else.
    if (there.type == FileType::regular)
      basic.FileAttributes = attributes.mode & 0200 ? FILE_ATTRIBUTE_NORMAL : FILE_ATTRIBUTE_READONLY;
    if (!::SetFileInformationByHandle(file.get(), FileBasicInfo, &basic, sizeof basic))
      return last_windows_error("set the attributes of", at(name));
    return {};
  }

  Result<void> rename(const std::string& name, Folder& to, const std::string& to_name, Rename how) override {
    TILLSYNC_TRY(check(name));
    TILLSYNC_TRY(check(to_name));
    if (how == Rename::exchange)
      return Error{ErrorKind::usage, ERROR_NOT_SUPPORTED, at(name) + ": names can't change places here"};
    TILLSYNC_LET(const Handle file, open_in("rename", name, DELETE, 0));
    return give_name(file.get(), FileRenameInformation, "rename", name, to, to_name);
  }

  Result<void> add_name(const std::string& name, Folder& to, const std::string& to_name) override {
    TILLSYNC_TRY(check(to_name));
    TILLSYNC_LET(const Handle file, open_in("link", name, FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES, 0));
    TILLSYNC_LET(const NodeInfo info, info_of(file.get(), at(name)));
    auto given = info.type == FileType::regular ? give_name(file.get(), FileLinkInformation, "link", name, to, to_name)
                                                : Result<void>(windows_error(ERROR_NOT_SUPPORTED, "link", at(name)));
    if (given) return given;
    switch (given.error().code) {
      case ERROR_NOT_SUPPORTED:
      case ERROR_NOT_SAME_DEVICE:
      case ERROR_TOO_MANY_LINKS:
      case ERROR_INVALID_FUNCTION:
      case ERROR_INVALID_PARAMETER:
        return Error{ErrorKind::usage, given.error().code, at(name) + ": it can't have a second name here"};
    }
    return given;
  }

  Result<void> remove(const std::string& name) override {
    TILLSYNC_LET(const Handle file, open_in("remove", name, DELETE | FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES, 0));
    if (remove_open_file(file.get())) return {};
    return last_windows_error("remove", at(name));
  }

  Result<void> sync() override { return WindowsFileSystem().sync_directory(path_); }

  Result<void> sync_all() override {
    TILLSYNC_TRY(sync());
    std::array<wchar_t, MAX_PATH + 1> root{};
    if (!::GetVolumePathNameW(native_path(path_).c_str(), root.data(), static_cast<DWORD>(root.size())))
      return last_windows_error("find the volume of", path_);
    std::wstring volume = root.data();
    while (!volume.empty() && volume.back() == L'\\') volume.pop_back();  // with it: the root folder
    const Handle whole(::CreateFileW(volume.c_str(), GENERIC_WRITE, kShared, nullptr, OPEN_EXISTING, 0, nullptr));
    if (whole && !::FlushFileBuffers(whole.get())) {
      const DWORD failed = ::GetLastError();
      if (failed != ERROR_ACCESS_DENIED && failed != ERROR_INVALID_FUNCTION && failed != ERROR_NOT_SUPPORTED)
        return windows_error(failed, "sync", path_);
    }
    return {};
  }

 private:
  static bool is_absolute(std::wstring_view path) {
    return path.starts_with(L"\\") || (path.size() > 1 && path[1] == L':');
  }
  static bool is_reparse_point(HANDLE file) {
    FILE_ATTRIBUTE_TAG_INFO tagged{};
    return ::GetFileInformationByHandleEx(file, FileAttributeTagInfo, &tagged, sizeof tagged) &&
           tagged.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT;
  }

  Result<void> check(const std::string& name) const {
    const bool has_other = std::any_of(name.begin(), name.end(), [](char c) {
      return static_cast<unsigned char>(c) < ' ' || std::string_view("/\\:*?\"<>|").find(c) != std::string_view::npos;
    });
    if (name.empty() || name == "." || name == ".." || has_other)
      return Error{ErrorKind::usage, 0, path_ + ": a name in it was expected, not '" + name + "'"};
    return {};
  }
  std::string at(const std::string& name) const { return path_ + "/" + name; }
  Error unexpected(std::string_view doing, const std::string& name) const {
    return Error{ErrorKind::conflict, 0,
                 std::string(doing) + " " + at(name) + ": something else than expected is there"};
  }

  Result<Handle> open_in(std::string_view doing, const std::string& name, ACCESS_MASK access, ULONG options,
                         ULONG how = FILE_OPEN, ULONG always = kAlways) const {
    TILLSYNC_TRY(check(name));
    return open_by_kernel(doing, name, access, options, how, always);
  }

  // name: of one part, or empty for the folder itself.
  Result<Handle> open_by_kernel(std::string_view doing, const std::string& name, ACCESS_MASK access, ULONG options,
                                ULONG how, ULONG always) const {
    std::wstring wide = to_wide(name);
    UNICODE_STRING text = unicode(wide);
    OBJECT_ATTRIBUTES where{};
    InitializeObjectAttributes(&where, &text, OBJ_CASE_INSENSITIVE, handle_.get(), nullptr);
    HANDLE opened = nullptr;
    IO_STATUS_BLOCK status{};
    const NTSTATUS failed = ::NtCreateFile(&opened, access | SYNCHRONIZE, &where, &status, nullptr,
                                           FILE_ATTRIBUTE_NORMAL, kShared, how, options | always, nullptr, 0);
    if (failed < 0) return windows_error(::RtlNtStatusToDosError(failed), doing, at(name));
    return Handle(opened);
  }

  Result<void> give_name(HANDLE file, FILE_INFORMATION_CLASS kind, std::string_view doing, const std::string& name,
                         Folder& to, const std::string& to_name) const {
    auto* other = dynamic_cast<WindowsFolder*>(&to);
    TILLSYNC_CHECK(other != nullptr);
    static_assert(offsetof(FILE_RENAME_INFORMATION, FileName) == offsetof(FILE_LINK_INFORMATION, FileName));
    const std::wstring wide = to_wide(to_name);
    const size_t bytes = wide.size() * sizeof(wchar_t);
    std::vector<std::max_align_t> room((sizeof(FILE_RENAME_INFORMATION) + bytes) / sizeof(std::max_align_t) + 1);
    auto* info = reinterpret_cast<FILE_RENAME_INFORMATION*>(room.data());
    info->RootDirectory = other->handle_.get();
    info->FileNameLength = static_cast<ULONG>(bytes);
    std::memcpy(info->FileName, wide.data(), bytes);
    IO_STATUS_BLOCK status{};
    const NTSTATUS failed =
        ::NtSetInformationFile(file, &status, info, static_cast<ULONG>(sizeof(FILE_RENAME_INFORMATION) + bytes), kind);
    if (failed < 0) return windows_error(::RtlNtStatusToDosError(failed), doing, at(name));
    return {};
  }

  std::unique_ptr<File> adopt(Handle handle, const std::string& name) const {
    return adopt_file(handle.release(), at(name));
  }

  Handle handle_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<Folder>> WindowsFolders::open(const std::string& path) {
  Handle handle(::CreateFileW(native_path(path).c_str(), FILE_LIST_DIRECTORY | FILE_TRAVERSE | FILE_READ_ATTRIBUTES,
                              kShared, nullptr, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr));
  if (!handle) return last_windows_error("open", path);
  TILLSYNC_LET(const NodeInfo info, info_of(handle.get(), path));
  if (info.type != FileType::directory) return windows_error(ERROR_DIRECTORY, "open", path);
  return std::unique_ptr<Folder>(std::make_unique<WindowsFolder>(std::move(handle), path));
}

}  // namespace tillsync
