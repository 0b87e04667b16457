// The part of SVG that our icons are drawn in, turned into pixels.
//
// Purpose: a desktop without our icon theme gets pixels made from the same drawing. Filled shapes only: <path> with the
// absolute commands M L H V C Z, and <rect>; attributes fill (#rrggbb), fill-opacity; the non-zero rule.
// Units: pixels; a drawing is a square as its viewBox says. Errors: usage, for anything else, so that a drawing we
// can't show as it is meant does not get in. Threads: values; no state.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tillsync {

struct Pixel {
  uint8_t alpha = 0, red = 0, green = 0, blue = 0;  // not premultiplied
  bool operator==(const Pixel&) const = default;
};

struct SquareImage {
  int size = 0;
  std::vector<Pixel> pixels;  // rows from the top
};

Result<SquareImage> draw_svg(std::string_view svg, int size);

}  // namespace tillsync
