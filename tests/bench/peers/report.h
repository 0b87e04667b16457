// What a comparison found: values by work and tool, as medians, spread and the ratio of tillsync to each peer.
//
// Purpose: one place that turns rounds into the table, the JSON and the plot that docs/benchmarks.md keeps.
// Layout: a Work is a kind of work ("FULL snapshot, 500 MB"), in one unit; it has for each tool the values of
// its rounds, in order. Round n of one tool is compared with round n of another, as they ran one after the other: the
// machine is shared, and only such ratios say anything. Threads: one.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace tillsync::test {

inline constexpr const char* kOurs = "tillsync";

struct Work {
  std::string name, unit;
  std::string target;  // in words; may be empty
  std::vector<std::string> notes;
  std::vector<std::string> tools;  // in the order they were added
  std::map<std::string, std::vector<double>> values;

  void add(const std::string& tool, double value);
};

class Report {
 public:
  // The same work again when there is one of that name. Never moves.
  Work& work(const std::string& name, const std::string& unit, const std::string& target = "");
  void version(const std::string& tool, const std::string& version);
  void setting(const std::string& name, const std::string& value);
  void note(const std::string& text) { notes_.push_back(text); }

  std::string markdown() const;
  Json json() const;
  const std::deque<Work>& works() const { return works_; }

 private:
  std::deque<Work> works_;
  std::vector<std::pair<std::string, std::string>> versions_, settings_;
  std::vector<std::string> notes_;
};

// "2.45", "118", "22,027": three digits that say something.
std::string figure(double value);

}  // namespace tillsync::test
