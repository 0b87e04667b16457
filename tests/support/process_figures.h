// What the kernel says about a process.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace tillsync::test {

// Of all its threads that are alive, in nanoseconds of CPU: schedstat counts finer than the ticks of stat.
inline double cpu_seconds(pid_t pid) {
  double nanoseconds = 0;
  for (auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream in(task.path() / "schedstat");
    double run = 0;
    in >> run;
    nanoseconds += run;
  }
  return nanoseconds / 1e9;
}

// The same in ticks of 10 ms, threads that ended included.
inline double cpu_seconds_in_ticks(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string all((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::istringstream rest(all.substr(all.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; i++) rest >> skipped;
  double user = 0, system = 0;
  rest >> user >> system;
  return (user + system) / 100;
}

// "VmHWM", "VmRSS", … in KiB.
inline double memory_kib(pid_t pid, const std::string& what) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(in, line))
    if (line.starts_with(what + ":")) return std::stod(line.substr(what.size() + 1));
  return 0;
}

// VmHWM begins anew, at what is resident now.
inline void forget_peak(pid_t pid) { std::ofstream("/proc/" + std::to_string(pid) + "/clear_refs") << "5"; }

// How often its threads that are alive have gone to sleep of themselves.
inline uint64_t wake_ups(pid_t pid) {
  uint64_t sum = 0;
  for (auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream in(task.path() / "status");
    std::string line;
    while (std::getline(in, line))
      if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stoull(line.substr(24));
  }
  return sum;
}

inline double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all.empty() ? 0 : all[all.size() / 2];
}
inline double quantile(std::vector<double> all, double q) {
  std::sort(all.begin(), all.end());
  return all.empty() ? 0 : all[std::min(all.size() - 1, static_cast<size_t>(q * static_cast<double>(all.size())))];
}

}  // namespace tillsync::test
