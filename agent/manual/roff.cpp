#include "agent/manual/roff.h"

#include <cstdint>
#include <cstdio>

namespace tillsync {

namespace {

// One character from the front of `text`, which is not empty. What is no UTF-8 counts byte by byte.
uint32_t take_character(std::string_view& text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t length = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (length == 1 || text.size() < length) {
    text.remove_prefix(1);
    return first;
  }
  uint32_t character = first & (0x7Fu >> length);
  for (size_t at = 1; at < length; ++at) character = character << 6 | (static_cast<unsigned char>(text[at]) & 0x3Fu);
  text.remove_prefix(length);
  return character;
}

std::string escaped(uint32_t character) {
  switch (character) {
    case '\\': return "\\e";
    case '-': return "\\-";
    case '\'': return "\\(aq";
    case '"': return "\\(dq";
    case '^': return "\\(ha";
    case '~': return "\\(ti";
    case 0x2026: return "...";  // not in every terminal's fonts
    default: break;
  }
  if (character < 0x80) return std::string(1, static_cast<char>(character));
  char name[16];
  std::snprintf(name, sizeof name, "\\[u%04X]", character);
  return name;
}

}  // namespace

std::string roff(std::string_view text) {
  std::string out;
  bool is_bold = false, line_begins = true;
  while (!text.empty()) {
    const uint32_t character = take_character(text);
    if (line_begins && character == '.') out += "\\&";
    if (character == '`') {
      is_bold = !is_bold;
      out += is_bold ? "\\fB" : "\\fR";
    } else {
      out += escaped(character);
    }
    line_begins = character == '\n';
  }
  return out;
}

}  // namespace tillsync
