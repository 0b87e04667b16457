// What the icon shows, and what it tells: values that every desktop can draw.
//
// Threads: values; no state.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tillsync {

enum class TrayIcon { ok, working, attention, paused, no_agent };
inline constexpr std::array kTrayIcons{TrayIcon::ok, TrayIcon::working, TrayIcon::attention, TrayIcon::paused,
                                       TrayIcon::no_agent};
// "tillsync-ok", …: the name of its file in an icon theme.
constexpr std::string_view icon_name(TrayIcon icon) {
  switch (icon) {
    case TrayIcon::ok: return "tillsync-ok";
    case TrayIcon::working: return "tillsync-working";
    case TrayIcon::attention: return "tillsync-attention";
    case TrayIcon::paused: return "tillsync-paused";
    case TrayIcon::no_agent: break;
  }
  return "tillsync-no-agent";
}

// The numbers are what a desktop knows an entry by: they and their order never change while the program runs.
enum class MenuItem {
  state_line = 1,  // the state in words, for who has no mouse to hover with
  separator_before_actions,
  back_up_now,
  pause,
  resume,
  separator_after_actions,
  show_status,
  about,
};

struct MenuEntry {
  MenuItem item{};
  std::string label;  // empty: a separator
  bool enabled = true, visible = true;
  bool operator==(const MenuEntry&) const = default;
};

struct TrayView {
  TrayIcon icon = TrayIcon::no_agent;
  std::string line;     // the state in one line: "Last backup 3 minutes ago, all sales safe"
  std::string details;  // further lines, or none
  std::vector<MenuEntry> menu;
  bool operator==(const TrayView&) const = default;
};

struct TrayNotification {
  // One of a topic takes the place of the one before it.
  enum class Topic { backup, pause, attention, status, about };
  enum class Urgency { low, normal, critical };
  Topic topic{};
  std::string summary;
  std::string body;  // plain text
  Urgency urgency = Urgency::normal;
  TrayIcon icon = TrayIcon::ok;
  std::optional<int> percent = {};  // a bar, where the desktop draws one
  bool stays = false;               // until the person closes it
  bool is_update = false;           // of what the person may have closed: then it is not shown again
};

}  // namespace tillsync
