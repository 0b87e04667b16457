#include "agent/cli/text.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace tillsync {

namespace {

size_t width_of(std::string_view text) {  // code points: good enough for what till data holds
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string toned(const Style& style, Tone tone, std::string_view text) {
  if (!style.colour || tone == Tone::plain || text.empty()) return std::string(text);
  const char* code = "0";
  switch (tone) {
    case Tone::good: code = "32"; break;
    case Tone::warning: code = "33"; break;
    case Tone::bad: code = "31"; break;
    case Tone::faint: code = "2"; break;
    case Tone::strong: code = "1"; break;
    case Tone::plain: break;
  }
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

std::string human_size(uint64_t bytes) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string human_duration(Milliseconds duration) {
  const int64_t ms = std::max<int64_t>(0, duration.count());
  const int64_t s = ms / 1000, m = s / 60, h = m / 60, d = h / 24;
  const auto two = [](int64_t big, const char* big_unit, int64_t small, const char* small_unit) {
    std::string out = std::to_string(big) + " " + big_unit;
    if (small > 0) out += " " + std::to_string(small) + " " + small_unit;
    return out;
  };
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (s < 60) return std::to_string(s) + " s";
  if (m < 60) return two(m, "min", s % 60, "s");
  if (h < 24) return two(h, "h", m % 60, "min");
  return two(d, "d", h % 24, "h");
}

std::string human_count(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string human_age(const Json& rfc3339, const Style& style) {
  if (!rfc3339.is_string()) return "never";
  const auto& text = rfc3339.get_ref<const std::string&>();
  const auto time = parse_rfc3339(text);
  if (!time) return printable(text);
  const Milliseconds age = style.now - *time;
  if (age < Milliseconds(0)) return "in " + human_duration(-age);
  if (age < std::chrono::seconds(1)) return "just now";
  return human_duration(age) + " ago";
}

std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // C0, DEL, and C1 as UTF-8 writes it (c2 80 … c2 9f).
    const bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c >= 0x20 && c != 0x7f && !c1) {
      out += text[i];
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x",
                  static_cast<unsigned>(c1 ? static_cast<unsigned char>(text[++i]) : c));
    out += escaped;
  }
  return out;
}

const Json& member(const Json& document, const char* key) {
  static const Json kNull;
  if (!document.is_object()) return kNull;
  const auto found = document.find(key);
  return found == document.end() ? kNull : *found;
}

std::string text_in(const Json& document, const char* key, std::string_view otherwise) {
  const Json& value = member(document, key);
  if (value.is_null()) return std::string(otherwise);
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

uint64_t count_in(const Json& document, const char* key) {
  const Json& value = member(document, key);
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (value.is_number()) return static_cast<uint64_t>(std::max(0.0, value.get<double>()));
  return 0;
}

bool flag_in(const Json& document, const char* key) {
  const Json& value = member(document, key);
  return value.is_boolean() && value.get<bool>();
}

TextTable::TextTable(std::vector<Cell> header) {
  if (header.empty()) return;
  for (auto& cell : header) cell.tone = Tone::faint;
  rows_.push_back(std::move(header));
}

std::string TextTable::str(const Style& style, std::string_view indent) const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i].text));
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line(indent);
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width_of(row[i].text), ' ');
      const std::string text = toned(style, row[i].tone, row[i].text);
      const bool last = i + 1 == row.size();
      line += row[i].right ? padding + text : text + (last ? "" : padding);
      if (!last) line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace tillsync
