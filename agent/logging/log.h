// What the agent says to people: log::warn("{}: no room for {} bytes", name, bytes).
//
// Purpose: this header is all that a file needs that has something to say, and is compiled in no time; what formats and
// writes the words is compiled once, in log.cpp. Levels and where messages go: log_output.h. A format that does not fit
// its values is an error of the compiler. Errors: none. Threads: any.
#pragma once

#include <fmt/core.h>

namespace tillsync::log {

enum class Level { debug, info, warn, error, critical, off };

// Messages below it are left out; `off`: all of them.
void set_level(Level level);

// Formats are checked by the functions below.
void say_formatted(Level level, fmt::string_view format, fmt::format_args values);

template <class... Values>
void say(Level level, fmt::format_string<Values...> format, Values&&... values) {
  say_formatted(level, format, fmt::make_format_args(values...));
}
template <class... Values>
void debug(fmt::format_string<Values...> format, Values&&... values) {
  say_formatted(Level::debug, format, fmt::make_format_args(values...));
}
template <class... Values>
void info(fmt::format_string<Values...> format, Values&&... values) {
  say_formatted(Level::info, format, fmt::make_format_args(values...));
}
template <class... Values>
void warn(fmt::format_string<Values...> format, Values&&... values) {
  say_formatted(Level::warn, format, fmt::make_format_args(values...));
}
template <class... Values>
void error(fmt::format_string<Values...> format, Values&&... values) {
  say_formatted(Level::error, format, fmt::make_format_args(values...));
}
template <class... Values>
void critical(fmt::format_string<Values...> format, Values&&... values) {
  say_formatted(Level::critical, format, fmt::make_format_args(values...));
}

}  // namespace tillsync::log
