#include "agent/tray/tray_texts.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace tillsync {

using namespace std::chrono_literals;

namespace {

struct Phrase {
  Text text;
  std::string_view english, german;
};

constexpr std::array<Phrase, kTextCount> kPhrases{{
    {Text::just_now, "just now", "gerade eben"},
    {Text::minute_ago, "1 minute ago", "vor 1 Minute"},
    {Text::minutes_ago, "%1 minutes ago", "vor %1 Minuten"},
    {Text::hour_ago, "1 hour ago", "vor 1 Stunde"},
    {Text::hours_ago, "%1 hours ago", "vor %1 Stunden"},
    {Text::day_ago, "1 day ago", "vor 1 Tag"},
    {Text::days_ago, "%1 days ago", "vor %1 Tagen"},
    {Text::last_backup, "Last backup %1", "Letzte Sicherung %1"},
    {Text::no_backup, "No backup yet", "Noch keine Sicherung"},
    {Text::all_safe, "all sales safe", "alle Verkäufe sicher"},
    {Text::safe_until, "sales safe up to %1", "Verkäufe bis %1 sicher"},
    {Text::safe_until_now, "sales safe up to a moment ago", "Verkäufe bis gerade eben sicher"},
    {Text::change_waits, "1 change is on its way to the store", "1 Änderung ist zum Speicher unterwegs"},
    {Text::changes_wait, "%1 changes are on their way to the store", "%1 Änderungen sind zum Speicher unterwegs"},
    {Text::backing_up, "Backing up", "Sicherung läuft"},
    {Text::restoring, "Restoring", "Wiederherstellung läuft"},
    {Text::working, "Working", "Beschäftigt"},
    {Text::seconds_left, "less than a minute left", "noch weniger als eine Minute"},
    {Text::minute_left, "about 1 minute left", "noch etwa 1 Minute"},
    {Text::minutes_left, "about %1 minutes left", "noch etwa %1 Minuten"},
    {Text::hour_left, "about 1 hour left", "noch etwa 1 Stunde"},
    {Text::hours_left, "about %1 hours left", "noch etwa %1 Stunden"},
    {Text::attention, "tillsync needs attention", "tillsync braucht Aufmerksamkeit"},
    {Text::problems, "%1 problems need attention", "%1 Probleme brauchen Aufmerksamkeit"},
    {Text::paused_until, "Paused until %1", "Pausiert bis %1"},
    {Text::paused, "Paused until you resume", "Pausiert, bis Sie fortsetzen"},
    {Text::after_pause, "What is sold meanwhile is backed up afterwards.",
     "Was inzwischen verkauft wird, wird danach gesichert."},
    {Text::no_agent, "tillsync is not running, new sales are not backed up",
     "tillsync läuft nicht, neue Verkäufe werden nicht gesichert"},
    {Text::no_agent_remedy, "If it does not come back within a few minutes, tell IT: systemctl start tillsync",
     "Kommt es nicht in wenigen Minuten zurück, sagen Sie es der IT: systemctl start tillsync"},
    {Text::denied, "This user may not ask tillsync how the sales are",
     "Dieser Benutzer darf tillsync nicht nach den Verkäufen fragen"},
    {Text::denied_remedy, "Ask IT to add you to the group tillsync, then log out and in again",
     "Bitten Sie die IT, Sie in die Gruppe tillsync aufzunehmen, und melden Sie sich dann ab und wieder an"},
    {Text::other_version, "This icon does not understand the tillsync that is running",
     "Dieses Symbol versteht das laufende tillsync nicht"},
    {Text::other_version_remedy, "Log out and in again; if that does not help, tell IT: two versions are in use",
     "Melden Sie sich ab und wieder an; hilft das nicht, sagen Sie es der IT: zwei Versionen sind in Gebrauch"},
    {Text::menu_backup, "Back up now", "Jetzt sichern"},
    {Text::menu_backup_runs, "Backing up…", "Sicherung läuft…"},
    {Text::menu_backup_percent, "Backing up… %1 %", "Sicherung läuft… %1 %"},
    {Text::menu_pause, "Pause for 1 hour", "1 Stunde pausieren"},
    {Text::menu_resume, "Resume", "Fortsetzen"},
    {Text::menu_status, "Show status", "Status anzeigen"},
    {Text::menu_about, "About", "Über tillsync"},
    {Text::backup_begun, "Backup begun", "Sicherung begonnen"},
    {Text::backup_begun_body, "You can go on selling.", "Sie können weiter verkaufen."},
    {Text::backup_percent_body, "%1 % done. You can go on selling.", "%1 % fertig. Sie können weiter verkaufen."},
    {Text::backup_done, "Backup done", "Sicherung fertig"},
    {Text::backup_done_body, "Everything that was sold until %1 is in the store.",
     "Alles, was bis %1 verkauft wurde, liegt im Speicher."},
    {Text::backup_failed, "Backup failed", "Sicherung fehlgeschlagen"},
    {Text::backup_failed_remedy, "Try again later. If it fails again, tell IT.",
     "Versuchen Sie es später noch einmal. Gelingt es wieder nicht, sagen Sie es der IT."},
    {Text::backup_cancelled, "Backup cancelled", "Sicherung abgebrochen"},
    {Text::backup_cancelled_body, "Somebody ended it. Earlier backups are not touched.",
     "Jemand hat sie beendet. Frühere Sicherungen bleiben unberührt."},
    {Text::pause_title, "tillsync pauses", "tillsync pausiert"},
    {Text::pause_failed, "Could not pause", "Pausieren war nicht möglich"},
    {Text::resumed, "tillsync goes on", "tillsync macht weiter"},
    {Text::resumed_body, "Sales are backed up again.", "Verkäufe werden wieder gesichert."},
    {Text::resume_failed, "Could not resume", "Fortsetzen war nicht möglich"},
    {Text::about_title, "tillsync %1", "tillsync, Version %1"},
    {Text::about_body, "Keeps the sales of this till safe: each one is copied to the store as it is made.",
     "Bewahrt die Verkäufe dieser Kasse: jeder wird beim Entstehen in den Speicher kopiert."},
    {Text::what_to_do, "What to do: %1", "Was zu tun ist: %1"},
    {Text::for_it, "For IT: %1", "Für die IT: %1"},
    {Text::advice, "Advice: %1", "Hinweis: %1"},
    {Text::one_more, "and 1 more", "und 1 weiteres"},
    {Text::more, "and %1 more", "und %1 weitere"},
}};

constexpr bool in_order() {
  for (size_t i = 0; i < kPhrases.size(); ++i)
    if (kPhrases[i].text != static_cast<Text>(i)) return false;
  return true;
}
static_assert(in_order(), "a phrase for each Text, in its order");

struct Reason {
  ErrorKind kind;
  std::string_view english, german;
};

constexpr Reason kReasons[] = {
    {ErrorKind::transient, "Something was busy.", "Etwas war beschäftigt."},
    {ErrorKind::offline, "The store or the agent can't be reached.",
     "Der Speicher oder der Dienst ist nicht erreichbar."},
    {ErrorKind::throttled, "The store takes nothing more for a while.",
     "Der Speicher nimmt eine Weile nichts mehr an."},
    {ErrorKind::denied, "It is not permitted.", "Es ist nicht erlaubt."},
    {ErrorKind::not_found, "Something that is needed is not there.", "Etwas, das gebraucht wird, ist nicht da."},
    {ErrorKind::conflict, "Something else is in the way.", "Etwas anderes steht im Weg."},
    {ErrorKind::corrupt, "Something is damaged.", "Etwas ist beschädigt."},
    {ErrorKind::schema, "The database's structure does not allow it.", "Der Aufbau der Datenbank lässt es nicht zu."},
    {ErrorKind::no_space, "There is no room left on the disk or in the store.",
     "Auf der Platte oder im Speicher ist kein Platz mehr."},
    {ErrorKind::cancelled, "It was cancelled.", "Es wurde abgebrochen."},
    {ErrorKind::timeout, "It took too long.", "Es dauerte zu lange."},
    {ErrorKind::usage, "The request or the configuration is wrong.", "Die Anfrage oder die Konfiguration ist falsch."},
    {ErrorKind::internal, "Something went wrong inside tillsync.", "In tillsync ging etwas schief."},
};

// In the operator's words: what the agent says names files and settings, and is added for IT.
constexpr ProblemWords kGermanProblems[] = {
    {"database_missing", "Die Kassendatenbank ist nicht da",
     "Starten Sie die Kassenanwendung; bleibt es so, sagen Sie es der IT"},
    {"database_permission", "Die Kassendatenbank darf nicht gelesen werden", "Sagen Sie es der IT: Rechte fehlen"},
    {"database_damaged", "Die Kassendatenbank ist beschädigt",
     "Sagen Sie es sofort der IT; schalten Sie die Kasse nicht aus"},
    {"database_schema", "Die Datenbank lässt sich nicht Verkauf für Verkauf sichern", "Sagen Sie es der IT"},
    {"database_busy", "Ein anderes Programm hält die Kassendatenbank fest",
     "Es geht von selbst weiter, sobald es sie freigibt; bleibt es so, sagen Sie es der IT"},
    {"capture_failed", "Neue Verkäufe können gerade nicht gesichert werden",
     "Es wird von selbst wieder versucht; bleibt es so, sagen Sie es der IT"},
    {"rollback_journal", "Die Datenbank wird nur ab und zu gesichert, nicht Verkauf für Verkauf",
     "Sagen Sie es der IT"},
    {"disk_full", "Die Platte der Kasse ist voll", "Schaffen Sie Platz auf der Platte, oder sagen Sie es der IT"},
    {"disk_low", "Die Platte der Kasse wird voll", "Schaffen Sie Platz auf der Platte, oder sagen Sie es der IT"},
    {"store", "Der Speicher der Sicherungen ist nicht zu gebrauchen",
     "Prüfen Sie die Netzverbindung; Verkäufe warten auf der Kasse und werden nachgeholt. Bleibt es so, sagen Sie es "
     "der "
     "IT"},
    {"backup", "Die Sicherung gelang nicht",
     "Wählen Sie 'Jetzt sichern', wenn die Ursache behoben ist, oder sagen Sie es der IT"},
    {"restore", "Die Wiederherstellung gelang nicht", "Sagen Sie es der IT"},
    {"drill", "Die Probe einer Wiederherstellung gelang nicht", "Sagen Sie es der IT"},
    {"verify", "Eine Sicherung im Speicher ist beschädigt",
     "Wählen Sie 'Jetzt sichern', und sagen Sie es der IT; nichts im Speicher löschen"},
    {"paused", "Seit mehr als einem Tag ist pausiert: neue Verkäufe sind nur auf dieser Kasse",
     "Wählen Sie 'Fortsetzen'"},
    {"prune", "Alte Sicherungen werden nicht mehr aufgeräumt", "Sagen Sie es der IT; nichts im Speicher löschen"},
    {"metrics", "Die Messwerte für die Überwachung werden nicht ausgegeben", "Sagen Sie es der IT"},
    {"epoch", "Diese Kasse gibt es zweimal, oder ihre Platte wurde zurückgesetzt", "Sagen Sie es der IT"},
    {"not_sealed", "Die Sicherungen sind nicht verschlüsselt", "Sagen Sie es der IT"},
    {"no_recovery_key", "Nur diese Kasse kann ihre Sicherungen öffnen", "Sagen Sie es der IT: ein Schlüssel fehlt"},
};

}  // namespace

Language language_of(std::string_view lc_all, std::string_view lc_messages, std::string_view lang) {
  const std::string_view name = !lc_all.empty() ? lc_all : !lc_messages.empty() ? lc_messages : lang;
  // "de", "de_AT.UTF-8", "de@euro"; not "den".
  if (!name.starts_with("de")) return Language::english;
  const bool whole = name.size() == 2 || name[2] == '_' || name[2] == '.' || name[2] == '@';
  return whole ? Language::german : Language::english;
}

std::string_view TrayTexts::phrase(Text text) const {
  const Phrase& phrase = kPhrases[static_cast<size_t>(text)];
  return language_ == Language::german ? phrase.german : phrase.english;
}

std::string TrayTexts::say(Text text, const std::vector<std::string>& values) const {
  const std::string_view phrase = this->phrase(text);
  std::string out;
  for (size_t i = 0; i < phrase.size(); ++i) {
    const size_t place = i + 1 < phrase.size() ? static_cast<size_t>(phrase[i + 1]) - '1' : values.size();
    if (phrase[i] == '%' && place < values.size()) {
      out += values[place];
      ++i;
    } else {
      out += phrase[i];
    }
  }
  return out;
}

std::string TrayTexts::count(Text one, Text many, uint64_t number) const {
  return say(number == 1 ? one : many, {std::to_string(number)});
}

std::string TrayTexts::age(Milliseconds age) const {
  if (age < 1min) return say(Text::just_now);
  if (age < 1h) return count(Text::minute_ago, Text::minutes_ago, static_cast<uint64_t>(age / 1min));
  if (age < 24h) return count(Text::hour_ago, Text::hours_ago, static_cast<uint64_t>(age / 1h));
  return count(Text::day_ago, Text::days_ago, static_cast<uint64_t>(age / 24h));
}

std::string TrayTexts::left(Milliseconds left) const {
  if (left < 1min) return say(Text::seconds_left);
  if (left < 1h) return count(Text::minute_left, Text::minutes_left, static_cast<uint64_t>(left / 1min));
  return count(Text::hour_left, Text::hours_left, static_cast<uint64_t>(left / 1h));
}

std::string TrayTexts::time_of_day(const LocalTime& time, const LocalTime& today) const {
  char text[80];
  if (time.is_same_day(today))
    std::snprintf(text, sizeof text, "%02d:%02d", time.hour, time.minute);
  else if (language_ == Language::german)
    std::snprintf(text, sizeof text, "%02d.%02d.%04d %02d:%02d", time.day, time.month, time.year, time.hour,
                  time.minute);
  else
    std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d", time.year, time.month, time.day, time.hour,
                  time.minute);
  return text;
}

std::string TrayTexts::reason(ErrorKind kind) const {
  for (const Reason& reason : kReasons)
    if (reason.kind == kind) return std::string(language_ == Language::german ? reason.german : reason.english);
  return std::string(phrase(Text::attention));
}

const ProblemWords* TrayTexts::problem(std::string_view code) const {
  if (language_ == Language::english) return nullptr;  // as the agent says it
  for (const ProblemWords& words : kGermanProblems)
    if (words.code == code) return &words;
  return nullptr;
}

Milliseconds age_stands_for(Milliseconds age) {
  // A time in the future reads as "just now" until it is a minute old.
  if (age < 1min) return 1min - age;
  const Milliseconds unit = age < 1h ? Milliseconds(1min) : age < 24h ? Milliseconds(1h) : Milliseconds(24h);
  return unit - age % unit;
}

}  // namespace tillsync
