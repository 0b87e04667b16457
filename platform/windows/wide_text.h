// Our UTF-8 and '/', and Windows' UTF-16 and '\'. Threads: any.
#pragma once

#include <string>
#include <string_view>

namespace tillsync {

// What is no UTF-8 becomes U+FFFD.
std::wstring to_wide(std::string_view utf8);
// A surrogate that stands alone, which a name of a file may have, becomes U+FFFD.
std::string to_utf8(std::wstring_view wide);
// As Windows' calls take it at any length, "\\?\C:\folder\file": such a path is absolute, and nothing in it is
// interpreted. "C:/folder/file" and "//server/share/file" become one; what begins otherwise is only translated.
std::wstring native_path(std::string_view path);

}  // namespace tillsync
