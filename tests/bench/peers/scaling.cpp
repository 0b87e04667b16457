#include <optional>

#include "tools.h"
#include "works.h"

namespace tillsync::test {

namespace {

// Rows of the plots are the works whose names end like this.
std::string by_size(int64_t megabytes) { return ", " + std::to_string(megabytes) + " MB"; }

}  // namespace

void measure_scaling(Bench& bench, const std::vector<int64_t>& sizes, const std::vector<int64_t>& sales) {
  auto& report = bench.report;
  for (const int64_t size : sizes) {
    Work& full = report.work("scaling: FULL" + by_size(size), "s", "linear in size");
    Work& incremental =
        report.work("scaling: INCREMENTAL of 2,000 sales" + by_size(size), "s", "within 1.5 × of the smallest");
    Work& memory = report.work("scaling: resident after it" + by_size(size), "MiB", "flat");
    FollowedTill till(bench.databases.of(size));
    till.follow();
    auto restic = make_restic();
    restic->begin();
    for (int round = 0; round <= bench.options.rounds; round++) {
      settle_disk();
      const double ours = till.back_up("full").seconds;
      sell(till, till.db, {"--sales", "2000"});
      till.flush();
      settle_disk();
      const double next = till.back_up("incremental").seconds;
      settle_disk();
      const double theirs = restic->back_up(till.db).seconds;
      const double resident = memory_kib(till.agent.pid(), "VmRSS") / 1024;
      std::fprintf(stderr,
                   "scaling, %ld MB, round %d: FULL %.2f s, INCREMENTAL %.3f s, %.1f MiB; restic's next %.2f s\n",
                   static_cast<long>(size), round, ours, next, resident, theirs);
      if (round == 0) continue;
      full.add(kOurs, ours);
      incremental.add(kOurs, next);
      incremental.add("restic", theirs);
      memory.add(kOurs, resident);
    }
    till.stop_agent();
  }
  const std::string base = bench.databases.of(bench.options.megabytes);
  FollowedTill till(base);
  till.follow();
  till.back_up("full");
  auto restic = make_restic();
  restic->begin();
  restic->back_up(till.db);
  for (const int64_t count : sales) {
    const std::string name = "change rate: INCREMENTAL of " + std::to_string(count) + " sales";
    Work& seconds = report.work(name, "s", "linear in changed pages");
    Work& bytes = report.work(name + ": stored", "MB");
    for (int round = 0; round <= bench.options.rounds; round++) {
      sell(till, till.db, {"--sales", std::to_string(count)});
      till.flush();
      settle_disk();
      const double before = till.stored_bytes();
      const double ours = till.back_up("incremental").seconds;
      const double stored = till.stored_bytes() - before, before_restic = restic->stored_bytes();
      settle_disk();
      const double theirs = restic->back_up(till.db).seconds;
      std::fprintf(stderr, "change rate, %ld sales, round %d: %.3f s, %.2f MB; restic %.2f s\n",
                   static_cast<long>(count), round, ours, stored / 1e6, theirs);
      if (round == 0) continue;
      seconds.add(kOurs, ours);
      seconds.add("restic", theirs);
      bytes.add(kOurs, stored / 1e6);
      bytes.add("restic", (restic->stored_bytes() - before_restic) / 1e6);
    }
  }
  till.stop_agent();
}

// Two drawings side by side, by gnuplot, out of the works above.
void plot_scaling(const Report& report, const std::string& path) {
  const TemporaryDirectory folder;
  const auto table = [&](const std::string& prefix, const std::string& before, const std::string& after,
                         const std::string& tool) -> std::optional<std::string> {
    std::string rows;
    for (auto& work : report.works()) {
      if (!work.name.starts_with(prefix) || !work.name.ends_with(after) || !work.values.contains(tool)) continue;
      const auto at = work.name.find(before) + before.size();
      rows += work.name.substr(at, work.name.size() - after.size() - at) + " " +
              std::to_string(median(work.values.at(tool))) + "\n";
    }
    if (rows.empty()) return std::nullopt;
    static int number = 0;
    const std::string file = folder / ("table" + std::to_string(++number));
    std::ofstream(file) << rows;
    return file;
  };
  struct Line {
    std::optional<std::string> file;
    std::string title;
  };
  const std::vector<Line> sizes{
      {table("scaling: FULL", ", ", " MB", kOurs), "tillsync FULL"},
      {table("scaling: INCREMENTAL", "sales, ", " MB", kOurs), "tillsync INCREMENTAL, 2,000 sales"},
      {table("scaling: INCREMENTAL", "sales, ", " MB", "restic"), "restic, 2,000 sales"}};
  const std::vector<Line> rates{{table("change rate: ", " of ", " sales", kOurs), "tillsync INCREMENTAL"},
                                {table("change rate: ", " of ", " sales", "restic"), "restic"}};
  std::string script =
      "set terminal svg size 1000,400 background 'white'\nset output '" + path +
      "'\nset multiplot layout 1,2\nset logscale xy\nset key left top\nset grid\nset ylabel 'seconds'\n";
  const auto draw = [&](const std::string& label, const std::vector<Line>& lines) {
    std::string parts;
    for (auto& line : lines)
      if (line.file)
        parts += (parts.empty() ? "" : ", ") + ("'" + *line.file) + "' with linespoints title '" + line.title + "'";
    if (!parts.empty()) script += "set xlabel '" + label + "'\nplot " + parts + "\n";
  };
  draw("size of the database, MB", sizes);
  draw("sales since the last backup", rates);
  script += "unset multiplot\n";
  std::ofstream(folder / "script") << script;
  run_measured({"gnuplot", folder / "script"});
}

}  // namespace tillsync::test
