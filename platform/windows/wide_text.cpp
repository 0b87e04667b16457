#include "platform/windows/wide_text.h"

#include <windows.h>

#include <algorithm>

namespace tillsync {

std::wstring to_wide(std::string_view utf8) {
  if (utf8.empty()) return {};
  const int given = static_cast<int>(utf8.size());
  std::wstring wide(static_cast<size_t>(::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), given, nullptr, 0)), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), given, wide.data(), static_cast<int>(wide.size()));
  return wide;
}

std::string to_utf8(std::wstring_view wide) {
  if (wide.empty()) return {};
  const int given = static_cast<int>(wide.size());
  const int needed = ::WideCharToMultiByte(CP_UTF8, 0, wide.data(), given, nullptr, 0, nullptr, nullptr);
  std::string utf8(static_cast<size_t>(needed), '\0');
  ::WideCharToMultiByte(CP_UTF8, 0, wide.data(), given, utf8.data(), needed, nullptr, nullptr);
  return utf8;
}

std::wstring native_path(std::string_view path) {
  std::wstring wide = to_wide(path);
  std::replace(wide.begin(), wide.end(), L'/', L'\\');
  if (wide.starts_with(L"\\\\?\\") || wide.starts_with(L"\\\\.\\")) return wide;
  const bool has_drive = wide.size() >= 3 && wide[1] == L':' && wide[2] == L'\\';
  if (!has_drive && !wide.starts_with(L"\\\\")) return wide;
  // Here a '\' too many would be part of a name.
  const auto doubled = [](wchar_t a, wchar_t b) { return a == L'\\' && b == L'\\'; };
  wide.erase(std::unique(wide.begin() + (has_drive ? 0 : 2), wide.end(), doubled), wide.end());
  if (wide.back() == L'\\' && wide.size() > 3) wide.pop_back();
  return has_drive ? L"\\\\?\\" + wide : L"\\\\?\\UNC" + wide.substr(1);
}

}  // namespace tillsync
