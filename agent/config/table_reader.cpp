#include "agent/config/table_reader.h"

#include "agent/config/values.h"

namespace tillsync {

namespace {

std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "text";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number with a fraction";
    case toml::node_type::boolean: return "a boolean";
    default: return "a date or time";
  }
}

std::string readable(Milliseconds duration) {
  const auto ms = duration.count();
  if (ms % 86'400'000 == 0) return std::to_string(ms / 86'400'000) + "d";
  if (ms % 3'600'000 == 0) return std::to_string(ms / 3'600'000) + "h";
  if (ms % 60'000 == 0) return std::to_string(ms / 60'000) + "m";
  if (ms % 1000 == 0) return std::to_string(ms / 1000) + "s";
  return std::to_string(ms) + "ms";
}

std::string readable(uint64_t bytes) {
  if (bytes >= (1u << 30) && bytes % (1u << 30) == 0) return std::to_string(bytes >> 30) + "GiB";
  if (bytes >= (1u << 20) && bytes % (1u << 20) == 0) return std::to_string(bytes >> 20) + "MiB";
  return std::to_string(bytes) + "B";
}

}  // namespace

void ConfigErrors::add(const toml::source_region& where, std::string_view key, std::string_view what) {
  if (first_) return;
  first_ = Error{ErrorKind::usage, 0,
                 file_ + ":" + std::to_string(where.begin.line) + ": " + std::string(key) + ": " + std::string(what)};
}

TableReader::TableReader(ConfigErrors& errors, const toml::table& table, std::string name)
    : errors_(errors), table_(table), name_(std::move(name)) {}

const toml::node* TableReader::find(std::string_view key) {
  known_.emplace(key);
  return errors_.any() ? nullptr : table_.get(key);
}

void TableReader::refuse(std::string_view key, std::string_view what) {
  const toml::node* node = table_.get(key);
  errors_.add(node != nullptr ? node->source() : table_.source(), name_ + "." + std::string(key), what);
}

void TableReader::require(std::string_view key) {
  known_.emplace(key);
  if (table_.get(key) == nullptr) refuse(key, "is needed in each [" + name_ + "] and is missing");
}

std::optional<std::string> TableReader::text_of(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* text = node->as_string()) return text->get();
  refuse(key, "expected text in quotes, found " + type_name(*node));
  return std::nullopt;
}

void TableReader::text(std::string_view key, std::string& out) {
  if (auto text = text_of(key)) out = std::move(*text);
}

void TableReader::text(std::string_view key, std::string& out, const std::function<bool(std::string_view)>& is_good,
                       std::string_view expected) {
  auto text = text_of(key);
  if (!text) return;
  if (is_good(*text))
    out = std::move(*text);
  else
    refuse(key, "expected " + std::string(expected) + ", found \"" + *text + "\"");
}

void TableReader::absolute_path(std::string_view key, std::string& out) {
  const bool may_be_empty = out.empty();  // what has no default can be said to be absent
  text(
      key, out,
      [&](std::string_view path) {
        return (path.starts_with('/') && path.find('\0') == path.npos) || (path.empty() && may_be_empty);
      },
      "an absolute path");
}

void TableReader::required_path(std::string_view key, std::string& out) {
  require(key);
  out = "/";
  absolute_path(key, out);
}

void TableReader::boolean(std::string_view key, bool& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  if (const auto* value = node->as_boolean())
    out = value->get();
  else
    refuse(key, "expected true or false, found " + type_name(*node));
}

void TableReader::integer(std::string_view key, int& out, int low, int high) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  const auto* value = node->as_integer();
  if (value != nullptr && value->get() >= low && value->get() <= high) {
    out = static_cast<int>(value->get());
    return;
  }
  const std::string found = value != nullptr ? std::to_string(value->get()) : type_name(*node);
  refuse(key, "expected an integer from " + std::to_string(low) + " to " + std::to_string(high) + ", found " + found);
}

void TableReader::duration(std::string_view key, Milliseconds& out, Milliseconds low, Milliseconds high) {
  Milliseconds value = out;
  parsed<Milliseconds>(key, value, parse_duration);
  if (errors_.any()) return;
  if (value < low || value > high)
    return refuse(key,
                  "expected a duration from " + readable(low) + " to " + readable(high) + ", found " + readable(value));
  out = value;
}

void TableReader::size(std::string_view key, uint64_t& out, uint64_t low, uint64_t high) {
  uint64_t value = out;
  parsed<uint64_t>(key, value, parse_size);
  if (errors_.any()) return;
  if (value < low || value > high)
    return refuse(key,
                  "expected a size from " + readable(low) + " to " + readable(high) + ", found " + readable(value));
  out = value;
}

void TableReader::texts(std::string_view key, std::vector<std::string>& out, bool one_is_fine) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  if (one_is_fine && node->is_string()) {
    out = {node->as_string()->get()};
    return;
  }
  const auto* list = node->as_array();
  if (list == nullptr) return refuse(key, "expected a list of texts, found " + type_name(*node));
  std::vector<std::string> all;
  for (const auto& element : *list) {
    if (!element.is_string()) return refuse(key, "expected a list of texts, found " + type_name(element) + " in it");
    all.push_back(element.as_string()->get());
  }
  out = std::move(all);
}

void TableReader::text_map(std::string_view key, std::map<std::string, std::string>& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  const auto* inner = node->as_table();
  if (inner == nullptr)
    return refuse(key, "expected a table such as { orders = \"cashier_id\" }, found " + type_name(*node));
  for (const auto& [name, value] : *inner) {
    if (!value.is_string())
      return refuse(key, "expected text for " + std::string(name.str()) + ", found " + type_name(value));
    out[std::string(name.str())] = value.as_string()->get();
  }
}

void TableReader::finish() {
  errors_.add_keys(name_, known_);
  if (errors_.any()) return;
  for (const auto& [key, node] : table_) {
    if (known_.contains(key.str())) continue;
    std::string all;
    for (const auto& known : known_) all += (all.empty() ? "" : ", ") + known;
    errors_.add(key.source(), (name_.empty() ? "" : name_ + ".") + std::string(key.str()),
                "unknown key; expected one of " + all);
    return;
  }
}

}  // namespace tillsync
