#include "platform/linux/process_figures_linux.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace tillsync {

namespace {
// Fields of /proc/self/stat after the name, which may hold blanks; the first is number 3.
std::vector<std::string> stat_fields() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(')');
  if (name_end == line.npos) return {};
  std::istringstream words(line.substr(name_end + 1));
  std::vector<std::string> fields(3);
  for (std::string word; words >> word;) fields.push_back(word);
  return fields;
}

int64_t boot_seconds() {
  std::ifstream file("/proc/stat");
  for (std::string word; file >> word;)
    if (word == "btime") {
      int64_t seconds = 0;
      file >> seconds;
      return seconds;
    }
  return 0;
}
}  // namespace

ProcessFigures process_figures() {
  ProcessFigures figures;
  const auto fields = stat_fields();
  if (fields.size() > 24) {
    const auto number = [&](size_t field) { return std::stoull(fields[field]); };
    const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    figures.cpu_seconds = static_cast<double>(number(14) + number(15)) / ticks;
    figures.threads = number(20);
    figures.started_at = Timestamp(
        Milliseconds(boot_seconds() * 1000 + static_cast<int64_t>(static_cast<double>(number(22)) / ticks * 1000)));
    figures.virtual_bytes = number(23);
    figures.resident_bytes = number(24) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  std::error_code failed;
  for (auto it = std::filesystem::directory_iterator("/proc/self/fd", failed);
       !failed && it != std::filesystem::end(it); it.increment(failed))
    figures.open_files++;
  // The one that reads them.
  if (figures.open_files > 0) figures.open_files--;
  return figures;
}

}  // namespace tillsync
