#include "base/json.h"

#include <array>

template class nlohmann::basic_json<nlohmann::ordered_map>;
template class std::vector<nlohmann::ordered_json>;

namespace tillsync {

namespace {

// Before anything is built: brackets and commas outside of text are enough. What is no JSON is the parser's to refuse.
bool is_within_bounds(std::string_view text) {
  struct Open {
    bool is_object;
    size_t commas;
  };
  std::array<Open, kJsonNestingMax> open;
  size_t depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      if (depth == open.size()) return false;
      open[depth++] = {c == '{', 0};
    } else if (c == '}' || c == ']') {
      if (depth > 0) depth--;
    } else if (c == ',' && depth > 0 && ++open[depth - 1].commas >= kJsonMembersMax && open[depth - 1].is_object) {
      return false;
    }
  }
  return true;
}

}  // namespace

Json parse_json(std::string_view text) {
  if (!is_within_bounds(text)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, false);
}

}  // namespace tillsync
