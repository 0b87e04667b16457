#include "agent/manual/program.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace tillsync {

namespace {

std::string longest_name(const CLI::Option& option) { return option.get_name(); }

std::vector<std::string> sorted_names(const std::set<CLI::Option*>& options) {
  std::vector<std::string> names;
  for (const auto* option : options) names.push_back(longest_name(*option));
  std::sort(names.begin(), names.end());
  return names;
}

// CLI11 shows a value as "TYPE:{full,incremental}": its name, then what its checks say of themselves.
void read_value(const CLI::Option& option, ProgramOption& out) {
  if (option.get_items_expected_max() == 0) return;
  const std::string shown = option.get_type_name();
  const size_t colon = shown.find(':');
  out.value = shown.substr(0, colon);
  const size_t open = shown.find('{'), close = shown.rfind('}');
  if (open == shown.npos || close == shown.npos || close < open) return;
  for (size_t at = open + 1; at < close;) {
    const size_t end = std::min(shown.find(',', at), close);
    out.choices.push_back(shown.substr(at, end - at));
    at = end + 1;
  }
}

ProgramOption describe(const CLI::Option& option) {
  ProgramOption out;
  for (const auto& name : option.get_snames()) out.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) out.names.push_back("--" + name);
  read_value(option, out);
  out.text = option.get_description();
  out.needs = sorted_names(option.get_needs());
  out.excludes = sorted_names(option.get_excludes());
  out.required = option.get_required();
  return out;
}

}  // namespace

ProgramCommand describe(const CLI::App& app) {
  ProgramCommand out;
  out.name = app.get_name();
  out.text = app.get_description();
  out.footer = app.get_footer();
  for (const auto* option : app.get_options([](const CLI::Option* one) { return !one->get_group().empty(); }))
    (option->nonpositional() ? out.options : out.arguments).push_back(describe(*option));
  for (const auto* command : app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); }))
    out.commands.push_back(describe(*command));
  return out;
}

}  // namespace tillsync
