#include "tools.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "sqlite/connection.h"
#include "support/results.h"

namespace tillsync::test {

namespace fs = std::filesystem;

namespace {

std::string first_word_with_digits(const std::string& text) {
  std::istringstream in(text);
  for (std::string word; in >> word;)
    if (word.find_first_of("0123456789") != std::string::npos && word.find('.') != std::string::npos) {
      if (word.starts_with("v")) word.erase(0, 1);
      if (word.ends_with(",")) word.pop_back();
      return word;
    }
  return "?";
}

std::vector<std::string> with_log(const std::string& path) {
  std::vector<std::string> files{path};
  if (fs::exists(path + "-wal")) files.push_back(path + "-wal");
  return files;
}

void empty_folder(const std::string& path) {
  fs::remove_all(path);
  fs::create_directories(path);
}

class Zstd : public BackupTool {
 public:
  std::string name() const override { return "zstd -3 -T2"; }
  std::string version() const override { return first_word_with_digits(output_of({"zstd", "--version"})); }
  std::string settings() const override { return "zstd level 3 on two threads, not encrypted, synced to disk"; }
  void begin() override { empty_folder(store_); }
  Took back_up(const std::string& path) override {
    return run_measured(
        {"sh", "-c", R"sh(zstd -q -3 -T2 "$1" -o "$2" && sync "$2" "$(dirname "$2")")sh", "sh", path, out_});
  }
  Took restore(const std::string& to) override {
    fs::create_directories(to);
    return run_measured({"sh", "-c", R"sh(zstd -q -d "$1" -o "$2" && sync "$2")sh", "sh", out_, to + "/pos.db"});
  }
  double stored_bytes() const override { return bytes_below(store_); }
  bool is_incremental() const override { return false; }

 protected:
  TemporaryDirectory folder_;
  std::string store_ = folder_ / "store", out_ = store_ + "/pos.db.zst";
};

class OnlineBackup : public Zstd {
 public:
  std::string name() const override { return ".backup, zstd"; }
  std::string version() const override { return first_word_with_digits(output_of({"sqlite3", "--version"})); }
  std::string settings() const override { return "as zstd, of a copy by SQLite's backup API"; }
  Took back_up(const std::string& path) override {
    const std::string copy = folder_ / "copy.db";
    fs::remove(copy);
    Took took = run_measured({"sh", "-c", R"sh(sqlite3 "$1" ".backup '$3'" && zstd -q -3 -T2 "$3" -o "$2" &&
      sync "$2" "$(dirname "$2")" && rm "$3")sh",
                              "sh", path, out_, copy});
    return took;
  }
};

class Restic : public BackupTool {
 public:
  std::string name() const override { return "restic"; }
  std::string version() const override { return first_word_with_digits(output_of({"restic", "version"})); }
  std::string settings() const override { return "compression auto (zstd), encrypted, synced to disk, no cache"; }
  void begin() override {
    fs::remove_all(store_);
    run({"init", "--repository-version", "2"});
  }
  Took back_up(const std::string& path) override {
    std::vector<std::string> words{"backup", "--host", "till"};
    for (auto& file : with_log(path)) words.push_back(file);
    return run(words);
  }
  Took restore(const std::string& to) override { return run({"restore", "latest", "--target", to}); }
  double stored_bytes() const override { return bytes_below(store_); }

 private:
  Took run(std::vector<std::string> words) const {
    words.insert(words.begin(), {"restic", "-q", "--no-cache", "-r", store_});
    return run_measured(words, {{"RESTIC_PASSWORD", "bench"}});
  }
  TemporaryDirectory folder_;
  std::string store_ = folder_ / "store";
};

class Borg : public BackupTool {
 public:
  std::string name() const override { return "borg"; }
  std::string version() const override { return first_word_with_digits(output_of({"borg", "--version"})); }
  std::string settings() const override { return "zstd level 3, repokey-blake2, synced to disk"; }
  void begin() override {
    fs::remove_all(store_);
    fs::remove_all(folder_ / "base");
    run({"init", "-e", "repokey-blake2", store_});
  }
  Took back_up(const std::string& path) override {
    std::vector<std::string> words{"create", "--compression", "zstd,3", store_ + "::" + std::to_string(++number_)};
    for (auto& file : with_log(path)) words.push_back(file);
    return run(words);
  }
  // It extracts into the current folder.
  Took restore(const std::string& to) override {
    fs::create_directories(to);
    return run_measured(
        {"sh", "-c", R"sh(cd "$1" && exec borg extract "$2")sh", "sh", to, store_ + "::" + std::to_string(number_)},
        variables());
  }
  double stored_bytes() const override { return bytes_below(store_); }

 private:
  std::vector<std::pair<std::string, std::string>> variables() const {
    return {{"BORG_PASSPHRASE", "bench"}, {"BORG_BASE_DIR", folder_ / "base"}};
  }
  Took run(std::vector<std::string> words) const {
    words.insert(words.begin(), "borg");
    return run_measured(words, variables());
  }
  TemporaryDirectory folder_;
  std::string store_ = folder_ / "store";
  int number_ = 0;
};

}  // namespace

std::unique_ptr<BackupTool> make_zstd() { return std::make_unique<Zstd>(); }
std::unique_ptr<BackupTool> make_online_backup() { return std::make_unique<OnlineBackup>(); }
std::unique_ptr<BackupTool> make_restic() { return std::make_unique<Restic>(); }
std::unique_ptr<BackupTool> make_borg() { return std::make_unique<Borg>(); }

Litestream::Litestream(std::string program, std::string database)
    : program_(std::move(program)),
      database_(std::move(database)),
      replica_(database_ + ".replica"),
      config_(database_ + ".yml"),
      log_(database_ + ".log") {
  std::ofstream out(config_, std::ios::trunc);
  // No validation, no retention run within a measurement: their defaults are longer than one.
  out << "dbs:\n  - path: " << database_ << "\n    replicas:\n      - type: file\n        path: " << replica_
      << "\n        sync-interval: 1s\n";
}

Litestream::~Litestream() { process_.kill(); }

std::string Litestream::version(const std::string& program) {
  return first_word_with_digits(output_of({program, "version"}));
}

void Litestream::start() { process_ = must(ChildProcess::start({program_, "replicate", "-config", config_}, log_)); }

// Polls: what is waited for happens in another process, which tells nobody.
static void until(const std::string& what, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(10);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) throw std::logic_error("never happened: " + what);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void Litestream::wait_for_snapshot() {
  until("Litestream's snapshot", [&] {
    if (!process_.is_running()) throw std::logic_error("litestream ended: see " + log_);
    std::error_code gone;
    for (fs::recursive_directory_iterator at(replica_, gone), end; !gone && at != end; at.increment(gone))
      if (at->path().string().ends_with(".snapshot.lz4")) return true;
    return false;
  });
}

// The shadow log and the replica have the same length once all is sent; a sale is in the shadow log after at most one
// of its rounds of a second. So: no growth of the replica over three rounds.
void Litestream::wait_until_replicated() {
  double last = -1;
  auto since = std::chrono::steady_clock::now();
  until("Litestream's replica stands still", [&] {
    const double now = replica_bytes();
    if (now != last) {
      last = now;
      since = std::chrono::steady_clock::now();
    }
    return std::chrono::steady_clock::now() - since > std::chrono::seconds(3);
  });
}

void Litestream::stop() {
  process_.signal(SIGINT);
  must(process_.wait(std::chrono::seconds(30), [] { return false; }));
}

Took Litestream::restore(const std::string& to) const {
  return run_measured({program_, "restore", "-config", config_, "-o", to, database_});
}

}  // namespace tillsync::test
