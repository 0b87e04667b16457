// JSON documents of ours. Fields keep the order in which they were written, so that people read them in the order of
// the contract.
#pragma once

#include <nlohmann/json.hpp>

#include <string_view>
#include <vector>

// Compiled once, in json.cpp: every file that uses one would make its own of it, a fifth of what it takes to compile.
extern template class nlohmann::basic_json<nlohmann::ordered_map>;
extern template class std::vector<nlohmann::ordered_json>;

namespace tillsync {

using Json = nlohmann::ordered_json;

// Copies and writers of Json recurse, and an object looks each new member up among all it has: both are bounded before
// anything is built.
inline constexpr size_t kJsonNestingMax = 64;
inline constexpr size_t kJsonMembersMax = 10000;  // of one object; arrays have no bound

// For what others may have written. Discarded (it is of no type) when it is no JSON or beyond these bounds.
Json parse_json(std::string_view text);

}  // namespace tillsync
