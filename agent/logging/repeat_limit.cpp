#include "agent/logging/repeat_limit.h"

namespace tillsync {

namespace {
bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-'; }

// Numbers, times and ids become one sign.
std::string shape_of(int level, std::string_view message) {
  std::string shape = std::to_string(level) + ":";
  for (size_t i = 0; i < message.size();) {
    size_t end = i;
    bool digit = false;
    for (; end < message.size() && is_hex(message[end]); end++) digit |= message[end] >= '0' && message[end] <= '9';
    if (digit)
      shape += '#';
    else
      shape.append(message.substr(i, std::max<size_t>(1, end - i)));
    i = std::max(end, i + 1);
  }
  return shape.substr(0, 512);
}
}  // namespace

bool RepeatLimit::passes(Time at, int level, std::string_view message, std::vector<Left>& over) {
  for (auto it = kinds_.begin(); it != kinds_.end();) {
    // A clock that was set back begins anew.
    if (at - it->second.since < kSpan && at >= it->second.since) {
      ++it;
      continue;
    }
    if (it->second.left.count > 0) over.push_back(std::move(it->second.left));
    it = kinds_.erase(it);
  }
  const std::string shape = shape_of(level, message);
  auto known = kinds_.find(shape);
  if (known == kinds_.end()) {
    if (kinds_.size() >= kKinds) return true;
    known = kinds_.emplace(shape, Kind{at, 0, {}}).first;
  }
  if (++known->second.seen <= kShown) return true;
  Left& left = known->second.left;
  left.message = message;
  left.level = level;
  left.count++;
  return false;
}

std::vector<RepeatLimit::Left> RepeatLimit::rest() {
  std::vector<Left> all;
  for (auto& [shape, kind] : kinds_)
    if (kind.left.count > 0) all.push_back(std::move(kind.left));
  kinds_.clear();
  return all;
}

}  // namespace tillsync
