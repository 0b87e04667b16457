// The documents of epochs and starts (docs/formats.md, "Epochs and starts"), signed where the terminal is sealed.
#pragma once

#include <optional>
#include <string>

#include "agent/daemon/services.h"
#include "base/json.h"

namespace tillsync {

constexpr std::string_view kStartDocument = "tillsync start", kEpochDocument = "tillsync epoch";

std::string encode_document(const Services& services, Json document, std::string_view what);
// nullopt: it is none, or, of a sealed terminal, nobody who has its keys signed it.
Result<std::optional<Json>> read_document(const Services& services, ObjectStore& store, const std::string& key,
                                          std::string_view what);

}  // namespace tillsync
