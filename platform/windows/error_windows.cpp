#include "platform/windows/error_windows.h"

#include <windows.h>

#include <new>
#include <string>

#include "platform/windows/wide_text.h"

namespace tillsync {

namespace {

constexpr DWORD kDiskQuotaExceeded = 1295;  // not in mingw-w64 10

ErrorKind kind_of(DWORD number) {
  switch (number) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_DRIVE:
    case ERROR_DIRECTORY: return ErrorKind::not_found;
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS:
    case ERROR_DIR_NOT_EMPTY: return ErrorKind::conflict;
    case ERROR_ACCESS_DENIED:
    case ERROR_WRITE_PROTECT:
    case ERROR_PRIVILEGE_NOT_HELD: return ErrorKind::denied;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case kDiskQuotaExceeded:
    case ERROR_FILE_TOO_LARGE: return ErrorKind::no_space;
    // Somebody has it open in a way that keeps others out: a virus scanner, a backup. It passes.
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_DELETE_PENDING:
    case ERROR_USER_MAPPED_FILE:
    case ERROR_TOO_MANY_OPEN_FILES:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_CRC:
    case ERROR_IO_DEVICE: return ErrorKind::transient;
    case ERROR_NOT_READY:
    case ERROR_DEV_NOT_EXIST:
    case ERROR_DEVICE_NOT_CONNECTED:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
    case ERROR_NETNAME_DELETED:
    case ERROR_UNEXP_NET_ERR:
    case ERROR_NETWORK_UNREACHABLE:
    case ERROR_HOST_UNREACHABLE:
    case ERROR_SEM_TIMEOUT: return ErrorKind::offline;
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
    case ERROR_FILENAME_EXCED_RANGE: return ErrorKind::usage;
    default: return ErrorKind::internal;
  }
}

std::string words_of(DWORD number) {
  wchar_t* text = nullptr;
  const DWORD length =
      ::FormatMessageW(FORMAT_MESSAGE_ALLOCATE_BUFFER | FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS,
                       nullptr, number, 0, reinterpret_cast<wchar_t*>(&text), 0, nullptr);
  std::string words = length == 0 ? "error " + std::to_string(number) : to_utf8({text, length});
  ::LocalFree(text);
  while (!words.empty() && (words.back() == '\n' || words.back() == '\r' || words.back() == ' ' || words.back() == '.'))
    words.pop_back();
  return words;
}

}  // namespace

Error windows_error(uint32_t number, std::string_view doing, std::string_view path) {
  if (number == ERROR_NOT_ENOUGH_MEMORY || number == ERROR_OUTOFMEMORY) throw std::bad_alloc();
  std::string text(doing);
  text.append(" ").append(path).append(": ").append(words_of(number));
  return Error{kind_of(number), static_cast<int>(number), std::move(text)};
}

Error last_windows_error(std::string_view doing, std::string_view path) {
  return windows_error(::GetLastError(), doing, path);
}

}  // namespace tillsync
