// Text for people: sizes, ages, aligned tables, colours.
//
// Threads: values; no state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/control/message.h"
#include "base/types.h"

namespace tillsync {

// How a rendering looks; tests give a fixed one.
struct Style {
  bool colour = false;
  Timestamp now{};
};

enum class Tone { plain, good, warning, bad, faint, strong };

std::string toned(const Style& style, Tone tone, std::string_view text);

std::string human_size(uint64_t bytes);             // "1.5 MiB"
std::string human_duration(Milliseconds duration);  // "850 ms", "12 s", "3 min 5 s", "2 h 10 min", "4 d 3 h"
std::string human_count(uint64_t number);           // "12,345"
// "3 min ago"; "never" for null; the text itself when it is no time.
std::string human_age(const Json& rfc3339, const Style& style);
// Control characters become visible, so that data can't drive the terminal.
std::string printable(std::string_view text);

// Fields of a document that may be absent or null.
std::string text_in(const Json& document, const char* key, std::string_view otherwise = "");
uint64_t count_in(const Json& document, const char* key);
bool flag_in(const Json& document, const char* key);
const Json& member(const Json& document, const char* key);  // null when absent

struct Cell {
  std::string text;
  Tone tone = Tone::plain;
  bool right = false;
};
inline Cell right(std::string text) { return Cell{std::move(text), Tone::plain, true}; }

// Columns as wide as their widest cell, two blanks between them.
class TextTable {
 public:
  explicit TextTable(std::vector<Cell> header = {});
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  std::string str(const Style& style, std::string_view indent = "") const;

 private:
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace tillsync
