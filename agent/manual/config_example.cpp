#include "agent/manual/config_example.h"

#include <algorithm>
#include <utility>

namespace tillsync {

namespace {

// "#key" and not "# words": what could be in effect and is not.
bool is_switched_off(std::string_view line) { return line.size() > 1 && line[0] == '#' && line[1] != ' '; }

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

class ExampleReader {
 public:
  Result<std::vector<ConfigSection>> read(std::string_view text) {
    while (!text.empty()) {
      ++line_number_;
      TILLSYNC_TRY(add(take_line(text)));
    }
    return std::move(sections_);
  }

 private:
  Result<void> add(std::string_view line) {
    if (line.empty()) {
      comment_.clear();  // what stands alone is about the file
      return {};
    }
    if (line == "#" || line.starts_with("# ")) {
      comment_ += (comment_.empty() ? "" : "\n") + std::string(line.substr(std::min<size_t>(2, line.size())));
      return {};
    }
    const bool is_needed = !is_switched_off(line);
    if (!is_needed) line.remove_prefix(1);
    return line.starts_with('[') ? add_section(line) : add_key(line, is_needed);
  }

  Result<void> add_section(std::string_view line) {
    const bool is_list = line.starts_with("[[");
    const size_t brackets = is_list ? 2 : 1;
    if (line.size() <= 2 * brackets) return refuse("a section without name");
    const auto name = line.substr(brackets, line.size() - 2 * brackets);
    sections_.push_back({std::string(name), std::exchange(comment_, {}), is_list, {}});
    return {};
  }

  Result<void> add_key(std::string_view line, bool is_needed) {
    const size_t equals = line.find(" = ");
    if (equals == line.npos) return refuse("neither a comment, a section nor a key");
    if (sections_.empty()) return refuse("a key outside of the sections");
    if (comment_.empty()) return refuse("a key that nothing is said of");
    sections_.back().keys.push_back({std::string(line.substr(0, equals)), std::string(line.substr(equals + 3)),
                                     std::exchange(comment_, {}), is_needed});
    return {};
  }

  Error refuse(std::string_view what) const {
    return Error{ErrorKind::usage, 0, "line " + std::to_string(line_number_) + ": " + std::string(what)};
  }

  std::vector<ConfigSection> sections_;
  std::string comment_;
  int line_number_ = 0;
};

}  // namespace

Result<std::vector<ConfigSection>> read_config_example(std::string_view text) { return ExampleReader().read(text); }

std::string with_every_key(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (is_switched_off(line)) line.remove_prefix(1);
    out.append(line).append("\n");
  }
  return out;
}

}  // namespace tillsync
