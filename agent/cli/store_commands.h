// The commands that work without an agent, straight from a store.
//
// Purpose: the command line asks through this; what implements it knows stores, keys and restores. Params and documents
// are those of docs/control-protocol.md, so that one rendering serves both ways. Errors: offline for a store that can't
// be reached, corrupt for data that does not match its proof, denied for a key that does not open it, not_found,
// cancelled when a progress callback answers false. Threads: one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/config/config.h"
#include "agent/control/message.h"
#include "assets/asset_reference.h"
#include "base/result.h"

namespace tillsync {

// The file assets of a snapshot, and where to read them.
struct AssetSource {
  TerminalRef terminal;
  std::vector<AssetReference> assets;
  std::shared_ptr<ObjectStore> store;
};

class StoreCommands {
 public:
  // {step, percent, bytes, items, rate, eta_ms}; false: stop.
  using Progress = std::function<bool(const Json&)>;
  // One action; an error stops and is handed back.
  using Sink = std::function<Result<void>(const Json&)>;

  virtual ~StoreCommands() = default;
  // {database?} → [snapshot, …]
  virtual Result<Json> snapshots(const Json& params) = 0;
  // {database?, table?, entity?, from?, to?, since?} → every action in order of sequence.
  virtual Result<void> log(const Json& params, const Sink& sink) = 0;
  // {database?, snapshot?|at?|sequence?|transaction?, keep_going?, no_integrity_check?}: writes the proven database to
  // `fd`, an empty file open for reading and writing; → the document of `restore --json`.
  virtual Result<Json> restore(const Json& params, int fd, const Progress& progress) = 0;
  // {database?, snapshot}
  virtual Result<AssetSource> assets(const Json& params) = 0;
  // {database?, snapshot?, data} → {ok, snapshots: [{uuid, ok, error?}]}; what does not match is in the document, an
  // Error is for what could not be looked at.
  virtual Result<Json> verify(const Json& params, const Progress& progress) = 0;
  // {database?} → {ok, segments: [{key, ok, error?}], problems: [text]}
  virtual Result<Json> log_verify(const Json& params, const Progress& progress) = 0;
  // {database?, dry_run, retention?} → {dry_run, databases: […]}. Without retention what the newest snapshot of the
  // terminal says of it counts, and only then the configuration. Packs without a manifest go when they are a week old:
  // whether their backup is still under way is not known here.
  virtual Result<Json> prune(const Json& params, const Progress& progress) = 0;
};

struct StoreAccess {
  Config config;         // with its store section; store.url is what --store said, if it was given
  std::string terminal;  // id or name; empty: the one that config names
  std::string key;       // file; empty: what config and state_dir have
};
using OpenStoreCommands = std::function<Result<std::unique_ptr<StoreCommands>>(const StoreAccess&)>;

}  // namespace tillsync
