// Every text of the tray, in English and German.
//
// Purpose: whole phrases with numbered places (%1, %2), so that a language may order its words; a phrase that counts
// has one form for one and one for more. Threads: values; no state.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tillsync {

enum class Language { english, german };

// By the values of LC_ALL, LC_MESSAGES and LANG: the first that is not empty decides, as in setlocale(3). Whether that
// locale was generated on this machine does not matter. Anything but German is English.
Language language_of(std::string_view lc_all, std::string_view lc_messages, std::string_view lang);

enum class Text {
  just_now,
  minute_ago,
  minutes_ago,
  hour_ago,
  hours_ago,
  day_ago,
  days_ago,
  last_backup,
  no_backup,
  all_safe,
  safe_until,
  safe_until_now,
  change_waits,
  changes_wait,
  backing_up,
  restoring,
  working,
  seconds_left,
  minute_left,
  minutes_left,
  hour_left,
  hours_left,
  attention,
  problems,
  paused_until,
  paused,
  after_pause,
  no_agent,
  no_agent_remedy,
  denied,
  denied_remedy,
  other_version,
  other_version_remedy,
  menu_backup,
  menu_backup_runs,
  menu_backup_percent,
  menu_pause,
  menu_resume,
  menu_status,
  menu_about,
  backup_begun,
  backup_begun_body,
  backup_percent_body,
  backup_done,
  backup_done_body,
  backup_failed,
  backup_failed_remedy,
  backup_cancelled,
  backup_cancelled_body,
  pause_title,
  pause_failed,
  resumed,
  resumed_body,
  resume_failed,
  about_title,
  about_body,
  what_to_do,
  for_it,
  advice,
  one_more,
  more,
};
inline constexpr size_t kTextCount = static_cast<size_t>(Text::more) + 1;

// A time of day as a person here reads it; the caller knows the time zone.
struct LocalTime {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0;
  bool is_same_day(const LocalTime& other) const {
    return year == other.year && month == other.month && day == other.day;
  }
};

// What is known of a problem by its code, where the agent's own words are in another language.
struct ProblemWords {
  std::string_view code, text, remedy;
};

class TrayTexts {
 public:
  explicit TrayTexts(Language language) : language_(language) {}
  Language language() const { return language_; }

  // The phrase as it stands, with its places.
  std::string_view phrase(Text text) const;
  // Its places filled.
  std::string say(Text text, const std::vector<std::string>& values = {}) const;
  // one for 1, else many; %1 is the number.
  std::string count(Text one, Text many, uint64_t number) const;

  std::string age(Milliseconds age) const;    // "3 minutes ago"
  std::string left(Milliseconds left) const;  // "about 2 minutes left"
  // "14:05", with the date where it is not today.
  std::string time_of_day(const LocalTime& time, const LocalTime& today) const;
  std::string reason(ErrorKind kind) const;  // "The store can't be reached."
  // nullptr where the agent's words are to be shown as they are.
  const ProblemWords* problem(std::string_view code) const;

 private:
  Language language_;
};

// How long an age reads as it does now.
Milliseconds age_stands_for(Milliseconds age);

}  // namespace tillsync
