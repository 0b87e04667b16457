// JSON documents of ours. Fields keep the order in which they were written, so that people read them in the order of
// the contract.
#pragma once

#include <nlohmann/json.hpp>

namespace tillsync {

using Json = nlohmann::ordered_json;

}  // namespace tillsync
