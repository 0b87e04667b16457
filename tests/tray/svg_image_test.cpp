// Our drawings as pixels, for desktops without our icon theme.
#include "agent/tray/svg_image.h"

#include <doctest/doctest.h>

#include <set>

#include "agent/tray/icon_images.h"

using namespace tillsync;

namespace {

std::string drawing(const std::string& shapes) { return "<svg viewBox=\"0 0 4 4\">" + shapes + "</svg>"; }

SquareImage draw(const std::string& shapes, int size = 4) {
  auto image = draw_svg(drawing(shapes), size);
  REQUIRE(image.has_value());
  return *image;
}

const Pixel& at(const SquareImage& image, int x, int y) {
  return image.pixels[static_cast<size_t>(y * image.size + x)];
}

}  // namespace

TEST_SUITE_BEGIN("tray");

TEST_CASE("tray icons: a rectangle covers its pixels, wholly or in part") {
  const auto image = draw("<rect fill=\"#102030\" x=\"1\" y=\"1\" width=\"1.5\" height=\"2\"/>");
  CHECK(at(image, 1, 1) == Pixel{255, 0x10, 0x20, 0x30});
  CHECK(at(image, 2, 2).alpha == 128);
  CHECK(at(image, 2, 2).red == 0x10);
  CHECK(at(image, 0, 1) == Pixel{});
  CHECK(at(image, 1, 3) == Pixel{});
}

TEST_CASE("tray icons: a path of lines and curves, at any size") {
  const auto line = draw("<path fill=\"#ffffff\" d=\"M0 0 H4 V2 L 0,2 Z\"/>", 8);
  CHECK(at(line, 7, 3).alpha == 255);
  CHECK(at(line, 0, 4).alpha == 0);
  // A circle of four curves: its area to a hundredth.
  const auto circle = draw(
      "<path fill=\"#ffffff\" d=\"M4 2 C4 3.1046 3.1046 4 2 4 C0.8954 4 0 3.1046 0 2 C0 0.8954 0.8954 0 2 0 C3.1046 0 "
      "4 "
      "0.8954 4 2 Z\"/>",
      64);
  double area = 0;
  for (const auto& pixel : circle.pixels) area += pixel.alpha / 255.0;
  CHECK(area / (64 * 64) == doctest::Approx(0.7854).epsilon(0.01));
}

TEST_CASE("tray icons: what lies above covers what lies below, as far as it is opaque") {
  const std::string below = "<rect fill=\"#ff0000\" x=\"0\" y=\"0\" width=\"4\" height=\"4\"/>";
  const auto half =
      draw(below + "<rect fill=\"#0000ff\" fill-opacity=\"0.5\" x=\"0\" y=\"0\" width=\"4\" height=\"4\"/>");
  CHECK(at(half, 2, 2).alpha == 255);
  CHECK(at(half, 2, 2).red == doctest::Approx(127).epsilon(0.02));
  CHECK(at(half, 2, 2).blue == doctest::Approx(128).epsilon(0.02));
}

TEST_CASE("tray icons: what can't be drawn as it is meant is refused") {
  for (const std::string& shapes :
       {std::string("<circle fill=\"#ffffff\" cx=\"1\"/>"), std::string("<path fill=\"red\" d=\"M0 0 L1 1\"/>"),
        std::string("<path fill=\"#12345g\" d=\"M0 0 L1 1\"/>"),
        std::string("<path fill=\"#ffffff\" d=\"m0 0 l1 1\"/>"), std::string("<path fill=\"#ffffff\" d=\"M0 0 L1\"/>"),
        std::string("<path fill=\"#ffffff\" d=\"L1 1\"/>"),
        std::string("<path fill=\"#ffffff\" d=\"M0 0 A1 1 0 0 0 1 1\"/>"),
        std::string("<rect fill=\"#ffffff\" x=\"0\" y=\"0\" width=\"1\"/>"), std::string("<path fill=\"#ffffff\"")}) {
    INFO(shapes);
    const auto image = draw_svg(drawing(shapes), 4);
    REQUIRE_FALSE(image.has_value());
    CHECK(image.error().kind == ErrorKind::usage);
  }
  CHECK_FALSE(draw_svg("", 4).has_value());
  CHECK_FALSE(draw_svg("<svg viewBox=\"0 0 4 5\"></svg>", 4).has_value());
  CHECK_FALSE(draw_svg("<svg viewBox=\"0 0 4 4\">", 4).has_value());
}

TEST_CASE("tray icons: every state has a drawing of its own that can be told from the others at 16 pixels") {
  std::set<std::vector<uint8_t>> seen;
  for (const TrayIcon icon : kTrayIcons) {
    INFO(icon_name(icon));
    REQUIRE(draw_svg(icon_svg(icon), 16).has_value());
    const SquareImage image = icon_image(icon, 16);
    REQUIRE(image.pixels.size() == 256);
    CHECK(at(image, 0, 15).alpha < 128);
    // Dark on a light panel, and light at its rim on a dark one.
    int dark = 0, light = 0;
    std::vector<uint8_t> shape;
    for (const Pixel& pixel : image.pixels) {
      const int brightness = (pixel.red * 30 + pixel.green * 59 + pixel.blue * 11) / 100;
      dark += pixel.alpha > 200 && brightness < 130;
      light += pixel.alpha > 200 && brightness > 220;
      shape.push_back(static_cast<uint8_t>(pixel.alpha > 200 && brightness < 130));
    }
    CHECK(dark >= 50);
    CHECK(light >= 30);
    // Without colours, for who can't tell them apart.
    CHECK(seen.insert(shape).second);
  }
}

TEST_SUITE_END();
