// Result and Error: errors are values.
//
// Purpose: every fallible call returns Result<T>, with the member names of std::expected. An ErrorKind exists because
// some caller acts differently on it; the adapter that sees the raw code (SQLITE_*, errno, HTTP) chooses it, once, and
// layers above add a verb with with(). Exceptions are left for bugs and bad_alloc.
// Effect: TILLSYNC_TRY(expr) and TILLSYNC_LET(decl, expr) return the error of a failed expression to the caller.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace tillsync {

enum class ErrorKind {
  transient,  // try again soon: busy, interrupted
  offline,    // the other side can't be reached: try again with back-off
  throttled,  // the other side asks for patience
  denied,     // permission: a person must change something
  not_found,
  conflict,  // something else is there already, or a precondition does not hold
  corrupt,   // bytes do not match their proof, or do not parse
  schema,    // the application's schema does not allow it
  no_space,
  cancelled,
  timeout,
  usage,     // the request or the configuration is wrong
  internal,  // a bug of ours, or an error nobody planned for
};

// The five classes a person sees (requirements, Error Classification).
enum class ErrorClass { validation, schema, storage, network, timeout };

ErrorClass error_class(ErrorKind kind);
std::string_view to_string(ErrorKind kind);  // "not_found"
std::string_view to_string(ErrorClass c);    // "VALIDATION_ERROR"
std::optional<ErrorKind> error_kind_from(std::string_view text);

struct Error {
  ErrorKind kind = ErrorKind::internal;
  int code = 0;         // errno, SQLITE_*, HTTP status; 0 when there is none
  std::string context;  // what failed and what to do, in words, without a final full stop
  // throttled: the other side asks not to come back before; 0: it did not say.
  std::chrono::milliseconds retry_after{0};
  // For programs, where the kind alone does not say which problem to show: "clock", "certificate", "credentials",
  // "permission", "bucket", "region"; "" else. Static.
  const char* cause = "";

  // Puts what was being done in front: with("open state.db") → "open state.db: permission denied".
  Error with(std::string_view doing) && {
    context.insert(0, std::string(doing) + ": ");
    return std::move(*this);
  }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  template <class U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::decay_t<U>, Error> &&
           !std::is_same_v<std::decay_t<U>, T> && !std::is_same_v<std::decay_t<U>, Result>) Result(U&& value)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }
  T value_or(T other) && { return has_value() ? std::move(*this).value() : std::move(other); }
  Result with(std::string_view doing) && {
    if (has_value()) return std::move(*this);
    return std::move(*this).error().with(doing);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool has_value() const { return !error_; }
  explicit operator bool() const { return has_value(); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }
  Result with(std::string_view doing) && {
    if (has_value()) return {};
    return std::move(*error_).with(doing);
  }

 private:
  std::optional<Error> error_;
};

#define TILLSYNC_CAT_(a, b) a##b
#define TILLSYNC_CAT(a, b) TILLSYNC_CAT_(a, b)
#define TILLSYNC_TRY(expression)                                       \
  do {                                                                 \
    auto tillsync_result_ = (expression);                              \
    if (!tillsync_result_) return std::move(tillsync_result_).error(); \
  } while (0)
#define TILLSYNC_LET(declaration, expression)                                                                        \
  auto TILLSYNC_CAT(tillsync_result_, __LINE__) = (expression);                                                      \
  if (!TILLSYNC_CAT(tillsync_result_, __LINE__)) return std::move(TILLSYNC_CAT(tillsync_result_, __LINE__)).error(); \
  declaration = std::move(*TILLSYNC_CAT(tillsync_result_, __LINE__))

}  // namespace tillsync
