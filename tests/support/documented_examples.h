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

// The hex block "```hex <name>".
inline Bytes example(const std::string& name) {
  std::ifstream in(TILLSYNC_SOURCE_DIR "/docs/formats.md");
  std::string line, hex;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line == "```hex " + name) {
      inside = true;
    } else if (line.starts_with("```")) {
      inside = false;
    } else if (inside) {
      std::erase(line, ' ');
      hex += line;
    }
  }
  Bytes out;
  REQUIRE(from_hex(hex, out));
  REQUIRE(!out.empty());
  return out;
}

// As the document shows bytes.
inline std::string shown(ByteView bytes) {
  std::string out = "\n";
  for (size_t i = 0; i < bytes.size(); i += 32)
    out += to_hex(bytes.subspan(i, std::min<size_t>(32, bytes.size() - i))) + "\n";
  return out;
}

}  // namespace tillsync::test
