// A tray model with a clock in the hand, an agent that is played, and a record of what it told.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "agent/tray/tray_model.h"

namespace tillsync::test {

using namespace std::chrono_literals;

// Local time is UTC here.
inline LocalTime utc(Timestamp time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto minutes = std::chrono::floor<std::chrono::minutes>(time - day).count();
  return {static_cast<int>(date.year()), static_cast<int>(static_cast<unsigned>(date.month())),
          static_cast<int>(static_cast<unsigned>(date.day())), static_cast<int>(minutes / 60),
          static_cast<int>(minutes % 60)};
}

struct PlayedTray {
  Now now{parse_rfc3339("2026-11-26T14:00:00Z").value(), std::chrono::steady_clock::time_point(1000h)};
  TrayModel model;
  std::vector<TrayRequest> requests;            // that wait for an answer
  std::vector<TrayNotification> notifications;  // all of them

  explicit PlayedTray(Language language = Language::english) : model(TrayTexts(language), utc, now) {}

  void collect() {
    for (auto& request : model.take_requests()) requests.push_back(std::move(request));
    for (auto& notification : model.take_notifications()) notifications.push_back(std::move(notification));
  }
  void pass(Milliseconds time) {
    now.wall += time;
    now.steady += time;
    model.tick(now);
    collect();
  }
  std::string ago(Milliseconds age) const { return to_rfc3339(now.wall - age); }

  Json ok() const {
    return Json{{"state", "ok"},
                {"last_backup_at", ago(3min)},
                {"waiting", 0},
                {"safe_until", ago(0s)},
                {"paused_until", nullptr},
                {"workflow", nullptr},
                {"problems", Json::array()}};
  }
  Json attention(std::vector<Json> problems) const {
    Json state = ok();
    state["state"] = "attention";
    state["problems"] = problems;
    return state;
  }
  static Json problem(const std::string& code, const std::string& severity = "problem") {
    return Json{{"code", code}, {"severity", severity}, {"text", code + " is broken"}, {"remedy", "mend " + code}};
  }
  void connect() {
    model.connected(now);
    collect();
  }
  void say(const Json& state) {
    model.notified("state", state, now);
    collect();
  }
  void connect(const Json& state) {
    connect();
    say(state);
  }
  void lose(ErrorKind kind = ErrorKind::offline) {
    requests.clear();
    model.lost(Error{kind, 0, "gone"}, now);
    collect();
  }
  // The oldest request of a method that is not answered; fails when there is none.
  TrayRequest take(const std::string& method) {
    for (auto request = requests.begin(); request != requests.end(); ++request) {
      if (request->method != method) continue;
      TrayRequest taken = *request;
      requests.erase(request);
      return taken;
    }
    FAIL("was not asked: " << method);
    return {};
  }
  bool waits(const std::string& method) const {
    for (const auto& request : requests)
      if (request.method == method) return true;
    return false;
  }
  Json answer(const std::string& method, const Result<Json>& result) {
    const TrayRequest request = take(method);
    model.answered(request.id, result, now);
    collect();
    return request.params;
  }
  void choose(MenuItem item) {
    model.chosen(item, now);
    collect();
  }

  TrayView view() const { return model.view(now); }
  MenuEntry entry(MenuItem item) const {
    for (const auto& entry : view().menu)
      if (entry.item == item) return entry;
    FAIL("no such entry");
    return {};
  }
  TrayNotification last() const {
    REQUIRE_FALSE(notifications.empty());
    return notifications.back();
  }
};

}  // namespace tillsync::test
