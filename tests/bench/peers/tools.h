// What a shop would take otherwise: restic, BorgBackup, zstd, `sqlite3 .backup` with zstd, Litestream.
//
// Purpose: each peer as its users run it, with the settings nearest to tillsync's; what differs is said in
// `settings`, which the report prints. Errors: std::logic_error, as measured.h. Threads: one at a time per object.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/cli/child_process.h"
#include "bench/measured.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

// A program that is run for each backup, and ends.
class BackupTool {
 public:
  virtual ~BackupTool() = default;
  virtual std::string name() const = 0;
  virtual std::string version() const = 0;
  virtual std::string settings() const = 0;  // compression, encryption, durability
  virtual void begin() = 0;                  // an empty repository; not measured
  // The database at `path`, to which nobody writes, with its log.
  virtual Took back_up(const std::string& path) = 0;
  // The newest, into the folder `to`, which is not there yet.
  virtual Took restore(const std::string& to) = 0;
  virtual double stored_bytes() const = 0;
  // Whether a second backup takes what the first one has.
  virtual bool is_incremental() const { return true; }
};

// zstd -3 -T2 of the file, made durable.
std::unique_ptr<BackupTool> make_zstd();
// sqlite3 FILE ".backup COPY", then zstd as above.
std::unique_ptr<BackupTool> make_online_backup();
std::unique_ptr<BackupTool> make_restic();
std::unique_ptr<BackupTool> make_borg();

// Litestream, which follows: `litestream replicate` on a database of its own, into a folder.
class Litestream {
 public:
  // program: the binary.
  Litestream(std::string program, std::string database);
  ~Litestream();
  static std::string version(const std::string& program);
  static constexpr const char* kSettings = "LZ4, not encrypted, sync-interval 1s, files not synced to disk";

  void start();
  // Until the first snapshot is in the replica whole.
  void wait_for_snapshot();
  // Until the replica has everything of the database that was committed before the call.
  void wait_until_replicated();
  void stop();  // as it is told to: SIGINT
  pid_t pid() const { return process_.pid(); }
  double replica_bytes() const { return bytes_below(replica_); }
  Took restore(const std::string& to) const;

 private:
  std::string program_, database_, replica_, config_, log_;
  ChildProcess process_;
};

}  // namespace tillsync::test
