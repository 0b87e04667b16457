// Text for the `man` macros of groff and mandoc.
//
// Threads: functions without state.
#pragma once

#include <string>
#include <string_view>

namespace tillsync {

// Plain UTF-8 text as it is to be seen: nothing in it is a request or an escape, a hyphen is the one to be typed.
// `code` between backquotes is bold.
std::string roff(std::string_view text);

}  // namespace tillsync
