#include "crash_points/terminal.h"

#include <filesystem>
#include <fstream>

#include "agent/daemon/leftovers.h"
#include "agent/daemon/new_epoch.h"
#include "store/open_store.h"

namespace tillsync::test {

using std::chrono::milliseconds;

std::string to_string(Crash crash) {
  switch (crash) {
    case Crash::kill: return "kill";
    case Crash::power: return "power loss";
    case Crash::strict_power: return "power loss that keeps nothing";
  }
  return "";
}

AgentProcess::AgentProcess(Terminal& terminal)
    : terminal_(terminal),
      vfs_(terminal.files, terminal.clock, terminal.random),
      application_(vfs_, terminal.files, terminal.computer, true) {}

AgentProcess::~AgentProcess() {
  if (shipper_) shipper_->stop();
}

Result<std::unique_ptr<AgentProcess>> AgentProcess::start(Terminal& terminal) {
  std::unique_ptr<AgentProcess> agent(new AgentProcess(terminal));
  TILLSYNC_TRY(agent->open());
  return agent;
}

Result<void> AgentProcess::open() {
  const std::string folder = Terminal::kState;
  FileSystem& files = terminal_.files;
  for (const char* part : {"", "/spool", "/staging", "/safety", "/databases"})
    TILLSYNC_TRY(files.make_directories(folder + part));
  TILLSYNC_LET(lock_, files.open(folder + "/lock", OpenMode::create));
  TILLSYNC_TRY(lock_->lock());
  TILLSYNC_LET(state_, StateDb::open(folder + "/state.db", vfs_.name(), terminal_.clock));
  TILLSYNC_LET(store_, make_store(terminal_.config.store, files, terminal_.clock, terminal_.random));
  services_.config = &terminal_.config;
  services_.files = &files;
  services_.clock = &terminal_.clock;
  services_.random = &terminal_.random;
  services_.vfs = &vfs_;
  services_.state = state_.get();
  services_.folders = &terminal_.folders;
  services_.terminal = must(Uuid::parse("00112233-4455-6677-8899-aabbccddeeff"));
  services_.while_waiting = [this] { pump(); };
  TILLSYNC_LET(services_.epoch, adopt_epoch(*state_));
  claim_ = std::make_unique<EpochClaim>(services_, *store_, [](const EpochLoss& loss) {
    FAIL_CHECK("nobody else writes, and yet the epoch is lost: " << loss.why);
  });
  fenced_store_ = std::make_unique<FencedStore>(*store_, *claim_);
  services_.store = fenced_store_.get();
  TILLSYNC_TRY(sweep_leftovers(services_));
  TILLSYNC_LET(database_, FollowedDatabase::create(services_, terminal_.config.databases.front(), {}));
  std::vector<FollowedDatabase*> all{database_.get()};
  transfers_ = std::make_unique<Transfers>(services_);
  shipper_ = std::make_unique<LogShipper>(services_, all, *transfers_);
  backups_ = std::make_unique<BackupWorkflow>(services_, all, *shipper_, *transfers_);
  restores_ = std::make_unique<RestoreWorkflow>(services_, all, *shipper_);
  pruner_ =
      std::make_unique<Pruner>(services_, std::vector<Pruner::Database>{{database_->id(), database_->config().name}});
  pruner_->pin_also([this](const std::string& database) { return restores_->pinned(database); });
  engine_ = std::make_unique<WorkflowEngine>(*state_, terminal_.clock, terminal_.random);
  backups_->define(*engine_);
  restores_->define(*engine_);
  return {};
}

void AgentProcess::pump() {
  if (terminal_.crashed()) engine_->stop();
  if (++rounds_ > kRoundsMax) {
    const auto error = transfers_->status().last_error;
    throw std::runtime_error("nothing moves any more; the store: " + (error ? error->context : "is content"));
  }
  const milliseconds wait = database_->step();
  (void)shipper_->round().has_value();
  terminal_.clock.advance(std::clamp<milliseconds>(wait, milliseconds(1), milliseconds(1000)));
}

Result<RunOutcome> AgentProcess::run(const Uuid& workflow, int attempts_max) {
  Result<RunOutcome> outcome = RunOutcome{};
  for (int attempt = 0; attempt < attempts_max && !terminal_.crashed(); attempt++) {
    rounds_ = 0;
    outcome = engine_->run(workflow);
    if (outcome && outcome->state != RunOutcome::State::waiting) return outcome;
    // As the runner does: when it says so, or after a while.
    if (outcome) {
      terminal_.clock.advance(std::max(outcome->not_before - terminal_.clock.now(), milliseconds(1)));
    } else {
      terminal_.clock.advance(std::chrono::seconds(5));
    }
  }
  return outcome;
}

Result<void> AgentProcess::resume() {
  TILLSYNC_LET(auto unfinished, engine_->resume_unfinished());
  for (auto& one : unfinished) {
    TILLSYNC_LET(auto outcome, run(one.uuid));
    if (outcome.error) return *outcome.error;
  }
  return {};
}

Result<void> AgentProcess::ship() {
  rounds_ = 0;
  // Shared, because whoever is asked may answer after the asking was given up.
  auto captured = std::make_shared<std::optional<Result<Sequence>>>();
  auto durable = std::make_shared<bool>(false);
  for (int i = 0; i < 40 && !terminal_.crashed(); i++) {
    if (!*captured) database_->request_capture([captured](Result<Sequence> r) { *captured = std::move(r); });
    pump();
    if (*captured && **captured) break;
    if (i < 39) captured->reset();
  }
  if (!*captured) return Error{ErrorKind::internal, 0, "nothing was captured"};
  if (!**captured) return (*captured)->error();
  shipper_->when_durable(database_->id(), ***captured, [durable] { *durable = true; });
  for (int i = 0; i < 10 && !*durable && !terminal_.crashed(); i++) pump();
  if (*durable) return {};
  const auto error = transfers_->status().last_error;
  return Error(error.value_or(Error{ErrorKind::internal, 0, ""})).with("not in the store");
}

Result<Uuid> AgentProcess::begin_backup(const std::string& type) {
  BackupWorkflow::Request request;
  request.database = database_->config().name;
  request.type = type;
  Uuid snapshot;
  TILLSYNC_LET(auto workflow, backups_->request(request, snapshot));
  return engine_->create(workflow);
}

Result<Uuid> AgentProcess::begin_restore(const Json& params) {
  TILLSYNC_LET(auto workflow, restores_->request(params));
  return engine_->create(workflow);
}

Terminal::Terminal(uint64_t seed) : random(seed) {
  config = default_config();
  config.terminal.name = "till";
  config.terminal.state_dir = kState;
  DatabaseConfig database;
  database.name = "pos";
  database.path = kDatabase;
  database.migrations = kMigrations;
  config.databases.push_back(database);
  config.assets.push_back({.name = "receipts", .path = asset_folder, .include = {"**/*.txt", "*.png"}});
  config.store.url = std::string("file://") + kStore;
  config.limits.min_free = 0;
  // Its free space is asked for through the file port.
  memory.add_directory(asset_parent.path());
}

Terminal::~Terminal() {
  agent.reset();
  app.close();
}

void Terminal::open_application() {
  app = must(Connection::open(kDatabase, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, application_vfs.name()));
  sqlite3_db_config(app.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  run("PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=100");
}

void Terminal::install() {
  for (const char* folder : {"/till", kMigrations, "/backup", kStore}) memory.add_directory(folder);
  open_application();
  run("PRAGMA user_version=1;"
      "CREATE TABLE article(id INTEGER PRIMARY KEY, name TEXT, stock INTEGER);"
      "CREATE TABLE sale(receipt TEXT PRIMARY KEY, article INTEGER REFERENCES article(id), amount INTEGER, note);"
      "CREATE INDEX sale_by_article ON sale(article);");
  run(numbers(300) + "INSERT INTO article SELECT n, 'article ' || n || hex(zeroblob(40)), n*7 FROM g");
  run(numbers(200) + "INSERT INTO sale SELECT 'old-' || n, n, n, hex(zeroblob(60 + n % 9)) FROM g");
  write_asset("first.txt", "receipt 1");
  write_asset("logo.png", std::string(3000, 'x'));
  write_asset("old/receipt.txt", "receipt 0");
  // Not of the asset: they stay whatever is restored.
  write_asset("printer.conf", "front");
  write_asset("old/notes", "of the owner");
}

void Terminal::copy_from(const Terminal& other) {
  memory.copy_from(other.memory);
  memory.add_directory(asset_parent.path());
  clock.jump_to(const_cast<FakeClock&>(other.clock).now());
  for (auto& entry : std::filesystem::directory_iterator(asset_parent.path())) std::filesystem::remove_all(entry);
  for (auto& [name, text] : other.assets()) write_asset(name, text);
  config.retention = other.config.retention;
}

void Terminal::run(const std::string& sql) {
  auto done = app.execute(sql);
  if (!done) FAIL("SQL: " << done.error().context << " in " << sql);
}

void Terminal::sell(int number) {
  const std::string n = std::to_string(number);
  run("BEGIN; INSERT INTO sale(receipt, article, amount, note) VALUES('new-" + n + "', " + n +
      ", 3, hex(randomblob(30)));"
      "UPDATE article SET stock = stock - 3 WHERE id = " +
      n + "; COMMIT");
}

void Terminal::write_asset(const std::string& name, const std::string& text) {
  const std::string path = asset_folder + "/" + name;
  std::filesystem::create_directories(directory_of(path));
  std::ofstream(path, std::ios::binary) << text;
  // Older than two seconds by the agent's clock: what was read is remembered.
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - std::chrono::days(800));
}

std::map<std::string, std::string> Terminal::assets() const {
  std::map<std::string, std::string> all;
  for (auto& entry : std::filesystem::recursive_directory_iterator(asset_folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    all[entry.path().lexically_relative(asset_folder)] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return all;
}

Content Terminal::live() {
  auto db = must(Connection::open(kDatabase, SQLITE_OPEN_READWRITE, application_vfs.name()));
  sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  CHECK(must(db.query_text("PRAGMA integrity_check")) == "ok");
  Content content = dump(db);
  content["user_version"].insert(std::to_string(must(db.query_integer("PRAGMA user_version"))));
  return content;
}

void Terminal::count_folders() {
  folders.before = [this](const std::string& call, const std::string& name) -> Result<void> {
    TILLSYNC_TRY(files.call("assets: " + call, kAssets + name));
    if (crashed_) return Error{ErrorKind::internal, 0, "the power is gone"};
    if (call == "exchange" && !names_can_change_places) return Error{ErrorKind::usage, 0, "it can't exchange names"};
    return {};
  };
}

void Terminal::arm(uint64_t n, Crash how) {
  files.reset();
  crashed_ = false;
  files.at_call(n, [this, how] {
    crashed_ = true;
    if (how != Crash::kill) memory.cut_power();
  });
  if (how == Crash::kill) files.fail_at(n, ErrorKind::internal, true);
}

void Terminal::arm_at(std::function<bool(const std::string& call)> is_last, Crash how) {
  files.reset();
  crashed_ = false;
  files.on_call([this, is_last = std::move(is_last), how](const std::string& now) -> std::optional<ErrorKind> {
    if (!crashed_ && is_last(now)) {
      crashed_ = true;
      if (how != Crash::kill) memory.cut_power();
    }
    return crashed_ && how == Crash::kill ? std::optional(ErrorKind::internal) : std::nullopt;
  });
}

void Terminal::after_crash(Crash how, SeededRandom& loss) {
  // A computer without power has no application either.
  if (how != Crash::kill) app.close();
  agent.reset();
  if (how == Crash::power) {
    memory.crash(loss);
    asset_disk.lose_power(loss);
  }
  if (how == Crash::strict_power) {
    memory.crash();
    asset_disk.lose_power();
  }
  files.reset();
  crashed_ = false;
}

Content dump_file(Bytes bytes) {
  REQUIRE(bytes.size() > 100);
  bytes[18] = bytes[19] = 1;  // a WAL can't be had in memory
  auto db = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  auto* content = static_cast<unsigned char*>(sqlite3_malloc64(bytes.size()));
  std::copy(bytes.begin(), bytes.end(), content);
  const auto size = static_cast<sqlite3_int64>(bytes.size());
  REQUIRE(sqlite3_deserialize(db.handle(), "main", content, size, size, SQLITE_DESERIALIZE_FREEONCLOSE) == SQLITE_OK);
  CHECK(must(db.query_text("PRAGMA integrity_check")) == "ok");
  Content rows = dump(db);
  rows["user_version"].insert(std::to_string(must(db.query_integer("PRAGMA user_version"))));
  return rows;
}

}  // namespace tillsync::test
