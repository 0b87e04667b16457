#include "agent/tray/svg_image.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

namespace tillsync {

namespace {

constexpr int kRowsInPixel = 8;  // how finely an edge is seen from above
constexpr int kPiecesInCurve = 16;

struct Point {
  double x = 0, y = 0;
};
using Outline = std::vector<Point>;  // closed
struct Shape {
  std::vector<Outline> outlines;
  Pixel colour;
};

Error not_ours(const std::string& what) { return {ErrorKind::usage, 0, "the drawing has " + what}; }

// ' name="value"' within a tag.
std::optional<std::string_view> attribute(std::string_view tag, std::string_view name) {
  const std::string key = " " + std::string(name) + "=\"";
  const size_t at = tag.find(key);
  if (at == tag.npos) return std::nullopt;
  const size_t begin = at + key.size(), end = tag.find('"', begin);
  if (end == tag.npos) return std::nullopt;
  return tag.substr(begin, end - begin);
}

void skip_blanks(std::string_view& text) {
  const size_t begin = text.find_first_not_of(" ,\n\t");
  text.remove_prefix(begin == text.npos ? text.size() : begin);
}

std::optional<double> take_number(std::string_view& text) {
  skip_blanks(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

Result<double> number_attribute(std::string_view tag, std::string_view name) {
  auto text = attribute(tag, name);
  if (text)
    if (const auto value = take_number(*text); value && text->empty()) return *value;
  return not_ours("no number " + std::string(name));
}

Result<Pixel> colour_of(std::string_view tag) {
  const auto fill = attribute(tag, "fill");
  uint32_t rgb = 0;
  if (!fill || fill->size() != 7 || (*fill)[0] != '#') return not_ours("a fill that is not #rrggbb");
  const auto [end, error] = std::from_chars(fill->data() + 1, fill->data() + 7, rgb, 16);
  if (error != std::errc() || end != fill->data() + 7) return not_ours("a fill that is not #rrggbb");
  double opacity = 1;
  if (attribute(tag, "fill-opacity")) {
    TILLSYNC_LET(opacity, number_attribute(tag, "fill-opacity"));
  }
  return Pixel{static_cast<uint8_t>(std::lround(255 * std::clamp(opacity, 0.0, 1.0))), static_cast<uint8_t>(rgb >> 16),
               static_cast<uint8_t>(rgb >> 8), static_cast<uint8_t>(rgb)};
}

void add_curve(Outline& outline, Point one, Point two, Point end) {
  const Point begin = outline.back();
  for (int i = 1; i <= kPiecesInCurve; ++i) {
    const double t = static_cast<double>(i) / kPiecesInCurve, u = 1 - t;
    const double a = u * u * u, b = 3 * u * u * t, c = 3 * u * t * t, d = t * t * t;
    outline.push_back(
        {a * begin.x + b * one.x + c * two.x + d * end.x, a * begin.y + b * one.y + c * two.y + d * end.y});
  }
}

Result<std::vector<Outline>> outlines_of(std::string_view path) {
  std::vector<Outline> outlines;
  char command = 0;
  for (skip_blanks(path); !path.empty(); skip_blanks(path)) {
    if (std::string_view("MLHVCZ").find(path[0]) != std::string_view::npos) {
      command = path[0];
      path.remove_prefix(1);
      if (command == 'Z') continue;
    }
    double v[6] = {};
    const int count = command == 'C' ? 6 : command == 'H' || command == 'V' ? 1 : 2;
    for (int i = 0; i < count; ++i) {
      const auto value = take_number(path);
      if (!value || command == 0 || command == 'Z') return not_ours("a path that is not of M L H V C Z");
      v[i] = *value;
    }
    if (command == 'M') {
      outlines.push_back({{v[0], v[1]}});
      command = 'L';  // as further pairs mean
      continue;
    }
    if (outlines.empty()) return not_ours("a path that does not begin with M");
    Outline& outline = outlines.back();
    switch (command) {
      case 'L': outline.push_back({v[0], v[1]}); break;
      case 'H': outline.push_back({v[0], outline.back().y}); break;
      case 'V': outline.push_back({outline.back().x, v[0]}); break;
      default: add_curve(outline, {v[0], v[1]}, {v[2], v[3]}, {v[4], v[5]});
    }
  }
  if (outlines.empty()) return not_ours("a path without d");
  return outlines;
}

Result<Shape> shape_of(std::string_view tag) {
  Shape shape;
  TILLSYNC_LET(shape.colour, colour_of(tag));
  if (tag.starts_with("path ")) {
    TILLSYNC_LET(shape.outlines, outlines_of(attribute(tag, "d").value_or("")));
    return shape;
  }
  TILLSYNC_LET(const double x, number_attribute(tag, "x"));
  TILLSYNC_LET(const double y, number_attribute(tag, "y"));
  TILLSYNC_LET(const double width, number_attribute(tag, "width"));
  TILLSYNC_LET(const double height, number_attribute(tag, "height"));
  shape.outlines = {{{x, y}, {x + width, y}, {x + width, y + height}, {x, y + height}}};
  return shape;
}

// Adds to `coverage`, for each pixel of the row, how much of it lies between two places on a line through it.
void cover(std::vector<double>& coverage, double from, double to) {
  from = std::clamp(from, 0.0, static_cast<double>(coverage.size()));
  to = std::clamp(to, 0.0, static_cast<double>(coverage.size()));
  for (auto x = static_cast<size_t>(from); x < coverage.size() && static_cast<double>(x) < to; ++x) {
    const double left = std::max(from, static_cast<double>(x)), right = std::min(to, static_cast<double>(x + 1));
    coverage[x] += (right - left) / kRowsInPixel;
  }
}

void cover_row(const Shape& shape, double y, double scale, std::vector<double>& coverage) {
  struct Crossing {
    double x;
    int winding;
  };
  std::vector<Crossing> crossings;
  for (const Outline& outline : shape.outlines) {
    for (size_t i = 0; i < outline.size(); ++i) {
      const Point a = outline[i], b = outline[(i + 1) % outline.size()];
      if ((a.y <= y) == (b.y <= y)) continue;
      crossings.push_back({(a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x)) * scale, a.y < b.y ? 1 : -1});
    }
  }
  std::sort(crossings.begin(), crossings.end(), [](const Crossing& a, const Crossing& b) { return a.x < b.x; });
  int winding = 0;
  for (size_t i = 0; i + 1 < crossings.size(); ++i) {
    winding += crossings[i].winding;
    if (winding != 0) cover(coverage, crossings[i].x, crossings[i + 1].x);
  }
}

void paint_over(Pixel& below, const Pixel& colour, double coverage) {
  const double a = std::min(1.0, coverage) * colour.alpha / 255, b = below.alpha / 255.0 * (1 - a), all = a + b;
  if (all <= 0) return;
  const auto mix = [&](uint8_t over, uint8_t under) {
    return static_cast<uint8_t>(std::lround((over * a + under * b) / all));
  };
  below = {static_cast<uint8_t>(std::lround(255 * all)), mix(colour.red, below.red), mix(colour.green, below.green),
           mix(colour.blue, below.blue)};
}

void paint(SquareImage& image, const Shape& shape, double scale) {
  for (int row = 0; row < image.size; ++row) {
    std::vector<double> coverage(static_cast<size_t>(image.size));
    for (int i = 0; i < kRowsInPixel; ++i) cover_row(shape, (row + (i + 0.5) / kRowsInPixel) / scale, scale, coverage);
    for (int column = 0; column < image.size; ++column)
      paint_over(image.pixels[static_cast<size_t>(row * image.size + column)], shape.colour,
                 coverage[static_cast<size_t>(column)]);
  }
}

}  // namespace

Result<SquareImage> draw_svg(std::string_view svg, int size) {
  SquareImage image{size, std::vector<Pixel>(static_cast<size_t>(size) * static_cast<size_t>(size))};
  double side = 0;
  for (size_t at = svg.find('<'); at != svg.npos; at = svg.find('<', at + 1)) {
    const size_t end = svg.find('>', at);
    if (end == svg.npos) return not_ours("a tag without an end");
    const std::string_view tag = svg.substr(at + 1, end - at - 1);
    if (tag == "/svg") return image;
    if (tag.starts_with("svg ")) {
      auto box = attribute(tag, "viewBox").value_or("");
      const auto x = take_number(box), y = take_number(box), width = take_number(box), height = take_number(box);
      if (!height || x != 0.0 || y != 0.0 || width != height || *width <= 0)
        return not_ours("no square viewBox from 0 0");
      side = *width;
    } else if (side > 0 && (tag.starts_with("path ") || tag.starts_with("rect "))) {
      TILLSYNC_LET(const Shape shape, shape_of(tag));
      paint(image, shape, size / side);
    } else {
      return not_ours("the tag <" + std::string(tag) + ">, which is not drawn here");
    }
  }
  return not_ours("no end");
}

}  // namespace tillsync
