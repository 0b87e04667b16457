#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "support/process_figures.h"

namespace tillsync::test {

void Work::add(const std::string& tool, double value) {
  if (!values.contains(tool)) tools.push_back(tool);
  values[tool].push_back(value);
}

Work& Report::work(const std::string& name, const std::string& unit, const std::string& target) {
  for (auto& work : works_)
    if (work.name == name) return work;
  works_.push_back({name, unit, target, {}, {}, {}});
  return works_.back();
}

static void put(std::vector<std::pair<std::string, std::string>>& all, const std::string& name,
                const std::string& value) {
  for (auto& [known, kept] : all)
    if (known == name) return void(kept = value);
  all.emplace_back(name, value);
}

void Report::version(const std::string& tool, const std::string& version) { put(versions_, tool, version); }
void Report::setting(const std::string& name, const std::string& value) { put(settings_, name, value); }

std::string figure(double value) {
  char text[64];
  const double size = std::fabs(value);
  if (size >= 1000) {
    std::snprintf(text, sizeof text, "%.0f", value);
    std::string out = text;
    for (auto at = static_cast<std::ptrdiff_t>(out.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
      out.insert(static_cast<size_t>(at), ",");
    return out;
  }
  int digits = 0;
  if (size > 0 && size < 100) digits = std::clamp(2 - static_cast<int>(std::floor(std::log10(size))), 0, 4);
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// Ours to theirs, of the rounds that both have.
static std::vector<double> ratios(const std::vector<double>& ours, const std::vector<double>& theirs) {
  std::vector<double> all;
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); i++)
    if (theirs[i] != 0) all.push_back(ours[i] / theirs[i]);
  return all;
}

std::string Report::markdown() const {
  std::string out;
  for (size_t i = 0; i < settings_.size(); i++)
    out += (i ? "; " : "") + settings_[i].first + ": " + settings_[i].second;
  out += ".\n";
  for (size_t i = 0; i < versions_.size(); i++)
    out += (i ? ", " : "Versions: ") + versions_[i].first + " " + versions_[i].second;
  out += ".\n\n| work | tool | median | spread | tillsync to it | target |\n| --- | --- | --- | --- | --- | --- |\n";
  for (auto& work : works_) {
    bool is_first = true;
    const auto ours = work.values.find(kOurs);
    for (auto& tool : work.tools) {
      const auto& values = work.values.at(tool);
      out += "| " + (is_first ? work.name + ", " + work.unit : std::string()) + " | " + tool + " | " +
             figure(median(values)) + " | " + figure(quantile(values, 0)) + " to " + figure(quantile(values, 1)) +
             " | ";
      if (tool != kOurs && ours != work.values.end()) {
        const auto all = ratios(ours->second, values);
        if (!all.empty())
          out += figure(median(all)) + " (" + figure(quantile(all, 0)) + " to " + figure(quantile(all, 1)) + ")";
      }
      out += " | " + (is_first ? work.target : std::string()) + " |\n";
      is_first = false;
    }
  }
  std::vector<std::string> notes = notes_;
  for (auto& work : works_)
    for (auto& note : work.notes) notes.push_back(work.name + ": " + note);
  if (!notes.empty()) out += "\n";
  for (auto& note : notes) out += "- " + note + "\n";
  return out;
}

Json Report::json() const {
  Json works = Json::array(), versions = Json::object(), settings = Json::object();
  for (auto& [name, value] : versions_) versions[name] = value;
  for (auto& [name, value] : settings_) settings[name] = value;
  for (auto& work : works_) {
    Json tools = Json::array();
    const auto ours = work.values.find(kOurs);
    for (auto& tool : work.tools) {
      const auto& values = work.values.at(tool);
      Json one{{"tool", tool},
               {"median", median(values)},
               {"least", quantile(values, 0)},
               {"most", quantile(values, 1)},
               {"rounds", values}};
      if (tool != kOurs && ours != work.values.end()) one["ratio"] = median(ratios(ours->second, values));
      tools.push_back(std::move(one));
    }
    works.push_back({{"work", work.name},
                     {"unit", work.unit},
                     {"target", work.target},
                     {"tools", std::move(tools)},
                     {"notes", work.notes}});
  }
  return {{"settings", settings}, {"versions", versions}, {"works", works}, {"notes", notes_}};
}

}  // namespace tillsync::test
