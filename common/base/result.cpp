#include "base/result.h"

#include <array>

namespace tillsync {

namespace {
constexpr std::array<std::pair<ErrorKind, std::string_view>, 13> kNames{{
    {ErrorKind::transient, "transient"},
    {ErrorKind::offline, "offline"},
    {ErrorKind::throttled, "throttled"},
    {ErrorKind::denied, "denied"},
    {ErrorKind::not_found, "not_found"},
    {ErrorKind::conflict, "conflict"},
    {ErrorKind::corrupt, "corrupt"},
    {ErrorKind::schema, "schema"},
    {ErrorKind::no_space, "no_space"},
    {ErrorKind::cancelled, "cancelled"},
    {ErrorKind::timeout, "timeout"},
    {ErrorKind::usage, "usage"},
    {ErrorKind::internal, "internal"},
}};
}  // namespace

ErrorClass error_class(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::offline:
    case ErrorKind::throttled: return ErrorClass::network;
    case ErrorKind::timeout: return ErrorClass::timeout;
    case ErrorKind::schema: return ErrorClass::schema;
    case ErrorKind::transient:
    case ErrorKind::denied:
    case ErrorKind::not_found:
    case ErrorKind::no_space:
    case ErrorKind::internal: return ErrorClass::storage;
    case ErrorKind::conflict:
    case ErrorKind::corrupt:
    case ErrorKind::cancelled:
    case ErrorKind::usage: return ErrorClass::validation;
  }
  return ErrorClass::storage;
}

std::string_view to_string(ErrorKind kind) {
  for (auto& [k, name] : kNames)
    if (k == kind) return name;
  return "internal";
}

std::optional<ErrorKind> error_kind_from(std::string_view text) {
  for (auto& [k, name] : kNames)
    if (name == text) return k;
  return std::nullopt;
}

std::string_view to_string(ErrorClass c) {
  switch (c) {
    case ErrorClass::validation: return "VALIDATION_ERROR";
    case ErrorClass::schema: return "SCHEMA_ERROR";
    case ErrorClass::storage: return "STORAGE_ERROR";
    case ErrorClass::network: return "NETWORK_ERROR";
    case ErrorClass::timeout: return "TIMEOUT_ERROR";
  }
  return "STORAGE_ERROR";
}

}  // namespace tillsync
