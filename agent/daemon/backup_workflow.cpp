#include "agent/daemon/backup_workflow.h"

#include "agent/config/retention_policy.h"
#include "agent/daemon/own_manifests.h"
#include "agent/daemon/wait_for.h"
#include "agent/logging/log.h"
#include "snapshot/builder.h"
#include "state/full_due.h"
#include "version.h"

namespace tillsync {

BackupWorkflow::BackupWorkflow(const Services& services, std::vector<FollowedDatabase*> databases, LogShipper& shipper,
                               Transfers& transfers)
    : services_(services),
      databases_(std::move(databases)),
      shipper_(shipper),
      transfers_(transfers),
      assets_(services) {}

void BackupWorkflow::define(WorkflowEngine& engine) {
  auto step = [this](const char* type, SessionPhase phase, Result<Json> (BackupWorkflow::*run)(StepContext&)) {
    return StepDefinition{type, phase, [this, run](StepContext& context) { return (this->*run)(context); }};
  };
  engine.define(WorkflowType::backup,
                {
                    step("INITIALIZE_BACKUP", SessionPhase::initializing, &BackupWorkflow::initialize),
                    step("CAPTURE_ENTITY_UUIDS", SessionPhase::capturing, &BackupWorkflow::count_entities),
                    step("CAPTURE_TABLE_DATA", SessionPhase::capturing, &BackupWorkflow::capture_pages),
                    step("CAPTURE_ACTION_LOG", SessionPhase::capturing, &BackupWorkflow::capture_log),
                    step("CAPTURE_CONFIGURATION", SessionPhase::capturing, &BackupWorkflow::capture_configuration),
                    step("CREATE_SNAPSHOT", SessionPhase::processing, &BackupWorkflow::create_snapshot),
                    step("UPLOAD", SessionPhase::completing, &BackupWorkflow::upload),
                    step("VALIDATE_SNAPSHOT", SessionPhase::completing, &BackupWorkflow::validate),
                },
                [this](const WorkflowRecord& workflow) { clean_up(workflow); });
}

void BackupWorkflow::remove_spooled(const Json& captured, const Json& configuration, const Json& created) {
  auto remove = [this](const Json& path) { (void)services_.files->remove(path.get<std::string>()).has_value(); };
  if (captured.contains("packs"))
    for (auto& pack : captured["packs"]) remove(pack.at("path"));
  if (captured.contains("draft")) remove(captured["draft"]);
  if (created.contains("manifest")) remove(created["manifest"]);
  if (configuration.contains("asset_objects")) assets_.remove_spooled(configuration);
}

void BackupWorkflow::clean_up(const WorkflowRecord& workflow) {
  Json captured, configuration, created;
  for (auto& step : workflow.steps) {
    if (step.status != StepStatus::completed) continue;
    if (step.type == "CAPTURE_TABLE_DATA") captured = step.data;
    if (step.type == "CAPTURE_CONFIGURATION") configuration = step.data;
    if (step.type == "CREATE_SNAPSHOT") created = step.data;
  }
  transfers_.drop(workflow.uuid);
  remove_spooled(captured, configuration, created);
  auto db = services_.state->lease();
  auto row = db->prepare("DELETE FROM snapshots WHERE uuid=? AND NOT is_complete");
  if (row) (void)row->bind(1, workflow.data.at("snapshot_uuid").get<std::string>()).run().has_value();
}

Result<WorkflowRequest> BackupWorkflow::request(const Request& wanted, Uuid& snapshot) {
  FollowedDatabase* database = nullptr;
  for (auto* candidate : databases_)
    if (candidate->config().name == wanted.database) database = candidate;
  if (!database)
    return Error{ErrorKind::usage, 0, "there is no database '" + wanted.database + "' in the configuration"};
  snapshot = make_uuid_v7(*services_.clock, *services_.random);
  WorkflowRequest request;
  request.type = WorkflowType::backup;
  request.name = "backup of " + wanted.database;
  request.data = {{"database", wanted.database},       {"type", wanted.type},   {"name", wanted.name},
                  {"description", wanted.description}, {"dedup", wanted.dedup}, {"snapshot_uuid", snapshot.str()},
                  {"epoch", services_.epoch}};
  request.backup = BackupSession{database->id()};
  return request;
}

Result<FollowedDatabase*> BackupWorkflow::database_of(const StepContext& context) {
  std::string name = context.data().at("database");
  const uint64_t epoch = context.data().value("epoch", uint64_t{1});
  if (epoch != services_.epoch)
    return Error{ErrorKind::conflict, 0,
                 "this backup was begun in epoch " + std::to_string(epoch) + ", and the terminal is in epoch " +
                     std::to_string(services_.epoch) + " now; a FULL of it is made"};
  for (auto* database : databases_)
    if (database->config().name == name) return database;
  return Error{ErrorKind::usage, 0, "database '" + name + "' is no longer in the configuration"};
}

Result<Json> BackupWorkflow::initialize(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  std::string type = context.data().at("type");
  auto db = services_.state->lease();
  auto newest = [&](const char* only) -> Result<std::string> {
    TILLSYNC_LET(auto query,
                 db->prepare(std::string("SELECT uuid FROM snapshots WHERE database_id=? AND epoch=? AND is_complete "
                                         "AND damage IS NULL") +
                             only + " ORDER BY sequence DESC, captured_at DESC, uuid DESC LIMIT 1"));
    query.bind(1, database->id()).bind(2, services_.epoch);
    TILLSYNC_LET(bool found, query.step());
    return found ? query.text(0) : std::string();
  };
  TILLSYNC_LET(std::string parent, newest(""));
  TILLSYNC_LET(std::string full, newest(" AND snapshot_type='FULL'"));
  std::string note;
  if (type.empty()) type = parent.empty() ? "FULL" : "INCREMENTAL";
  if (type != "FULL" && full.empty()) {
    note = "a FULL was made instead: there is no complete one yet to go on from";
    type = "FULL";
  }
  return Json{{"type", type},
              {"from", type == "INCREMENTAL"    ? parent
                       : type == "DIFFERENTIAL" ? full
                                                : ""},
              {"parent", parent},
              {"sealed_for", services_.sealed_for()},
              {"note", note}};
}

Result<Json> BackupWorkflow::count_entities(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  auto db = services_.state->lease();
  TILLSYNC_LET(int64_t entities, db->query_integer("SELECT count(*) FROM entity_uuids e JOIN tracked_tables t ON "
                                                   "t.id=e.table_id WHERE NOT e.deleted AND t.database_id=" +
                                                   std::to_string(database->id())));
  return Json{{"entity_uuid_count", entities}};
}

// Every pack of the manifest is in the store. One of ours that went meanwhile is sent again; with one of an earlier
// snapshot gone this one can't be completed, and the next backup does without that pack.
Result<void> BackupWorkflow::check_packs(const Json& captured, int64_t database) {
  for (auto& key : captured.at("refers")) {
    auto there = services_.store->head(key);
    if (there) continue;
    if (there.error().kind != ErrorKind::not_found) return std::move(there).error();
    const Json* ours = nullptr;
    for (auto& pack : captured.at("packs"))
      if (pack.at("key") == key) ours = &pack;
    if (!ours) {
      TILLSYNC_TRY(forget_pack(database, key));
      return Error{
          ErrorKind::corrupt, 0,
          key.get<std::string>() +
              ": it was removed from the store while this snapshot was made, which refers to it; make another"};
    }
    TILLSYNC_LET(auto source, FileSource::open(*services_.files, ours->at("path")));
    TILLSYNC_TRY(transfers_.put_now(key, *source));
  }
  return {};
}

Result<Json> BackupWorkflow::capture_log(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  Sequence sequence = context.result("CAPTURE_TABLE_DATA").at("sequence");
  auto promise = std::make_shared<std::promise<bool>>();
  auto future = promise->get_future();
  shipper_.when_durable(database->id(), sequence, [promise] { promise->set_value(true); });
  TILLSYNC_LET(bool durable, wait_for(services_, context, std::move(future)));
  return Json{{"durable", durable}, {"sequence", sequence}};
}

// What a restored till needs besides its rows: how this database was followed, and the files of its assets.
Result<Json> BackupWorkflow::capture_configuration(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  const DatabaseConfig& config = database->config();
  Json result;
  result["configuration"] = {{"database", config.name},
                             {"path", config.path},
                             {"user_column", config.user_column},
                             {"schema_version", config.schema_version},
                             {"tillsync_version", TILLSYNC_VERSION},
                             {"file", services_.config->file},
                             {"text", services_.config->text},
                             // Who prunes the store from elsewhere goes by it.
                             {"retention", to_json(policy_of(services_.config->retention))}};
  TILLSYNC_TRY(assets_.capture(context, context.data().at("dedup").get<bool>(), result));
  return result;
}

Result<Json> BackupWorkflow::create_snapshot(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  const Json& captured = context.result("CAPTURE_TABLE_DATA");
  TILLSYNC_LET(Bytes draft, read_file(*services_.files, captured.at("draft"), uint64_t{1} << 30));
  std::string key = captured.at("manifest_key");
  Lineage clear = database->lineage();
  clear.keys.reset();
  TILLSYNC_LET(Manifest m, Manifest::decode(draft, key, clear));
  m.lineage = database->lineage();
  m.configuration = context.result("CAPTURE_CONFIGURATION").at("configuration");
  m.assets = context.result("CAPTURE_CONFIGURATION").at("assets");
  Bytes final_bytes = m.encode(*services_.random);
  std::string path = services_.spool_folder() + "/" + m.uuid.str() + ".manifest";
  TILLSYNC_TRY(spool(path, final_bytes));
  TILLSYNC_TRY(keep_own_manifest(services_, m));
  context.set_snapshot(m.uuid);
  Json counts = Json::object();
  for (auto& table : m.tables) counts[table.name] = table.rows;
  context.on_commit(
      [m, key, counts, id = database->id(), now = to_ms(services_.clock->now())](Connection& db) -> Result<void> {
        TILLSYNC_LET(
            auto insert,
            db.prepare("INSERT OR REPLACE INTO snapshots(uuid, database_id, epoch, name, description, snapshot_type, "
                       "parent_uuid, base_uuid, sequence, transaction_no,"
                       " generation, captured_at, schema_version, app_version, checksum, size, stored_bytes, "
                       "table_counts, action_log_count, entity_uuid_count,"
                       " manifest_key, created_at, updated_at, damage) "
                       "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
        std::optional<std::string> parent, base, damage;
        if (m.is_page_level()) damage = m.damage;
        if (m.parent) parent = m.parent->str();
        if (m.base) base = m.base->str();
        insert.bind(1, m.uuid.str())
            .bind(2, id)
            .bind(3, m.lineage.epoch)
            .bind(4, m.name)
            .bind(5, m.description)
            .bind(6, to_string(m.type));
        insert.bind(7, parent)
            .bind(8, base)
            .bind(9, m.sequence)
            .bind(10, m.transaction)
            .bind(11, m.generation)
            .bind(12, to_ms(m.captured_at));
        insert.bind(13, m.schema_version)
            .bind(14, m.app_version)
            .bind(15, m.checksum.hex())
            .bind(16, m.size)
            .bind(17, m.stored_bytes)
            .bind(18, counts.dump());
        insert.bind(19, m.action_log_count)
            .bind(20, m.entity_uuid_count)
            .bind(21, key)
            .bind(22, to_ms(m.created_at))
            .bind(23, now)
            .bind(24, damage);
        return insert.run();
      });
  return Json{{"manifest", path}, {"checksum", m.checksum.hex()}};
}

Result<Json> BackupWorkflow::upload(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  const Json& captured = context.result("CAPTURE_TABLE_DATA");
  std::vector<Transfer> transfers;
  for (auto& pack : captured.at("packs"))
    transfers.push_back({.lane = Lane::packs,
                         .database_id = database->id(),
                         .key = pack.at("key"),
                         .path = pack.at("path"),
                         .size = pack.at("size")});
  const Json& configuration = context.result("CAPTURE_CONFIGURATION");
  assets_.queue(configuration, database->id(), transfers);
  TILLSYNC_LET(const uint64_t sent, transfers_.send(context, transfers));
  TILLSYNC_LET(const Bytes manifest,
               read_file(*services_.files, context.result("CREATE_SNAPSHOT").at("manifest"), uint64_t{1} << 30));
  BytesSource source(manifest);
  const auto put_manifest = [&]() -> Result<void> {
    TILLSYNC_TRY(assets_.check_sent(configuration));
    TILLSYNC_TRY(check_packs(captured, database->id()));
    // The manifest is put last: what has a manifest is complete.
    return transfers_.put_now(captured.at("manifest_key"), source);
  };
  TILLSYNC_TRY(transfers_.wait_out_outages(context, put_manifest));
  TILLSYNC_TRY(assets_.remember_sent(context, configuration));
  std::string uuid = context.data().at("snapshot_uuid");
  const Json& begun = context.result("INITIALIZE_BACKUP");
  const bool is_full = begun.at("type") == "FULL";
  const bool is_sealed_as_now = begun.value("sealed_for", services_.sealed_for()) == services_.sealed_for();
  context.on_commit([captured, uuid, is_full, is_sealed_as_now, owner = context.workflow().str(), id = database->id(),
                     now = to_ms(services_.clock->now())](Connection& db) -> Result<void> {
    TILLSYNC_LET(auto complete, db.prepare("UPDATE snapshots SET is_complete=1, updated_at=? WHERE uuid=?"));
    TILLSYNC_TRY(complete.bind(1, now).bind(2, uuid).run());
    TILLSYNC_TRY(forget_transfers_of(db, owner));
    // Begun under other keys: nothing goes on from it.
    if (!is_sealed_as_now) return {};
    if (is_full) TILLSYNC_TRY(full_made(db, id));
    TILLSYNC_LET(
        auto block,
        db.prepare("INSERT OR IGNORE INTO stored_blocks(database_id, sha256, pack_key, block) VALUES(?,?,?,?)"));
    for (auto& pack : captured.at("packs")) {
      int64_t number = 0;
      for (auto& run : pack.at("runs")) {
        TILLSYNC_LET(Digest name, Digest::parse(run.get<std::string>()));
        TILLSYNC_TRY(
            block.bind(1, id).bind(2, name.view()).bind(3, pack.at("key").get<std::string>()).bind(4, number++).run());
      }
    }
    return {};
  });
  return Json{{"sent_bytes", sent + manifest.size()}};
}

// A snapshot that turned out not to be whole: nothing goes on from it.
Result<void> BackupWorkflow::withdraw(const Uuid& snapshot, const std::string& manifest_key) {
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto row, db->prepare("UPDATE snapshots SET is_complete=0 WHERE uuid=?"));
    TILLSYNC_TRY(row.bind(1, snapshot.str()).run());
  }
  TILLSYNC_TRY(services_.state->make_durable());
  if (!services_.store->properties().may_delete) return {};
  return services_.store->remove(manifest_key);
}

Result<Json> BackupWorkflow::validate(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  const Json& captured = context.result("CAPTURE_TABLE_DATA");
  TILLSYNC_LET(Uuid uuid, Uuid::parse(context.data().at("snapshot_uuid").get<std::string>()));
  const auto look = [&]() -> Result<Manifest> {
    TILLSYNC_LET(Manifest stored, read_own_manifest(services_, database->lineage(), uuid));
    if (stored.checksum.hex() != context.result("CREATE_SNAPSHOT").at("checksum"))
      return Error{
          ErrorKind::corrupt, 0,
          captured.at("manifest_key").get<std::string>() + ": the store gives back another manifest than was put"};
    // A prune with another's key may have run between our last look and the manifest.
    auto whole = check_packs(captured, database->id());
    if (!whole && whole.error().kind == ErrorKind::corrupt) TILLSYNC_TRY(withdraw(uuid, captured.at("manifest_key")));
    TILLSYNC_TRY(std::move(whole));
    for (auto& pack : captured.at("packs")) {
      TILLSYNC_LET(auto info, services_.store->head(pack.at("key")));
      if (info.size != pack.at("size").get<uint64_t>())
        return Error{ErrorKind::corrupt, 0,
                     info.key + ": has " + std::to_string(info.size) + " bytes in the store, " +
                         pack.at("size").dump() + " were put"};
    }
    return stored;
  };
  TILLSYNC_LET(Manifest m, transfers_.wait_out_outages(context, look));
  if (!m.is_page_level()) database->set_dependency_floor(m.sequence);
  // Everything is in the store; the spool may go, once the record of it can't: a power cut that takes UPLOAD back would
  // find nothing to send.
  TILLSYNC_TRY(services_.state->make_durable());
  remove_spooled(captured, context.result("CAPTURE_CONFIGURATION"), context.result("CREATE_SNAPSHOT"));
  // Nor do files come back that no later start would look for.
  TILLSYNC_TRY(services_.files->sync_directory(services_.spool_folder()));
  Json document = to_json(m, false);
  std::string note = context.result("INITIALIZE_BACKUP").at("note");
  if (m.is_page_level()) note = "the database is damaged, so its pages were kept as they are: " + m.damage;
  if (auto assets = AssetBackup::note(context.result("CAPTURE_CONFIGURATION")); !assets.empty())
    note += (note.empty() ? "" : "; ") + assets;
  if (!note.empty()) document["note"] = note;
  log::info("{}: snapshot {} {} at sequence {}: {} bytes, {} stored", database->config().name,
            document["type"].get<std::string>(), uuid.str(), m.sequence, m.size, m.stored_bytes);
  return document;
}

}  // namespace tillsync
