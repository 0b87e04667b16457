// The icons' drawings (icons/*.svg), which the build puts into the program.
//
// Threads: values; no state.
#pragma once

#include <string_view>

#include "agent/tray/svg_image.h"
#include "agent/tray/tray_view.h"

namespace tillsync {

std::string_view icon_svg(TrayIcon icon);
// Drawn at so many pixels a side.
SquareImage icon_image(TrayIcon icon, int size);

}  // namespace tillsync
