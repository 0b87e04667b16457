// state.db: everything the agent knows between two starts.
//
// Purpose: opens the agent's own database with numbered, checksummed migrations, and hands it out to one thread at a
// time. Layout: docs/formats.md, "state.db"; the SQL is in migrations.cpp. Durability: WAL, synchronous=NORMAL: a
// commit survives SIGKILL, and a power cut takes state.db back to an earlier commit, never to a mix. durable_commit()
// syncs; everything committed before it is durable with it. Errors: conflict (another agent holds it), schema (made by
// a newer tillsync), corrupt, no_space, denied. Threads: lease() from any thread; what a Lease gives out is used only
// while it lives.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "base/types.h"
#include "ports/clock.h"
#include "sqlite/connection.h"

namespace tillsync {

// The schema's version this program knows.
int state_schema_version_latest();

class StateDb {
 public:
  // path: made if missing. vfs: name of a FileVfs. Migrates to the latest version, each step in a transaction of its
  // own.
  static Result<std::unique_ptr<StateDb>> open(const std::string& path, const char* vfs, Clock& clock);

  const char* vfs() const { return vfs_; }

  class Lease {
   public:
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_; }

   private:
    friend class StateDb;
    Lease(std::unique_lock<std::recursive_mutex> lock, Connection& connection)
        : lock_(std::move(lock)), connection_(&connection) {}
    std::unique_lock<std::recursive_mutex> lock_;
    Connection* connection_;
  };
  Lease lease();

  // Makes everything committed so far durable: one fsync of the write-ahead log.
  Result<void> make_durable();
  int64_t durable_syncs() const { return durable_syncs_; }

  // While false no commit copies the write-ahead log into the database, which may wait for the disk; the first one
  // after it does.
  void allow_checkpoints(bool allowed);

  // Small settings: terminal id, counters.
  Result<std::optional<std::string>> setting(const std::string& key);
  Result<void> set_setting(const std::string& key, std::string_view value);

 private:
  StateDb() = default;
  std::recursive_mutex mutex_;
  Connection connection_;
  const char* vfs_ = nullptr;
  int64_t durable_syncs_ = 0;
};

// One row id for "number n of database d": database in the upper 15 bits, so that a range scan is one database's log.
constexpr int64_t scoped_id(int64_t database, uint64_t number) { return database << 48 | static_cast<int64_t>(number); }
constexpr int64_t database_of(int64_t scoped) { return scoped >> 48; }
constexpr uint64_t number_of(int64_t scoped) { return static_cast<uint64_t>(scoped) & ((uint64_t{1} << 48) - 1); }

}  // namespace tillsync
