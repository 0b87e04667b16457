// What the parts of the agent share, built once by Agent and passed down.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/config/config.h"
#include "crypto/object_header.h"
#include "ports/change_notifier.h"
#include "ports/clock.h"
#include "ports/files.h"
#include "ports/folder.h"
#include "ports/object_store.h"
#include "ports/random.h"
#include "sqlite/file_vfs.h"
#include "state/state_db.h"

namespace tillsync {

class StorePlans;

struct Services {
  const Config* config = nullptr;
  FileSystem* files = nullptr;
  Clock* clock = nullptr;
  Random* random = nullptr;
  ChangeNotifierFactory* notifiers = nullptr;
  FileVfs* vfs = nullptr;
  StateDb* state = nullptr;
  ObjectStore* store = nullptr;
  Folders* folders = nullptr;
  // Which processes hold locks on a database, in words; may be empty.
  std::function<std::string(const std::string& path)> who_holds;
  TerminalRef terminal;  // with its keys, when it is sealed
  uint64_t epoch = 1;
  StorePlans* plans = nullptr;
  // What a step does while it waits for capture or the log shipper. Empty: their threads do the work, and it sleeps.
  // Who runs all of the agent on one thread, as tests do, lets them do a round here.
  std::function<void()> while_waiting = {};
  std::function<Result<void>(const std::string& path)> may_open = {};  // Capturer::Setup

  // It seals for others only: what is in the store it can't read.
  bool is_write_only() const { return terminal.keys && !terminal.keys->can_open(); }
  // Says whether objects are sealed for the same keys; empty: they are not sealed.
  std::string sealed_for() const { return terminal.keys ? terminal.keys->recipients_digest().hex() : std::string(); }
  std::string spool_folder() const { return config->terminal.state_dir + "/spool"; }
  // What was in a database before a restore in place.
  std::string safety_folder() const { return config->terminal.state_dir + "/safety"; }
  std::string staging_folder() const { return config->terminal.state_dir + "/staging"; }
  // Of a write-only terminal: what it has to know of its own snapshots.
  std::string manifests_folder() const { return config->terminal.state_dir + "/manifests"; }
  Lineage lineage(const std::string& database) const { return {terminal.id, database, epoch, terminal.keys}; }
};

}  // namespace tillsync
