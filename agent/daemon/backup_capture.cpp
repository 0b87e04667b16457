// How a BACKUP gets its image: the cut, the pages of a damaged database, and the packs that both lie in afterwards.
#include <strings.h>

#include <cstring>

#include "agent/daemon/backup_workflow.h"
#include "agent/daemon/own_manifests.h"
#include "agent/daemon/wait_for.h"
#include "agent/logging/log.h"
#include "base/checks.h"
#include "capture/app_database.h"
#include "capture/damaged_image.h"
#include "snapshot/builder.h"

namespace tillsync {

namespace {
constexpr uint64_t kLookForRoomEvery = 16 << 20;
}

Result<Json> BackupWorkflow::capture_pages(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context));
  const Json& plan = context.result("INITIALIZE_BACKUP");
  // Before the cut, which costs memory and pages kept aside while an outage is waited out.
  std::optional<Manifest> from;
  if (!plan.at("from").get<std::string>().empty()) {
    TILLSYNC_LET(Uuid uuid, Uuid::parse(plan.at("from").get<std::string>()));
    auto there =
        transfers_.wait_out_outages(context, [&] { return read_own_manifest(services_, database->lineage(), uuid); });
    if (!there && there.error().kind != ErrorKind::not_found) return std::move(there).error();
    if (there) from = std::move(*there);
  }
  // Leftovers of an attempt that was interrupted have no record; the sweep at the next start takes them.
  auto promise = std::make_shared<std::promise<std::shared_ptr<Result<SnapshotCut>>>>();
  auto future = promise->get_future();
  database->request_cut([promise](Result<SnapshotCut> cut) {
    promise->set_value(std::make_shared<Result<SnapshotCut>>(std::move(cut)));
  });
  TILLSYNC_LET(auto answer, wait_for(services_, context, std::move(future)));
  if (!*answer) {
    if (answer->error().kind == ErrorKind::corrupt) return capture_damaged(context, *database, answer->error());
    Error error = std::move(*answer).error().with("database '" + database->config().name + "'");
    // The file may come back; what a workflow does not find in the store will not.
    if (error.kind == ErrorKind::not_found) error.kind = ErrorKind::transient;
    return error;
  }
  SnapshotCut& cut = **answer;

  SnapshotPlan what;
  Manifest& m = what.metadata;
  std::string type = plan.at("type");
  // Somebody else pruned it away; or pages of another size: what was changed can't be told by page number.
  if (!plan.at("from").get<std::string>().empty() && (!from || from->page_size != cut.image->page_size())) {
    type = "FULL";
    from.reset();
  }
  m.type = type == "FULL"          ? SnapshotType::full
           : type == "INCREMENTAL" ? SnapshotType::incremental
                                   : SnapshotType::differential;
  TILLSYNC_TRY(name_snapshot(context, *database, m));
  m.captured_at = cut.captured_at;
  m.sequence = cut.sequence;
  m.transaction = cut.transaction;
  m.generation = cut.generation;
  m.schema_version = cut.user_version;
  if (database->config().schema_version != "PRAGMA user_version") {
    TILLSYNC_LET(m.schema_version, ask_integer(*database, database->config().schema_version));
  }
  TILLSYNC_LET(m.app_version, ask_app_version(*database));
  for (auto& object : cut.schema->objects)
    if (object.sql) m.schema.push_back(*object.sql);
  m.tables = cut.tables;
  m.entity_uuid_count = context.result("CAPTURE_ENTITY_UUIDS").at("entity_uuid_count");
  m.action_log_count = cut.sequence - (from ? from->sequence : 0);
  what.from = from ? &*from : nullptr;
  if (m.type == SnapshotType::differential && !plan.at("parent").get<std::string>().empty()) {
    TILLSYNC_LET(m.parent, Uuid::parse(plan.at("parent").get<std::string>()));
  }
  return pack(context, *database, what, *cut.image);
}

// The rows can't be read: what is kept are the pages, as they are. Capture was answered that way after it had compared
// everything anew, so this is no passing state.
Result<Json> BackupWorkflow::capture_damaged(StepContext& context, FollowedDatabase& database, const Error& damage) {
  SnapshotPlan what;
  Manifest& m = what.metadata;
  TILLSYNC_TRY(name_snapshot(context, database, m));
  m.type = SnapshotType::full;
  m.captured_at = m.created_at;
  TILLSYNC_LET(const auto in_use, database.use_files());
  TILLSYNC_LET(auto image, copy_damaged(database.config().path, *services_.files,
                                        services_.spool_folder() + "/" + m.uuid.str() + ".pages"));
  m.damage = damage.context + (image.note.empty() ? "" : "; " + image.note);
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto position, db->prepare("SELECT sequence, transaction_no FROM databases WHERE id=?"));
    position.bind(1, database.id());
    TILLSYNC_LET(bool found, position.step());
    TILLSYNC_CHECK(found);
    m.sequence = position.unsigned_integer(0);
    m.transaction = position.unsigned_integer(1);
  }
  return pack(context, database, what, *image.pages);
}

Result<void> BackupWorkflow::name_snapshot(StepContext& context, FollowedDatabase& database, Manifest& m) {
  TILLSYNC_LET(m.uuid, Uuid::parse(context.data().at("snapshot_uuid").get<std::string>()));
  m.created_at = services_.clock->now();
  m.name = context.data().at("name");
  if (m.name.empty()) m.name = database.config().name + " " + to_rfc3339(m.created_at);
  m.description = context.data().at("description");
  m.lineage = database.lineage();
  return {};
}

// Where the content is stored already. Whether its pack still is, is asked once a pack: somebody else may have pruned
// it, with IT's key. A store that can't be asked now is asked again before the manifest is put.
Result<std::optional<StoredBlock>> BackupWorkflow::stored_block(int64_t database, const Digest& name,
                                                                KnownPacks& packs) {
  std::optional<StoredBlock> block;
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto query, db->cached("SELECT pack_key, block FROM stored_blocks WHERE database_id=? AND sha256=?"));
    query->bind(1, database).bind(2, name.view());
    TILLSYNC_LET(bool found, query->step());
    if (found) block = StoredBlock{query->text(0), static_cast<uint32_t>(query->integer(1)), 0};
    query->reset();
  }
  if (!block) return block;
  auto known = packs.find(block->pack_key);
  if (known == packs.end()) {
    auto there = services_.store->head(block->pack_key);
    const bool gone = !there && there.error().kind == ErrorKind::not_found;
    if (gone) TILLSYNC_TRY(forget_pack(database, block->pack_key));
    known = packs.emplace(block->pack_key, gone ? std::optional<uint64_t>() : there ? there->size : uint64_t{0}).first;
  }
  if (!known->second) return std::optional<StoredBlock>();
  block->pack_size = *known->second;
  return block;
}

Result<void> BackupWorkflow::forget_pack(int64_t database, const std::string& key) {
  auto db = services_.state->lease();
  TILLSYNC_LET(auto blocks, db->prepare("DELETE FROM stored_blocks WHERE database_id=? AND pack_key=?"));
  return blocks.bind(1, database).bind(2, key).run();
}

// Packs and the draft of the manifest, in the spool.
Result<Json> BackupWorkflow::pack(StepContext& context, FollowedDatabase& database, SnapshotPlan& what,
                                  PageImage& image) {
  if (context.data().at("dedup").get<bool>() && what.metadata.type == SnapshotType::full) {
    what.lookup = [this, id = database.id(), packs = std::make_shared<KnownPacks>()](const Digest& name) {
      return stored_block(id, name, *packs);
    };
  }
  uint32_t page_size = image.page_size();
  const uint64_t min_free = services_.config->limits.min_free;
  std::optional<uint64_t> looked_at;
  std::optional<Error> no_room;
  what.progress = [&](uint64_t done, uint64_t total) {
    context.progress(done, done * page_size, total * page_size);
    if (!looked_at || (done - *looked_at) * page_size >= kLookForRoomEvery) {
      looked_at = done;
      auto free = services_.files->free_space(services_.spool_folder());
      if (free && *free < min_free)
        no_room = Error{ErrorKind::no_space, 0,
                        services_.spool_folder() + ": no room for a snapshot: " + std::to_string(*free) +
                            " bytes are free, limits.min_free keeps " + std::to_string(min_free)};
    }
    return !no_room && !context.cancelled();
  };
  auto made = build_snapshot(what, image, *services_.files, services_.spool_folder(), *services_.random);
  if (no_room) return *no_room;
  TILLSYNC_LET(auto built, std::move(made));

  Json packs = Json::array();
  for (auto& pack : built.packs) {
    Json runs = Json::array();
    for (auto& run : pack.runs) runs.push_back(run.hex());
    packs.push_back({{"key", pack.ref.key}, {"path", pack.path}, {"size", pack.ref.size}, {"runs", runs}});
  }
  // What a prune must leave alone until the manifest is there.
  Json refers = Json::array();
  for (auto& ref : built.manifest.packs) refers.push_back(ref.key);
  // Never sent: in the clear, so that a terminal that is no recipient of its own can go on with it.
  std::string draft = services_.spool_folder() + "/" + what.metadata.uuid.str() + ".draft";
  built.manifest.lineage.keys.reset();
  if (auto spooled = spool(draft, built.manifest.encode(*services_.random)); !spooled) {
    for (auto& pack : built.packs) (void)services_.files->remove(pack.path).has_value();
    return std::move(spooled).error();
  }
  return Json{{"type", std::string(to_string(built.manifest.type))},
              {"sequence", built.manifest.sequence},
              {"transaction", built.manifest.transaction},
              {"generation", built.manifest.generation},
              {"packs", packs},
              {"refers", refers},
              {"draft", draft},
              {"manifest_key", built.manifest_key}};
}

Result<void> BackupWorkflow::spool(const std::string& path, ByteView bytes) {
  TILLSYNC_LET(auto pending, PendingFile::create(*services_.files, path, 0));
  TILLSYNC_TRY(pending.append(bytes));
  return pending.commit();
}

Result<int64_t> BackupWorkflow::ask_integer(FollowedDatabase& database, const std::string& sql) {
  TILLSYNC_LET(const auto in_use, database.use_files());
  TILLSYNC_LET(auto app, AppDatabase::open(database.config().path, AppDatabase::Use::read));
  auto answer = app.connection().query_integer(sql);
  if (!answer)
    return Error{ErrorKind::usage, 0,
                 "schema_version of database '" + database.config().name + "': " + answer.error().context};
  return *answer;
}

// A query is told from a literal by how it begins.
Result<std::string> BackupWorkflow::ask_app_version(FollowedDatabase& database) {
  const std::string& text = database.config().app_version;
  auto begins = [&](const char* word) { return strncasecmp(text.c_str(), word, strlen(word)) == 0; };
  if (!begins("SELECT ") && !begins("PRAGMA ") && !begins("WITH ")) return text;
  TILLSYNC_LET(const auto in_use, database.use_files());
  TILLSYNC_LET(auto app, AppDatabase::open(database.config().path, AppDatabase::Use::read));
  auto answer = app.connection().query_text(text);
  if (!answer)
    return Error{ErrorKind::usage, 0,
                 "app_version of database '" + database.config().name + "': " + answer.error().context};
  return *answer;
}

}  // namespace tillsync
