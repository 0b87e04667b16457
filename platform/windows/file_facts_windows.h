// What Windows says of a file, in the terms of our ports, and how one that is open is removed. Threads: any.
#pragma once

#include <windows.h>

#include "ports/files.h"

namespace tillsync {

inline uint64_t joined(DWORD high, DWORD low) { return uint64_t{high} << 32 | low; }

constexpr int64_t kUnixEpochTicks = 116'444'736'000'000'000;  // of 100 ns, since 1601

inline int64_t unix_ns(int64_t ticks) { return (ticks - kUnixEpochTicks) * 100; }
inline int64_t unix_ns(const FILETIME& time) {
  return unix_ns(static_cast<int64_t>(joined(time.dwHighDateTime, time.dwLowDateTime)));
}

// tag: of a reparse point. One that stands for another name is a link; any other is a file that its file system keeps
// in a way of its own (in a cloud, compressed, without duplicates).
inline FileType type_of(DWORD attributes, DWORD tag) {
  if (attributes & FILE_ATTRIBUTE_REPARSE_POINT && IsReparseTagNameSurrogate(tag)) return FileType::symlink;
  if (attributes & FILE_ATTRIBUTE_DIRECTORY) return FileType::directory;
  return attributes & FILE_ATTRIBUTE_DEVICE ? FileType::other : FileType::regular;
}
inline FileType type_of(HANDLE file, DWORD attributes) {
  FILE_ATTRIBUTE_TAG_INFO tagged{};
  if (attributes & FILE_ATTRIBUTE_REPARSE_POINT)
    ::GetFileInformationByHandleEx(file, FileAttributeTagInfo, &tagged, sizeof tagged);
  return type_of(attributes, tagged.ReparseTag);
}

// Of a handle with DELETE and the rights to read and write attributes. Also what is read-only: on Linux what counts is
// the folder. The name is free at once, also where somebody else has the file open (Windows 10 1709 and later, NTFS);
// else with the last handle. false: GetLastError() says why not.
inline bool remove_open_file(HANDLE file) {
  // Of FILE_DISPOSITION_INFO_EX, one DWORD; not in mingw-w64 10 for Windows 10's first version.
  constexpr auto kDispositionInfoEx = static_cast<FILE_INFO_BY_HANDLE_CLASS>(21);
  constexpr DWORD kDelete = 1, kPosix = 2;
  FILE_BASIC_INFO basic{};
  if (::GetFileInformationByHandleEx(file, FileBasicInfo, &basic, sizeof basic) &&
      basic.FileAttributes & FILE_ATTRIBUTE_READONLY) {
    basic = {};
    basic.FileAttributes = FILE_ATTRIBUTE_NORMAL;
    ::SetFileInformationByHandle(file, FileBasicInfo, &basic, sizeof basic);
  }
  DWORD flags = kDelete | kPosix;
  if (::SetFileInformationByHandle(file, kDispositionInfoEx, &flags, sizeof flags)) return true;
  FILE_DISPOSITION_INFO at_last{TRUE};
  return ::SetFileInformationByHandle(file, FileDispositionInfo, &at_last, sizeof at_last) != 0;
}

}  // namespace tillsync
