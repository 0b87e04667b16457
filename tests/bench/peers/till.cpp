#include "till.h"

#include <stdexcept>

namespace tillsync::test {

namespace fs = std::filesystem;

const std::string& Databases::of(int64_t megabytes) {
  if (auto known = paths_.find(megabytes); known != paths_.end()) return known->second;
  const std::string path = folder_ / (std::to_string(megabytes) + ".db");
  std::fprintf(stderr, "making a database of %ld MB\n", static_cast<long>(megabytes));
  const fs::path bin = fs::read_symlink("/proc/self/exe").parent_path();
  // By pieces: how much a sale adds depends on how many there were.
  int64_t sales = 0;
  do {
    const auto now = fs::exists(path) ? static_cast<int64_t>(fs::file_size(path)) : 0;
    const int64_t piece = sales == 0 ? 10000 : std::max<int64_t>(1000, (megabytes * 1000000 - now) * sales / now);
    run_measured({bin / "pos_writer", "--db", path, "--synchronous", "OFF", "--products", "10000", "--sales",
                  std::to_string(piece)});
    sales += piece;
  } while (static_cast<int64_t>(fs::file_size(path)) < megabytes * 990000);
  return paths_[megabytes] = path;
}

Json sell(const World& world, const std::string& path, const std::vector<std::string>& options) {
  std::vector<std::string> words{world.bin + "/pos_writer", "--db", path, "--products", "10000"};
  words.insert(words.end(), options.begin(), options.end());
  return Json::parse(output_of(words));
}

FollowedTill::FollowedTill(const std::string& database, const std::string& flush, const std::string& more)
    : World("", flush) {
  write_config("[metrics]\nlisten = \"unix:" + (folder / "metrics.sock") + "\"\n" + more);
  fs::copy_file(database, db);
}

void FollowedTill::follow() {
  start_agent();
  flush();
}

Took FollowedTill::with_agent(const std::vector<std::string>& words) {
  forget_peak(agent.pid());
  const double cpu = cpu_seconds_in_ticks(agent.pid());
  Took took = run_measured(words);
  took.cpu += cpu_seconds_in_ticks(agent.pid()) - cpu;
  took.peak_kib = std::max(took.peak_kib, memory_kib(agent.pid(), "VmHWM"));
  return took;
}

Took FollowedTill::back_up(const std::string& type) {
  // Every block is sent: a second FULL has nothing for granted either.
  std::vector<std::string> words{bin + "/tillsync", "--config", config, "backup", "--type", type, "--wait"};
  if (type == "full") words.push_back("--no-dedup");
  return with_agent(words);
}

Took FollowedTill::restore(const std::string& to, const std::vector<std::string>& which) {
  std::vector<std::string> words{bin + "/tillsync", "--config", config, "restore", "--to", to};
  words.insert(words.end(), which.begin(), which.end());
  return with_agent(words);
}

Json FollowedTill::json_of(std::vector<std::string> words) {
  words.insert(words.begin(), {bin + "/tillsync", "--config", config, "--json"});
  return Json::parse(output_of(words));
}

double FollowedTill::sent_bytes() const {
  const std::string page =
      output_of({"curl", "-sSf", "--unix-socket", folder / "metrics.sock", "http://localhost/metrics"});
  const std::string name = "\ntillsync_store_sent_bytes_total ";
  const auto at = page.find(name);
  if (at == std::string::npos) throw std::logic_error("no sent bytes in the metrics:\n" + page);
  return std::stod(page.substr(at + name.size()));
}

}  // namespace tillsync::test
