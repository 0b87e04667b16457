// Looking into a Result in a test: a failed one ends the case with its words.
#pragma once

#include <doctest/doctest.h>

#include <ostream>

#include "base/result.h"

namespace tillsync {
// So that doctest prints a kind by name.
inline std::ostream& operator<<(std::ostream& out, ErrorKind kind) { return out << to_string(kind); }
}  // namespace tillsync

namespace tillsync::test {

template <class T>
T must(Result<T> result) {
  if (!result) FAIL("expected success, got ", to_string(result.error().kind), ": ", result.error().context);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// The error of what must fail.
template <class T>
Error refused(Result<T> result) {
  if (result) FAIL("expected an error");
  return std::move(result).error();
}

template <class T>
ErrorKind kind_of(Result<T> result) {
  return refused(std::move(result)).kind;
}

inline bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace tillsync::test
