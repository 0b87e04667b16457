// The worked examples of docs/formats.md, taken from the document itself. Needs TILLSYNC_SOURCE_DIR.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/bytes.h"
#include "ports/random.h"

namespace tillsync::test {

// 00 01 02 …, as the examples are made with.
struct CountingRandom : Random {
  void fill(MutableBytes out) override {
    for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<uint8_t>(i);
  }
};

// The lines of the block "```<name>", joined.
inline std::string example_block(const std::string& name) {
  std::ifstream in(TILLSYNC_SOURCE_DIR "/docs/formats.md");
  std::string line, text;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line == "```" + name) {
      inside = true;
    } else if (line.starts_with("```")) {
      inside = false;
    } else if (inside) {
      text += line;
    }
  }
  REQUIRE(!text.empty());
  return text;
}

// The hex block "```hex <name>".
inline Bytes example(const std::string& name) {
  std::string hex = example_block("hex " + name);
  std::erase(hex, ' ');
  Bytes out;
  REQUIRE(from_hex(hex, out));
  return out;
}

// The text block "```text <name>", on one line.
inline std::string example_text(const std::string& name) { return example_block("text " + name); }

// As the document shows bytes.
inline std::string shown(ByteView bytes) {
  std::string out = "\n";
  for (size_t i = 0; i < bytes.size(); i += 32)
    out += to_hex(bytes.subspan(i, std::min<size_t>(32, bytes.size() - i))) + "\n";
  return out;
}

}  // namespace tillsync::test
