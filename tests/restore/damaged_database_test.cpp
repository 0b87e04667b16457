// A database whose pages no longer parse: capture says which page and why, our copy of it is kept, its pages go into a
// snapshot of their own, and when it is sound again the log goes on.
#include <fstream>

#include "capture/damaged_image.h"
#include "capture/replica_checks.h"
#include "restore/restore_fixture.h"
#include "restore/verification.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct DamagedTill : RestoreWorld {
  int found = 0, lost = 0;
  std::string file;  // as it was before it was damaged

  DamagedTill() : RestoreWorld(21) {
    setup.on_damaged = [this](const Error&) { found++; };
    setup.on_copy_lost = [this](const Error&) { lost++; };
    restart();
    run("CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE INDEX t_v ON t(v)");
    run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO t SELECT i, 'row '||i "
        "FROM n");
    remember();
    snapshot();
    close_application();
    file = bytes_of(path);
  }
  void close_application() {
    capturer.reset();
    app.close();
  }
  void open_again() { app = must(Connection::open(path, SQLITE_OPEN_READWRITE)); }

  static std::string bytes_of(const std::string& name) {
    std::ifstream in(name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write_file(const std::string& bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::in);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::string damaged_at(size_t offset, size_t length) const {
    std::string bytes = file;
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(offset), length, '\xff');
    return bytes;
  }
  // The first leaf of the table: its pages are 1024 bytes, and the root is page 2.
  std::string damaged_leaf() {
    const std::string root = file.substr(1024, 1024);
    const size_t cell = be16(as_bytes(root).data() + 12);
    return damaged_at((be32(as_bytes(root).data() + cell) - 1) * size_t{1024}, 8);
  }

  // Steps while each asks for less than ten minutes in all.
  void step_until(const std::string& what, const std::function<bool()>& done) {
    for (int i = 0; i < 400; i++) {
      if (done()) return;
      clock.advance(std::max(capturer->step(), std::chrono::milliseconds(1)));
    }
    FAIL("never happened: " << what << (capturer->status().problem ? ": " + capturer->status().problem->text : ""));
  }
  std::string copied(std::string* note = nullptr) {
    const std::string spool = folder.path() + "/pages";
    auto image = must(copy_damaged(path, files, spool));
#ifndef _WIN32
    CHECK_FALSE(files.stat(spool));  // on an older Windows, and under Wine, the name goes with the file
#endif
    Bytes page(image.pages->page_size());
    std::string all;
    for (PageNo n = 1; n <= image.pages->page_count(); n++) {
      must(image.pages->read(n, page));
      all += as_text(page);
    }
    if (note) *note = image.note;
    image.pages.reset();
    CHECK_FALSE(files.stat(spool));
    return all;
  }
  Manifest page_level_snapshot() {
    auto image = must(copy_damaged(path, files, folder.path() + "/pages"));
    SnapshotPlan plan;
    Manifest& m = plan.metadata;
    clock.advance(std::chrono::milliseconds(5));
    m.uuid = make_uuid_v7(clock, random);
    m.lineage = lineage;
    m.created_at = m.captured_at = clock.now();
    m.sequence = full->sequence;
    m.transaction = full->transaction;
    m.damage = "page 3: has no such type of b-tree page";
    return put(must(build_snapshot(plan, *image.pages, files, folder.path() + "/spool", random)));
  }
};

}  // namespace

TEST_SUITE_BEGIN("damaged database");

TEST_CASE("damaged database: capture names the page, keeps its copy, and goes on by itself when it is repaired") {
  DamagedTill till;
  till.write_file(till.damaged_leaf());
  till.restart();
  till.step_until("the damage is found", [&] { return till.found == 1; });
  auto status = till.capturer->status();
  CHECK(status.mode == "failed");
  REQUIRE(status.problem);
  CHECK(status.problem->code == "database_damaged");
  CHECK_MESSAGE(status.problem->text.find("page ") != std::string::npos, status.problem->text);
  CHECK(till.lost == 0);

  // Whoever asks is told at once, and it is not read through again for each of them.
  bool told = false;
  till.capturer->request_cut([&](Result<SnapshotCut> cut) {
    REQUIRE_FALSE(cut);
    CHECK(cut.error().kind == ErrorKind::corrupt);
    told = true;
  });
  CHECK(till.capturer->step() > std::chrono::milliseconds(1000));
  CHECK(told);
  CHECK(till.found == 1);

  till.write_file(till.file);
  till.open_again();
  till.run("INSERT INTO t VALUES(1000, 'after the repair')");
  till.step_until("capture goes on", [&] { return till.capturer->status().mode == "wal"; });
  CHECK_FALSE(till.capturer->status().problem);
  auto db = till.state->lease();
  // One row, found by comparing with the copy that was kept, and no gap in the log.
  CHECK(must(db->query_integer("SELECT count(*) FROM action_log WHERE id>" +
                               std::to_string(scoped_id(1, till.full->sequence)))) == 1);
  CHECK(must(db->query_integer("SELECT flags FROM transactions ORDER BY id DESC LIMIT 1")) == kCatchUp);
  { auto released = std::move(db); }
  check_replica(till);
}

TEST_CASE("damaged database: one that is replaced is looked at again at once") {
  DamagedTill till;
  till.write_file(till.damaged_leaf());
  till.restart();
  till.step_until("the damage is found", [&] { return till.found == 1; });
  const auto before = till.clock.steady_now();
  std::ofstream(till.path + ".new", std::ios::binary) << till.file;
  must(till.files.rename(till.path + ".new", till.path));
  till.step_until("capture goes on", [&] { return till.capturer->status().mode == "wal"; });
  CHECK(till.clock.steady_now() - before < std::chrono::seconds(5));
  till.open_again();
  check_replica(till);
}

TEST_CASE("damaged database: where our own copy is damaged, it is made anew, and the database is not blamed") {
  DamagedTill till;
  {
    // The page file of the copy, not the database.
    std::string copy;
    for (auto& entry : must(till.files.list(till.setup.folder)))
      if (entry.name.ends_with(".db")) copy = till.setup.folder + "/" + entry.name;
    std::fstream out(copy, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(2 * 1024);
    for (int i = 0; i < 20; i++) out.write(std::string(1024, '\xff').data(), 1024);
  }
  till.restart();
  till.open_again();
  till.run("UPDATE t SET v='changed' WHERE id % 7 = 0");
  till.step_until("capture goes on", [&] { return till.capturer->status().mode == "wal"; });
  CHECK(till.found == 0);
  CHECK(till.lost == 1);
  check_replica(till);
}

TEST_CASE("damaged database: its pages are copied as they are, whatever is wrong with it") {
  DamagedTill till;
  std::string note;
  SUBCASE("a leaf") {
    const std::string bytes = till.damaged_leaf();
    till.write_file(bytes);
    CHECK(till.copied(&note) == bytes);
    CHECK(note.empty());
  }
  SUBCASE("the schema") {
    const std::string bytes = till.damaged_at(100, 900);
    till.write_file(bytes);
    CHECK(till.copied(&note) == bytes);
    CHECK(note.empty());
  }
  SUBCASE("the header: SQLite takes it for no database at all") {
    const std::string bytes = till.damaged_at(0, 24);
    till.write_file(bytes);
    const std::string all = till.copied(&note);
    CHECK(all.substr(0, bytes.size()) == bytes);
    CHECK(all.size() - bytes.size() < 4096);
    CHECK(note.find("can't read the file") != std::string::npos);
  }
  SUBCASE("what is only in the log comes along") {
    till.open_again();
    till.run("INSERT INTO t VALUES(2000, 'in the log')");
    till.write_file(till.damaged_leaf());
    CHECK(till.copied(&note).find("in the log") != std::string::npos);
    CHECK(till.bytes_of(till.path).find("in the log") == std::string::npos);
  }
}

TEST_CASE("damaged database: its snapshot is restored by its uuid alone, byte by byte, and proves no rows") {
  DamagedTill till;
  const std::string bytes = till.damaged_leaf();
  till.write_file(bytes);
  Manifest pages = till.page_level_snapshot();
  CHECK(pages.is_page_level());

  RestoreMoment by_uuid;
  by_uuid.snapshot = pages.uuid;
  CHECK(must(plan_restore(till.store, till.lineage, by_uuid)).note.find(pages.damage) != std::string::npos);
  auto outcome = must(till.try_restore(by_uuid));
  CHECK(outcome.page_level);
  CHECK_FALSE(outcome.proven);
  CHECK(till.bytes_of(till.staged_path()) == bytes);

  // The newest moment is that of the log; it says what else there is.
  auto plan = must(plan_restore(till.store, till.lineage, {}));
  CHECK(plan.chain.target().uuid == till.full->uuid);
  CHECK(plan.note.find(pages.uuid.str()) != std::string::npos);

  SnapshotVerifier verifier(till.store, till.lineage, till.files, till.vfs.name(), till.folder.path() + "/verify.db");
  auto verdict = must(verifier.prove(pages.uuid, nullptr));
  CHECK_FALSE(verdict.error);
  CHECK(verdict.bytes_read > 0);

  // Nothing goes on from it.
  till.write_file(till.file);
  till.open_again();
  till.restart();
  till.sell("INSERT INTO t VALUES(3000, 'next')");
  till.last = pages;
  SnapshotCut cut = till.cut();
  SnapshotPlan next;
  next.metadata.uuid = make_uuid_v7(till.clock, till.random);
  next.metadata.type = SnapshotType::incremental;
  next.metadata.lineage = till.lineage;
  next.metadata.sequence = cut.sequence;
  next.metadata.transaction = cut.transaction;
  next.metadata.generation = cut.generation;
  next.from = &pages;
  auto built = build_snapshot(next, *cut.image, till.files, till.folder.path() + "/spool", till.random);
  REQUIRE_FALSE(built);
  CHECK(built.error().kind == ErrorKind::usage);
}

TEST_CASE("damaged database: without any sound snapshot a restore names the one that holds its pages") {
  DamagedTill till;
  till.write_file(till.damaged_leaf());
  Manifest pages = till.page_level_snapshot();
  must(till.store.remove(keys::manifest(prefix_of(till.lineage), till.full->uuid)));
  auto plan = plan_restore(till.store, till.lineage, {});
  REQUIRE_FALSE(plan);
  CHECK(plan.error().kind == ErrorKind::not_found);
  CHECK(plan.error().context.find(pages.uuid.str()) != std::string::npos);
}

TEST_SUITE_END();
