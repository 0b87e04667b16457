#include <optional>

#include "tools.h"
#include "works.h"

namespace tillsync::test {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kSales = 2000;

std::string size_name(int64_t megabytes) { return std::to_string(megabytes) + " MB"; }

struct Measures {
  Work &seconds, &cpu, &peak;
  Measures(Report& report, const std::string& what, const std::string& target)
      : seconds(report.work(what, "s", target)),
        cpu(report.work(what + ": CPU", "s")),
        peak(report.work(what + ": peak memory", "MiB")) {}
  void add(int round, const std::string& tool, const Took& took) {
    std::fprintf(stderr, "%s, round %d, %s: %.2f s, CPU %.2f s, %.0f MiB\n", seconds.name.c_str(), round, tool.c_str(),
                 took.seconds, took.cpu, took.peak_kib / 1024);
    if (round == 0) return;
    seconds.add(tool, took.seconds);
    cpu.add(tool, took.cpu);
    peak.add(tool, took.peak_kib / 1024);
  }
};

// A first snapshot by Litestream of a database nobody has followed yet.
Took litestream_snapshot(Bench& bench, const std::string& base) {
  const TemporaryDirectory folder;
  const std::string path = folder / "pos.db";
  fs::copy_file(base, path);
  Litestream litestream(bench.options.litestream, path);
  settle_disk();
  const auto start = std::chrono::steady_clock::now();
  litestream.start();
  litestream.wait_for_snapshot();
  Took took;
  took.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  took.cpu = cpu_seconds_in_ticks(litestream.pid());
  took.peak_kib = memory_kib(litestream.pid(), "VmHWM");
  litestream.stop();
  return took;
}

// As the other tools begin with an empty repository: what earlier rounds stored is gone, from the disk and from memory.
void forget_packs(const FollowedTill& till) {
  for (auto& entry : fs::recursive_directory_iterator(till.store))
    if (entry.path().extension() == ".pack") fs::remove(entry.path());
}

}  // namespace

void compare_snapshots(Bench& bench) {
  auto& report = bench.report;
  const std::string& base = bench.databases.of(bench.options.megabytes);
  const std::string size = size_name(bench.options.megabytes);
  std::vector<std::unique_ptr<BackupTool>> tools;
  tools.push_back(make_zstd());
  tools.push_back(make_online_backup());
  tools.push_back(make_restic());
  tools.push_back(make_borg());
  for (auto& tool : tools) {
    report.version(tool->name(), tool->version());
    report.setting(tool->name(), tool->settings());
  }
  report.setting(kOurs, FollowedTill::kSettings);

  Measures full(report, "FULL, " + size, "1.1 × zstd; 1/2.5 of restic, borg, Litestream");
  Work& full_bytes = report.work("FULL, " + size + ": stored", "MB");
  Measures incremental(report, "INCREMENTAL, " + size + ", 2,000 sales", "0.2 s");
  Work& incremental_bytes =
      report.work("INCREMENTAL, " + size + ", 2,000 sales: stored", "MB", "1/40 of restic's and borg's");
  Measures restore(report, "restore of the newest, " + size, "0.75 × restic; 1/4 of Litestream");
  full_bytes.notes.push_back(
      "a FULL of tillsync is read from the followed database while it may be sold into; zstd, "
      "restic and borg read files at rest, and would store a torn database otherwise");
  restore.seconds.notes.push_back(
      "tillsync's restore ends with the proof of every table by its digest; restic and borg check their blocks, zstd "
      "and Litestream the frames' checksums. Without SQLite's own check, as all of them; with it in a row of its own");

  FollowedTill till(base);
  till.follow();
  // Litestream's replica for the restores.
  const TemporaryDirectory theirs;
  std::optional<Litestream> litestream;
  if (!bench.options.litestream.empty()) {
    report.version("Litestream", Litestream::version(bench.options.litestream));
    report.setting("Litestream", Litestream::kSettings);
    fs::copy_file(base, theirs / "pos.db");
  }
  for (int round = 0; round <= bench.options.rounds; round++) {
    forget_packs(till);
    settle_disk();
    const double before = till.stored_bytes();
    full.add(round, kOurs, till.back_up("full"));
    if (round > 0) full_bytes.add(kOurs, (till.stored_bytes() - before) / 1e6);
    for (auto& tool : tools) {
      tool->begin();
      const double empty = tool->stored_bytes();
      settle_disk();
      full.add(round, tool->name(), tool->back_up(till.db));
      if (round > 0) full_bytes.add(tool->name(), (tool->stored_bytes() - empty) / 1e6);
    }
    if (!bench.options.litestream.empty()) full.add(round, "Litestream", litestream_snapshot(bench, base));
  }
  if (!bench.options.litestream.empty()) {
    litestream.emplace(bench.options.litestream, theirs / "pos.db");
    litestream->start();
    litestream->wait_for_snapshot();
  }
  for (int round = 0; round <= bench.options.rounds; round++) {
    for (const std::string& path : {till.db, theirs / "pos.db"})
      if (path == till.db || litestream) sell(till, path, {"--sales", std::to_string(kSales)});
    till.flush();
    // Its log stays where it is while the tools read: the last connection that closes would take it along.
    auto application = till.application();
    must(application.execute("PRAGMA wal_checkpoint(PASSIVE)"));
    settle_disk();
    const double before = till.stored_bytes();
    incremental.add(round, kOurs, till.back_up("incremental"));
    if (round > 0) incremental_bytes.add(kOurs, (till.stored_bytes() - before) / 1e6);
    for (auto& tool : tools) {
      if (!tool->is_incremental()) continue;
      const double stored = tool->stored_bytes();
      settle_disk();
      incremental.add(round, tool->name(), tool->back_up(till.db));
      if (round > 0) incremental_bytes.add(tool->name(), (tool->stored_bytes() - stored) / 1e6);
    }
  }
  if (litestream) {
    litestream->wait_until_replicated();
    litestream->stop();
  }
  for (int round = 0; round <= bench.options.rounds; round++) {
    const auto fresh = [&](const auto& run, const std::string& tool) {
      const TemporaryDirectory to;
      settle_disk();
      restore.add(round, tool, run(to.path()));
    };
    fresh([&](const std::string& to) { return till.restore(to + "/pos.db", {"--no-integrity-check"}); }, kOurs);
    fresh([&](const std::string& to) { return till.restore(to + "/pos.db"); },
          std::string(kOurs) + ", with integrity_check");
    for (auto& tool : tools) fresh([&](const std::string& to) { return tool->restore(to + "/out"); }, tool->name());
    if (litestream) fresh([&](const std::string& to) { return litestream->restore(to + "/pos.db"); }, "Litestream");
  }
  till.stop_agent();
}

// The time that the log costs: a restore of the snapshot alone, and one with the log after it.
void compare_replay(Bench& bench) {
  constexpr int64_t kAfter = 20000;
  auto& report = bench.report;
  const std::string& base = bench.databases.of(bench.options.megabytes);
  const std::string size = size_name(bench.options.megabytes);
  Work& rate = report.work("replay of 20,000 sales, " + size, "row changes/s", "300,000");
  Measures restore(report, "restore with 20,000 sales after the snapshot, " + size, "");

  FollowedTill till(base);
  till.follow();
  till.back_up("full");
  const auto before = till.flush()["sequence"].get<int64_t>();
  const std::string snapshot = till.json_of({"snapshots"}).back().at("uuid");
  const TemporaryDirectory theirs;
  std::optional<Litestream> litestream;
  if (!bench.options.litestream.empty()) {
    fs::copy_file(base, theirs / "pos.db");
    litestream.emplace(bench.options.litestream, theirs / "pos.db");
    litestream->start();
    litestream->wait_for_snapshot();
    sell(till, theirs / "pos.db", {"--sales", std::to_string(kAfter)});
    litestream->wait_until_replicated();
    litestream->stop();
  }
  sell(till, till.db, {"--sales", std::to_string(kAfter)});
  const auto changes = till.flush()["sequence"].get<int64_t>() - before;
  rate.notes.push_back(std::to_string(changes) +
                       " row changes; the time is that of the restore less that of a restore "
                       "of the snapshot alone, in the same round");
  for (int round = 0; round <= bench.options.rounds; round++) {
    const auto fresh = [&](const auto& run) {
      const TemporaryDirectory to;
      settle_disk();
      return run(to / "pos.db");
    };
    const Took alone = fresh([&](const std::string& to) {
      return till.restore(to, {"--snapshot", snapshot, "--no-integrity-check"});
    });
    const Took all = fresh([&](const std::string& to) { return till.restore(to, {"--no-integrity-check"}); });
    restore.add(round, kOurs, all);
    std::fprintf(stderr, "%s, round %d: %.2f s of it are the snapshot's\n", rate.name.c_str(), round, alone.seconds);
    if (round > 0) rate.add(kOurs, static_cast<double>(changes) / std::max(1e-3, all.seconds - alone.seconds));
    if (litestream)
      restore.add(round, "Litestream", fresh([&](const std::string& to) { return litestream->restore(to); }));
  }
  till.stop_agent();
}

}  // namespace tillsync::test
