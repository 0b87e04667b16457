// Transfers over a store that takes parts, in memory and with a clock of its own.
#pragma once

#include <doctest/doctest.h>

#include "agent/daemon/log_shipper.h"
#include "crypto/hash.h"
#include "state/migrations.h"
#include "support/fake_clock.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "workflow/engine.h"

namespace tillsync::test {

using namespace std::chrono_literals;

// Takes objects in parts, as S3 does, and notes what came when.
class PartsStore : public MemoryObjectStore {
 public:
  static constexpr uint64_t kPart = 100;
  ObjectStoreProperties properties() const override {
    auto p = MemoryObjectStore::properties();
    p.resumable = true;
    p.part_size_bytes = kPart;
    return p;
  }
  Result<void> put(const std::string& key, ObjectSource& source,
                   const std::function<bool(uint64_t)>& progress) override {
    TILLSYNC_TRY(MemoryObjectStore::put(key, source, progress));
    order.push_back(key);
    return {};
  }
  Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                             const std::function<bool(uint64_t)>& progress) override {
    TILLSYNC_LET(auto known, journal.load(key));
    if (!known) {
      known = Upload{.key = key, .id = "id of " + key, .token = "t", .object_size = source.size(), .part_size = kPart};
      TILLSYNC_TRY(journal.begin(*known));
    }
    uint64_t sent = known->parts.size() * kPart;
    for (uint32_t number = static_cast<uint32_t>(known->parts.size()) + 1; sent < source.size(); number++) {
      if (progress && !progress(sent)) return Error{ErrorKind::cancelled, 0, "stopped"};
      if (parts_left == 0) return Error{ErrorKind::offline, 0, "the link is down"};
      parts_left--;
      parts_received++;
      if (on_part) on_part();
      const uint64_t size = std::min(kPart, source.size() - sent);
      Bytes part(size);
      TILLSYNC_TRY(source.read(sent, part));
      TILLSYNC_TRY(journal.part_done(key, known->id, {number, size, {}, "e"}));
      sent += size;
    }
    TILLSYNC_TRY(put(key, source, progress));
    return journal.forget(key);
  }
  Result<void> abandon(const std::string& key, UploadJournal& journal) override {
    if (!may_abandon) return Error{ErrorKind::denied, 403, "not allowed"};
    abandoned.push_back(key);
    return journal.forget(key);
  }

  uint64_t parts_left = UINT64_MAX, parts_received = 0;
  bool may_abandon = true;
  std::function<void()> on_part;
  std::vector<std::string> order, abandoned;
};

struct TransfersWorld {
  MemoryFileSystem files;
  FaultyFileSystem spool_files{files};  // through which what is sent is read
  FakeClock clock;
  const uint64_t seed = SeededRandom::seed_of_this_run();
  SeededRandom random{seed};
  FileVfs vfs{files, clock, random};
  PartsStore store;
  ObjectStore* used_store = &store;
  Config config = default_config();
  std::unique_ptr<StateDb> state;
  std::unique_ptr<WorkflowEngine> engine;
  std::unique_ptr<Transfers> transfers;
  std::unique_ptr<LogShipper> shipper;
  std::vector<Transfer> wanted;  // by the one step
  std::function<void()> while_waiting = [] { FAIL("it waits"); };

  TransfersWorld() {
    config.terminal.state_dir = "/state";
    files.add_directory("/state/spool");
    start();
    must(state->lease()->execute("INSERT INTO databases(id, name, path, created_at) VALUES(1, 'till', 'p', 0)"));
  }
  void start() {
    state = must(StateDb::open("/state/state.db", vfs.name(), clock));
    Services services;
    services.config = &config;
    services.files = &spool_files;
    services.clock = &clock;
    services.random = &random;
    services.vfs = &vfs;
    services.state = state.get();
    services.store = used_store;
    services.while_waiting = [this] { while_waiting(); };
    transfers = std::make_unique<Transfers>(services);
    shipper = std::make_unique<LogShipper>(services, std::vector<FollowedDatabase*>(), *transfers);
    engine = std::make_unique<WorkflowEngine>(*state, clock, random);
    engine->define(WorkflowType::backup,
                   {{"UPLOAD", SessionPhase::completing,
                     [this](StepContext& context) -> Result<Json> {
                       TILLSYNC_LET(const uint64_t sent, transfers->send(context, wanted));
                       context.on_commit([owner = context.workflow().str()](Connection& db) {
                         return forget_transfers_of(db, owner);
                       });
                       return Json(sent);
                     }}},
                   [this](const WorkflowRecord& ended) { transfers->drop(ended.uuid); });
  }
  void use(ObjectStore& other) {
    used_store = &other;
    shipper.reset();
    transfers.reset();
    engine.reset();
    state.reset();
    start();
  }
  // As a power cut: what is not durable is gone.
  void restart() {
    shipper.reset();
    transfers.reset();
    engine.reset();
    files.cut_power();
    state.reset();
    files.crash();
    start();
  }
  Transfer spool(Lane lane, const std::string& key, size_t size) {
    const std::string path = "/state/spool/" + key;
    auto pending = must(PendingFile::create(files, path, 0));
    must(pending.append(Bytes(size, static_cast<uint8_t>(key.size()))));
    must(pending.commit_new());
    return {.lane = lane, .database_id = 1, .key = key, .path = path, .size = size};
  }
  void queue_segment(const std::string& key) {
    const Transfer segment = spool(Lane::log, key, 30);
    must(queue_transfer(*state->lease(), segment, clock.now()));
  }
  Uuid begin() {
    WorkflowRequest request;
    request.type = WorkflowType::backup;
    return must(engine->create(request));
  }
  int64_t count(const std::string& sql) { return must(state->lease()->query_integer("SELECT count(*) FROM " + sql)); }
};

}  // namespace tillsync::test
