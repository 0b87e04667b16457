// StoreCommands straight over an object store, without an agent, on any machine.
//
// Purpose: open_store_directly() goes into CliEnvironment::open_store. A restore is made and proven in the asked file,
// to which the caller gives its name afterwards. What lies beside it, and proofs of snapshots, are in a private
// temporary folder that is gone afterwards, whatever happened. Temporary folder: in $TMPDIR if that is set, else beside
// the file to be restored, else in the system's own. Errors: see store_commands.h. Threads: one at a time.
#pragma once

#include "agent/cli/store_commands.h"
#include "crypto/object_header.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "ports/object_store.h"
#include "snapshot/retention.h"
#include "sqlite/file_vfs.h"

namespace tillsync {

Result<std::unique_ptr<StoreCommands>> open_store_directly(const StoreAccess& access);

class DirectStore : public StoreCommands {
 public:
  DirectStore() : vfs_(files_, clock_, random_) {}
  // Opens the store and finds the terminal in it.
  Result<void> open(const StoreAccess& access);

  Result<Json> snapshots(const Json& params) override;
  Result<void> log(const Json& params, const Sink& sink) override;
  Result<Json> restore(const Json& params, int fd, const Progress& progress) override;
  Result<AssetSource> assets(const Json& params) override;
  Result<Json> verify(const Json& params, const Progress& progress) override;
  Result<Json> log_verify(const Json& params, const Progress& progress) override;
  Result<Json> prune(const Json& params, const Progress& progress) override;

 private:
  // The asked database, or all: in the newest epoch of each; and in all epochs, oldest first.
  Result<std::vector<Lineage>> databases(const Json& params);
  Result<std::vector<Lineage>> all_epochs(const Json& params);
  Result<Lineage> database(const Json& params);
  Result<void> verify_database(const Lineage& lineage, const Json& params, const Progress& progress, Json& snapshots);
  Result<void> log_verify_database(const Lineage& lineage, const Progress& progress, Json& result);

  Result<RetentionPolicy> retention_of(const std::string& database, const Json& params);

  LinuxFileSystem files_;
  SystemClock clock_;
  SystemRandom random_;
  FileVfs vfs_;
  std::shared_ptr<ObjectStore> store_;
  TerminalRef terminal_;
  RetentionPolicy configured_;
};

}  // namespace tillsync
