// Every text in both languages, ages, plural forms, and which language a person gets.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "agent/tray/tray_texts.h"

using namespace tillsync;
using namespace std::chrono_literals;

namespace {

const TrayTexts kEnglish(Language::english), kGerman(Language::german);

std::set<char> places_in(std::string_view phrase) {
  std::set<char> places;
  for (size_t i = 0; i + 1 < phrase.size(); ++i)
    if (phrase[i] == '%' && phrase[i + 1] >= '1' && phrase[i + 1] <= '9') places.insert(phrase[i + 1]);
  return places;
}

}  // namespace

TEST_SUITE_BEGIN("tray");

TEST_CASE("tray texts: each is there in both languages, with the same places") {
  for (size_t i = 0; i < kTextCount; ++i) {
    const Text text = static_cast<Text>(i);
    const auto english = kEnglish.phrase(text), german = kGerman.phrase(text);
    INFO("text " << i << ": " << english << " | " << german);
    CHECK_FALSE(english.empty());
    CHECK_FALSE(german.empty());
    CHECK(english != german);
    CHECK(places_in(english) == places_in(german));
  }
}

TEST_CASE("tray texts: no two phrases are the same, so that none stands in another's place") {
  for (const TrayTexts& texts : {kEnglish, kGerman}) {
    std::set<std::string_view> all;
    for (size_t i = 0; i < kTextCount; ++i) CHECK(all.insert(texts.phrase(static_cast<Text>(i))).second);
  }
}

TEST_CASE("tray texts: places are filled, and what is no place stays") {
  CHECK(kEnglish.say(Text::menu_backup_percent, {"45"}) == "Backing up… 45 %");
  CHECK(kGerman.say(Text::menu_backup_percent, {"45"}) == "Sicherung läuft… 45 %");
  CHECK(kEnglish.say(Text::last_backup, {"%1 %2"}) == "Last backup %1 %2");
  CHECK(kEnglish.say(Text::last_backup) == "Last backup %1");
}

TEST_CASE("tray texts: ages at their borders") {
  struct Row {
    Milliseconds age;
    const char *english, *german;
  };
  const Row rows[] = {
      {-5min, "just now", "gerade eben"},
      {0s, "just now", "gerade eben"},
      {59'999ms, "just now", "gerade eben"},
      {1min, "1 minute ago", "vor 1 Minute"},
      {119s, "1 minute ago", "vor 1 Minute"},
      {2min, "2 minutes ago", "vor 2 Minuten"},
      {59min + 59s, "59 minutes ago", "vor 59 Minuten"},
      {1h, "1 hour ago", "vor 1 Stunde"},
      {2h, "2 hours ago", "vor 2 Stunden"},
      {24h - 1ms, "23 hours ago", "vor 23 Stunden"},
      {24h, "1 day ago", "vor 1 Tag"},
      {48h, "2 days ago", "vor 2 Tagen"},
      {24h * 400, "400 days ago", "vor 400 Tagen"},
  };
  for (const Row& row : rows) {
    CHECK(kEnglish.age(row.age) == row.english);
    CHECK(kGerman.age(row.age) == row.german);
  }
}

TEST_CASE("tray texts: an age reads the same until it is said to change, and not longer") {
  for (const Milliseconds age : {-90'000ms, 0ms, 1ms, 59'999ms, 60'000ms, 119'500ms, 3'599'999ms, 3'600'000ms,
                                 5'000'000ms, 86'399'999ms, 86'400'000ms, 200'000'000ms}) {
    const Milliseconds stands = age_stands_for(age);
    CHECK(stands > 0ms);
    CHECK(kEnglish.age(age + stands - 1ms) == kEnglish.age(age));
    CHECK(kEnglish.age(age + stands) != kEnglish.age(age));
  }
}

TEST_CASE("tray texts: what is left, in whole words") {
  CHECK(kEnglish.left(59s) == "less than a minute left");
  CHECK(kGerman.left(59s) == "noch weniger als eine Minute");
  CHECK(kEnglish.left(60s) == "about 1 minute left");
  CHECK(kGerman.left(60s) == "noch etwa 1 Minute");
  CHECK(kEnglish.left(10min) == "about 10 minutes left");
  CHECK(kGerman.left(10min) == "noch etwa 10 Minuten");
  CHECK(kEnglish.left(1h) == "about 1 hour left");
  CHECK(kGerman.left(3h) == "noch etwa 3 Stunden");
}

TEST_CASE("tray texts: one has a form of its own") {
  CHECK(kEnglish.count(Text::change_waits, Text::changes_wait, 1) == "1 change is on its way to the store");
  CHECK(kEnglish.count(Text::change_waits, Text::changes_wait, 12) == "12 changes are on their way to the store");
  CHECK(kGerman.count(Text::change_waits, Text::changes_wait, 1) == "1 Änderung ist zum Speicher unterwegs");
  CHECK(kGerman.count(Text::change_waits, Text::changes_wait, 0) == "0 Änderungen sind zum Speicher unterwegs");
}

TEST_CASE("tray texts: a time of another day has its date") {
  const LocalTime time{2026, 11, 6, 9, 5}, today{2026, 11, 6, 23, 0}, later{2026, 12, 6, 9, 5};
  CHECK(kEnglish.time_of_day(time, today) == "09:05");
  CHECK(kGerman.time_of_day(time, today) == "09:05");
  CHECK(kEnglish.time_of_day(time, later) == "2026-11-06 09:05");
  CHECK(kGerman.time_of_day(time, later) == "06.11.2026 09:05");
}

TEST_CASE("tray texts: the language is that of the locale, generated or not") {
  CHECK(language_of("", "", "de_DE.UTF-8") == Language::german);
  CHECK(language_of("", "", "de") == Language::german);
  CHECK(language_of("", "", "de@euro") == Language::german);
  CHECK(language_of("", "", "de.UTF-8") == Language::german);
  CHECK(language_of("", "de_AT.UTF-8", "en_US.UTF-8") == Language::german);
  CHECK(language_of("en_GB.UTF-8", "de_AT.UTF-8", "de_DE.UTF-8") == Language::english);
  CHECK(language_of("", "", "") == Language::english);
  CHECK(language_of("C", "", "de_DE") == Language::english);
  CHECK(language_of("", "", "den_CA") == Language::english);
  CHECK(language_of("", "", "fr_FR.UTF-8") == Language::english);
}

TEST_CASE("tray texts: every kind of error has a reason in both languages") {
  std::set<std::string> english, german;
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::internal); ++kind) {
    english.insert(kEnglish.reason(static_cast<ErrorKind>(kind)));
    german.insert(kGerman.reason(static_cast<ErrorKind>(kind)));
  }
  CHECK(english.size() == static_cast<size_t>(ErrorKind::internal) + 1);
  CHECK(german.size() == english.size());
  CHECK_FALSE(english.contains(kEnglish.say(Text::attention)));
}

TEST_CASE("tray texts: the agent's problems have German words, and English ones as the agent says them") {
  // The codes of `problems` in `tillsync status --json`.
  for (const char* code : {"database_missing",
                           "database_permission",
                           "database_damaged",
                           "database_schema",
                           "database_busy",
                           "capture_failed",
                           "rollback_journal",
                           "disk_full",
                           "disk_low",
                           "store",
                           "backup",
                           "restore",
                           "drill",
                           "verify",
                           "prune",
                           "paused",
                           "metrics",
                           "epoch",
                           "not_sealed",
                           "no_recovery_key"}) {
    INFO(code);
    const ProblemWords* words = kGerman.problem(code);
    REQUIRE(words);
    CHECK_FALSE(words->text.empty());
    CHECK_FALSE(words->remedy.empty());
    CHECK(kEnglish.problem(code) == nullptr);
  }
  CHECK(kGerman.problem("something_new") == nullptr);
}

TEST_SUITE_END();
