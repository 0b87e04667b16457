// Which names below an asset's folder belong to it: the `include` of [[assets]].
//
// Purpose: a pattern is a path below the folder, part by part: `*` and `?` stand for characters within a part, `**` as
// a part for any number of parts, none included; every other character for itself, also a dot in front. A folder is
// kept for what is kept in it, or when a pattern matches it itself (that is how an empty one is kept).
// Threads: values; no state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tillsync {

class IncludeRules {
 public:
  explicit IncludeRules(const std::vector<std::string>& patterns);
  // path: parts joined by '/', never empty.
  bool matches(std::string_view path) const;
  // Could anything below this folder match? The empty path is the asset's folder.
  bool may_match_below(std::string_view folder) const;

 private:
  using Parts = std::vector<std::string>;
  std::vector<Parts> patterns_;
};

}  // namespace tillsync
