#include "assets/include_rules.h"

#include <algorithm>

namespace tillsync {

namespace {

template <class Text>
std::vector<Text> split(std::string_view path) {
  std::vector<Text> parts;
  while (!path.empty()) {
    const auto slash = path.find('/');
    if (slash != 0) parts.emplace_back(path.substr(0, slash));
    if (slash == path.npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

// Goes back to the last star only, so that no pattern costs more than its length times that of the name.
bool part_matches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = pattern.npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      p++;
      n++;
    } else if (star != pattern.npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') p++;
  return p == pattern.size();
}

// For each number of parts of the pattern: can so many of its first parts stand for all of `path`? Bit by bit along the
// path, so that `**/**/**` is no trap.
std::vector<bool> reached(const std::vector<std::string>& pattern, const std::vector<std::string_view>& path) {
  std::vector<bool> at(pattern.size() + 1, false);
  at[0] = true;
  auto skip_empty = [&](std::vector<bool>& states) {
    for (size_t i = 0; i < pattern.size(); i++)
      if (states[i] && pattern[i] == "**") states[i + 1] = true;
  };
  skip_empty(at);
  for (auto part : path) {
    std::vector<bool> next(at.size(), false);
    for (size_t i = 0; i < pattern.size(); i++) {
      if (!at[i]) continue;
      if (pattern[i] == "**")
        next[i] = true;
      else if (part_matches(pattern[i], part))
        next[i + 1] = true;
    }
    skip_empty(next);
    at = std::move(next);
  }
  return at;
}

}  // namespace

IncludeRules::IncludeRules(const std::vector<std::string>& patterns) {
  for (auto& pattern : patterns) patterns_.push_back(split<std::string>(pattern));
}

bool IncludeRules::matches(std::string_view path) const {
  const auto parts = split<std::string_view>(path);
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](auto& pattern) -> bool { return reached(pattern, parts)[pattern.size()]; });
}

bool IncludeRules::may_match_below(std::string_view folder) const {
  const auto parts = split<std::string_view>(folder);
  return std::any_of(patterns_.begin(), patterns_.end(), [&](auto& pattern) {
    const auto at = reached(pattern, parts);
    // Some part of the pattern is left for what is below.
    return std::any_of(at.begin(), at.end() - 1, [](bool state) { return state; });
  });
}

}  // namespace tillsync
