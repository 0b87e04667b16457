#include "agent/daemon/control_methods.h"

#include <boost/asio/post.hpp>

#include "actionlog/log_query.h"
#include "ports/object_keys.h"
#include "snapshot/epochs.h"
#include "snapshot/verified.h"

namespace tillsync {

namespace asio = boost::asio;

namespace {
constexpr uint64_t kPauseMin = 1000, kPauseMax = 7 * 86400000ull;  // ms

Result<std::optional<std::string>> text(const Json& params, const char* key) {
  if (!params.contains(key) || params.at(key).is_null()) return std::optional<std::string>();
  if (!params.at(key).is_string()) return Error{ErrorKind::usage, 0, std::string(key) + ": a text was expected"};
  return std::optional(params.at(key).get<std::string>());
}
Result<std::optional<uint64_t>> number(const Json& params, const char* key) {
  if (!params.contains(key) || params.at(key).is_null()) return std::optional<uint64_t>();
  if (!params.at(key).is_number_integer() || params.at(key) < 0)
    return Error{ErrorKind::usage, 0, std::string(key) + ": a number from 0 on was expected"};
  return std::optional(params.at(key).get<uint64_t>());
}
}  // namespace

void ControlMethods::query(ControlServer& server, const std::string& method, Work work, Access access) {
  auto with_file = [work = std::move(work)](const Json& params, const std::shared_ptr<File>&) { return work(params); };
  query_with_file(server, method, std::move(with_file), access);
}

void ControlMethods::query_with_file(ControlServer& server, const std::string& method, WorkWithFile work,
                                     Access access) {
  auto answer = [this, work = std::move(work)](Request request, Responder responder) {
    std::shared_ptr<File> file = std::move(request.file);
    asio::post(*agent_.queries_, [work, params = std::move(request.params), file, responder] {
      if (!responder.is_wanted()) return;  // whoever asked was dropped meanwhile
      try {
        responder.reply(work(params, file));
      } catch (const std::exception& bug) {
        responder.error(Error{ErrorKind::internal, 0, bug.what()});
      }
    });
  };
  server.handle(method, std::move(answer), access);
}

void ControlMethods::install(ControlServer& server) {
  // What a till operator needs; what shows rows, or changes anything but by a backup, is not.
  const auto operate = Access::operate, administer = Access::administer;
  query(
      server, "status", [this](const Json&) { return status(); }, operate);
  query(
      server, "backup", [this](const Json& params) { return backup(params); }, operate);
  query(
      server, "snapshots", [this](const Json& params) { return snapshots(params); }, operate);
  auto restores = [this](const Json& params, const std::shared_ptr<File>& into) { return restore(params, into); };
  query_with_file(server, "restore", restores, administer);
  query(
      server, "workflows", [this](const Json& params) { return workflows(params); }, operate);
  auto store_info = [this](const Json&) -> Result<Json> {
    return Json{{"terminal_id", agent_.services_.terminal.str()},
                {"terminal_name", agent_.config_.terminal.name},
                {"url", agent_.config_.store.url}};
  };
  query(server, "store.info", store_info, operate);
  query(
      server, "assets", [this](const Json& params) { return assets(params); }, administer);
  auto reads_asset = [this](const Json& params, const std::shared_ptr<File>& into) {
    return read_asset(params, into.get());
  };
  query_with_file(server, "assets.read", reads_asset, administer);
  server.handle("prune", [this](Request request, Responder responder) { prune(request.params, responder); });
  auto flushes = [this](Request request, Responder responder) { flush(request.params, responder); };
  server.handle("flush", flushes, operate);
  auto waits = [this](Request request, Responder responder) {
    auto uuid = Uuid::parse(request.params.value("uuid", ""));
    if (!uuid) return responder.error(uuid.error());
    asio::post(*agent_.queries_, [this, uuid = *uuid, responder] { agent_.runner_->watch(uuid, responder); });
  };
  server.handle("workflow.wait", waits, operate);
  auto watches = [this](Request, Responder responder) { agent_.feed_.watch(responder); };
  server.handle("watch", watches, operate);
  auto pauses = [this](Request request, Responder responder) {
    asio::post(*agent_.queries_, [this, params = std::move(request.params), responder] { pause(params, responder); });
  };
  server.handle("pause", pauses, operate);
  auto resumes = [this](const Json&) -> Result<Json> {
    TILLSYNC_TRY(agent_.pause_->resume());
    return Json::object();
  };
  query(server, "resume", resumes, operate);
  query(
      server, "diagnose", [this](const Json&) { return diagnose(); }, administer);
  server.handle("workflow.cancel", [this](Request request, Responder responder) {
    auto uuid = Uuid::parse(request.params.value("uuid", ""));
    if (!uuid) return responder.error(uuid.error());
    asio::post(*agent_.queries_, [this, uuid = *uuid, responder] {
      auto done = agent_.runner_->cancel(uuid);
      if (!done) return responder.error(done.error());
      responder.result({{"uuid", uuid.str()}});
    });
  });
  server.handle("restore.deliver", [this](Request request, Responder responder) {
    auto uuid = Uuid::parse(request.params.value("uuid", ""));
    if (!uuid) return responder.error(uuid.error());
    if (!request.file)
      return responder.error(Error{ErrorKind::usage, 0, "restore.deliver needs a descriptor to write to"});
    const bool into_given = request.params.value("into_given", false);
    std::shared_ptr<File> into = std::move(request.file);
    asio::post(*agent_.workers_, [this, uuid = *uuid, into, into_given, responder] {
      responder.reply(agent_.restores_->deliver(*agent_.engine_, uuid, *into, into_given));
    });
  });
  server.handle("log", [this](Request request, Responder responder) {
    follow_log(std::move(request.params), responder, std::chrono::steady_clock::now() + std::chrono::seconds(30));
  });
}

void ControlMethods::stop() { *alive_ = false; }

Result<FollowedDatabase*> ControlMethods::database_of(const Json& params) {
  TILLSYNC_LET(auto name, text(params, "database"));
  if (!name) {
    if (agent_.databases_.size() == 1) return agent_.databases_.front().get();
    return Error{ErrorKind::usage, 0, "several databases are followed: say which with --database"};
  }
  for (auto& database : agent_.databases_)
    if (database->config().name == *name) return database.get();
  return Error{ErrorKind::usage, 0, "there is no database '" + *name + "' in the configuration"};
}

// Answered when the files are let go of: whoever asked wants to touch them.
void ControlMethods::pause(const Json& params, Responder responder) {
  auto length_ms = number(params, "for_ms");
  if (!length_ms) return responder.error(length_ms.error());
  if (*length_ms && (**length_ms < kPauseMin || **length_ms > kPauseMax))
    return responder.error(Error{ErrorKind::usage, 0, "for_ms: from a second to 7 days was expected"});
  std::optional<Milliseconds> length;
  if (*length_ms) length = Milliseconds(static_cast<int64_t>(**length_ms));
  const Timestamp now = agent_.ports_.clock->now();
  const Json answer{{"paused_until", length ? Json(to_rfc3339(now + *length)) : Json(nullptr)}};
  auto done = agent_.pause_->pause(length, [responder, answer] { responder.result(answer); });
  agent_.feed_.poke();
  if (!done) responder.error(done.error());
}

Result<Json> ControlMethods::backup(const Json& params) {
  BackupWorkflow::Request request;
  TILLSYNC_LET(auto type, text(params, "type"));
  if (type) {
    if (*type != "full" && *type != "incremental" && *type != "differential")
      return Error{ErrorKind::usage, 0, "type: full, incremental or differential was expected"};
    for (char c : *type) request.type.push_back(static_cast<char>(c - 32));
  }
  TILLSYNC_LET(auto database, database_of(params));
  request.database = database->config().name;
  TILLSYNC_LET(auto name, text(params, "name"));
  TILLSYNC_LET(auto description, text(params, "description"));
  request.name = name.value_or("");
  request.description = description.value_or("");
  request.dedup = params.value("dedup", true);
  if (auto pause = agent_.pause_->current())
    return Error{ErrorKind::conflict, 0, "capture is paused: 'tillsync resume' first, then back up"};
  Uuid snapshot;
  TILLSYNC_LET(Uuid uuid, agent_.start_backup(request, snapshot));
  return Json{{"uuid", uuid.str()}, {"snapshot_uuid", snapshot.str()}};
}

void ControlMethods::flush(const Json& params, Responder responder) {
  bool wait = params.value("wait", false);
  std::vector<FollowedDatabase*> wanted;
  if (params.contains("database") && !params["database"].is_null()) {
    auto database = database_of(params);
    if (!database) return responder.error(database.error());
    wanted.push_back(*database);
  } else {
    for (auto& database : agent_.databases_) wanted.push_back(database.get());
  }
  struct Collected {
    std::mutex mutex;
    size_t open;
    Json databases = Json::array();
    bool failed = false;
  };
  auto collected = std::make_shared<Collected>();
  collected->open = wanted.size();
  auto done = [this, collected, responder](FollowedDatabase* database, Sequence sequence) {
    Sequence durable = 0;
    {
      auto db = agent_.state_->lease();
      auto value =
          db->query_integer("SELECT durable_sequence FROM databases WHERE id=" + std::to_string(database->id()));
      if (value) durable = static_cast<Sequence>(*value);
    }
    std::lock_guard lock(collected->mutex);
    collected->databases.push_back(
        {{"name", database->config().name}, {"sequence", sequence}, {"durable_sequence", durable}});
    if (--collected->open == 0 && !collected->failed) responder.result({{"databases", collected->databases}});
  };
  for (auto* database : wanted) {
    database->request_capture([this, database, wait, done, collected, responder](Result<Sequence> captured) {
      if (!captured) {
        std::lock_guard lock(collected->mutex);
        if (!std::exchange(collected->failed, true))
          responder.error(std::move(captured).error().with("database '" + database->config().name + "'"));
        return;
      }
      if (!wait) {
        agent_.shipper_->hurry();
        return done(database, *captured);
      }
      agent_.shipper_->when_durable(database->id(), *captured,
                                    [done, database, sequence = *captured] { done(database, sequence); });
    });
  }
}

Result<Json> ControlMethods::snapshots(const Json& params) {
  Json all = Json::array();
  for (auto& database : agent_.databases_) {
    if (params.contains("database") && !params["database"].is_null() && params["database"] != database->config().name)
      continue;
    if (agent_.services_.is_write_only()) {
      TILLSYNC_TRY(known_snapshots(*database, all));
      continue;
    }
    TILLSYNC_LET(const auto epochs, list_epochs(*agent_.store_, agent_.services_.terminal, database->config().name));
    for (auto& epoch : epochs) {
      std::vector<Error> bad;
      TILLSYNC_LET(auto manifests, list_manifests(*agent_.store_, epoch, &bad));
      if (!bad.empty()) return bad.front();
      for (auto& manifest : manifests) {
        TILLSYNC_LET(auto mark, read_verified(*agent_.store_, manifest));
        all.push_back(to_json(manifest, mark.has_value(), mark ? std::optional(mark->verified_at) : std::nullopt));
      }
    }
  }
  return all;
}

// Of a write-only terminal: as state.db has them.
Result<void> ControlMethods::known_snapshots(const FollowedDatabase& database, Json& all) {
  auto db = agent_.state_->lease();
  TILLSYNC_LET(auto rows,
               db->prepare("SELECT uuid, snapshot_type, name, description, created_at, sequence, parent_uuid, "
                           "base_uuid, checksum, schema_version, app_version, size, stored_bytes, "
                           "table_counts, action_log_count, entity_uuid_count, is_verified, updated_at, epoch FROM "
                           "snapshots WHERE is_complete AND database_id=? ORDER BY uuid"));
  rows.bind(1, database.id());
  while (true) {
    TILLSYNC_LET(bool row, rows.step());
    if (!row) return {};
    auto or_null = [&](int column) { return rows.is_null(column) ? Json(nullptr) : Json(rows.text(column)); };
    const uint64_t size = rows.unsigned_integer(11), stored = rows.unsigned_integer(12);
    all.push_back({{"uuid", rows.text(0)},
                   {"type", rows.text(1)},
                   {"name", rows.text(2)},
                   {"description", rows.text(3)},
                   {"created_at", to_rfc3339(from_ms(rows.integer(4)))},
                   {"epoch", rows.unsigned_integer(18)},
                   {"sequence", rows.unsigned_integer(5)},
                   {"parent_uuid", or_null(6)},
                   {"base_uuid", or_null(7)},
                   {"checksum", or_null(8)},
                   {"schema_version", rows.integer(9)},
                   {"app_version", rows.text(10)},
                   {"size", size},
                   {"stored_bytes", stored},
                   {"compression_ratio", stored ? static_cast<double>(size) / static_cast<double>(stored) : 0.0},
                   {"table_counts", Json::parse(rows.text(13), nullptr, false)},
                   {"action_log_count", rows.unsigned_integer(14)},
                   {"entity_uuid_count", rows.unsigned_integer(15)},
                   {"is_complete", true},
                   {"is_verified", rows.integer(16) != 0},
                   {"updated_at", to_rfc3339(from_ms(rows.integer(17)))}});
  }
}

Result<Json> ControlMethods::log(const Json& params) {
  TILLSYNC_LET(auto database, database_of(params));
  LogFilter filter;
  TILLSYNC_LET(filter.table, text(params, "table"));
  TILLSYNC_LET(filter.entity, text(params, "entity"));
  TILLSYNC_LET(filter.from, number(params, "from"));
  TILLSYNC_LET(filter.to, number(params, "to"));
  TILLSYNC_LET(auto since, text(params, "since"));
  if (since) {
    TILLSYNC_LET(filter.since, parse_rfc3339(*since));
  }
  TILLSYNC_LET(auto after, number(params, "after"));
  TILLSYNC_LET(auto limit, number(params, "limit"));
  filter.after = after.value_or(0);
  filter.limit = std::clamp<uint64_t>(limit.value_or(1000), 1, 1000);
  Json users = Json::object();
  for (auto& [table, column] : database->config().user_column) users[table] = column;
  TILLSYNC_LET(LogPage page, query_log(*agent_.state_, database->id(), database->lineage(), users, filter));
  Json document{{"actions", Json::array()}, {"next", nullptr}};
  for (auto& action : page.actions) document["actions"].push_back(std::move(action));
  if (page.next) document["next"] = *page.next;
  // One who follows goes on after the last action that was given.
  if (params.value("wait", false) && !page.next)
    document["next"] = document["actions"].empty() ? Json(filter.after) : document["actions"].back()["sequence"];
  return document;
}

void ControlMethods::follow_log(Json params, Responder responder, std::chrono::steady_clock::time_point until) {
  asio::post(*agent_.queries_, [this, params = std::move(params), responder, until, alive = alive_] {
    if (!responder.is_wanted()) return;
    Result<Json> page = Error{ErrorKind::internal, 0, ""};
    try {
      page = log(params);
    } catch (const std::exception& bug) {
      page = Error{ErrorKind::internal, 0, bug.what()};
    }
    bool wait = params.value("wait", false) && page && (*page)["actions"].empty() &&
                std::chrono::steady_clock::now() < until && responder.is_wanted();
    if (!wait) return responder.reply(page);
    asio::post(agent_.loop_, [this, params, responder, until, alive] {
      if (!*alive) return;
      auto timer = std::make_shared<asio::steady_timer>(agent_.loop_, std::chrono::milliseconds(200));
      timer->async_wait([this, params, responder, until, timer, alive](boost::system::error_code cancelled) {
        if (!cancelled && *alive) follow_log(params, responder, until);
      });
    });
  });
}

Result<Json> ControlMethods::restore(const Json& params, std::shared_ptr<File> into) {
  TILLSYNC_LET(Uuid uuid, agent_.start_restore(params, std::move(into)));
  return Json{{"uuid", uuid.str()}};
}

Result<Json> ControlMethods::assets(const Json& params) {
  TILLSYNC_LET(auto database, database_of(params));
  TILLSYNC_LET(auto snapshot, text(params, "snapshot"));
  TILLSYNC_LET(Uuid uuid, Uuid::parse(snapshot.value_or("")));
  TILLSYNC_LET(auto manifest, find_manifest(*agent_.store_, database->lineage(), uuid));
  Json answer{{"terminal_id", agent_.services_.terminal.str()}, {"assets", manifest.assets}};
  if (!agent_.services_.terminal.keys) return answer;
  // Who may have the database may have these objects opened, and nothing else: so not the terminal's keys.
  TILLSYNC_LET(const auto assets, assets_of(manifest));
  TILLSYNC_LET(const auto opening, asset_data_keys(*agent_.store_, agent_.services_.terminal, assets));
  answer["data_keys"] = Json::object();
  for (auto& [object, key] : opening) answer["data_keys"][object.str()] = to_hex(key.view());
  answer["signers"] = Json::array();
  for (auto& signer : agent_.services_.terminal.keys->signers) answer["signers"].push_back(signer.hex());
  return answer;
}

// Bytes of one asset object, so that the command line restores assets with its own rights: the agent writes nowhere but
// into the descriptor.
Result<Json> ControlMethods::read_asset(const Json& params, File* into) {
  TILLSYNC_LET(auto key, text(params, "key"));
  TILLSYNC_LET(auto offset, number(params, "offset"));
  TILLSYNC_LET(auto length, number(params, "length"));
  if (!into) return Error{ErrorKind::usage, 0, "assets.read needs a descriptor to write to"};
  if (!key || !key->starts_with(keys::assets_prefix(agent_.services_.terminal)) || !keys::sha256_of_asset(*key))
    return Error{ErrorKind::usage, 0, "key: that of an asset object of this terminal was expected"};
  Bytes piece(1 << 20);
  uint64_t done = 0;
  while (done < length.value_or(0)) {
    MutableBytes part(piece.data(), std::min<uint64_t>(piece.size(), *length - done));
    TILLSYNC_LET(const size_t got, agent_.store_->read(*key, offset.value_or(0) + done, part));
    TILLSYNC_TRY(into->write(done, part.first(got)));
    done += got;
    if (got < part.size()) break;
  }
  return Json{{"bytes", done}};
}

void ControlMethods::prune(const Json& params, Responder responder) {
  auto database = text(params, "database");
  if (!database) return responder.error(database.error());
  const std::string name = database->value_or("");
  const bool dry_run = params.value("dry_run", false);
  auto work = [this, name, dry_run, responder] {
    try {
      responder.reply(dry_run ? agent_.pruner_->show(name) : agent_.pruner_->prune(name));
    } catch (const std::exception& bug) {
      responder.error(Error{ErrorKind::internal, 0, bug.what()});
    }
  };
  if (dry_run) {
    asio::post(*agent_.queries_, work);
  } else {
    agent_.runner_->between_backups(work);
  }
}

Result<Json> ControlMethods::workflows(const Json& params) {
  TILLSYNC_LET(auto uuid, text(params, "uuid"));
  std::vector<WorkflowRecord> records;
  if (uuid) {
    TILLSYNC_LET(Uuid id, Uuid::parse(*uuid));
    TILLSYNC_LET(auto one, agent_.engine_->describe(id));
    records.push_back(std::move(one));
  } else {
    TILLSYNC_LET(records, agent_.engine_->list());
  }
  Json all = Json::array();
  for (auto& record : records) {
    Json one = to_json(record);
    // What the command line shows beside the stored fields.
    one["database"] = record.data.value("database", "");
    one["attempts"] = record.retry_count;
    size_t completed = 0;
    one["step"] = nullptr;
    for (size_t i = 0; i < record.steps.size(); i++) {
      auto& step = record.steps[i];
      one["steps"][i]["name"] = step.type;
      one["steps"][i]["attempts"] = step.retry_count;
      one["steps"][i]["ended_at"] = step.completed_at ? Json(to_rfc3339(*step.completed_at)) : Json(nullptr);
      bool over = step.status == StepStatus::completed || step.status == StepStatus::skipped;
      if (over) completed++;
      if (!over && one["step"].is_null()) one["step"] = step.type;
    }
    one["percent"] = record.steps.empty()
                         ? 100.0
                         : 100.0 * static_cast<double>(completed) / static_cast<double>(record.steps.size());
    if (auto progress = agent_.engine_->progress(record.uuid)) one["percent"] = progress->percent;
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace tillsync
