// The agent's verification where only a FULL is damaged: it goes on, names the object, and proves what does not need
// it.

#include "agent/daemon/backup_verifier.h"
#include "agent/daemon/new_epoch.h"
#include "agent/logging/log.h"
#include "assets/asset_reference.h"
#include "crash_points/stories.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct VerifiedTerminal : Terminal {
  std::vector<Manifest> made;
  VerifiedTerminal() : Terminal(1234) {
    log::set_level(log::Level::off);
    install();
    start();
    int sale = 0;
    for (const char* type : {"FULL", "INCREMENTAL", "DIFFERENTIAL", "INCREMENTAL"}) {
      sell(++sale);
      write_asset("receipt.txt", "of sale " + std::to_string(sale));
      must(agent->ship());
      const Uuid workflow = must(agent->begin_backup(type));
      const auto ended = must(agent->run(workflow));
      REQUIRE(ended.state == RunOutcome::State::done);
      const Uuid uuid =
          must(Uuid::parse(must(agent->engine().describe(workflow)).data.at("snapshot_uuid").get<std::string>()));
      made.push_back(must(read_manifest(agent->store(), agent->lineage(), uuid)));
    }
  }
  std::string manifest(const Manifest& of) { return keys::manifest(prefix_of(agent->lineage()), of.uuid); }
  Bytes read(const std::string& key) { return must(read_file(memory, std::string(kStore) + "/" + key)); }
  void cut_off(const std::string& key) {
    auto file = must(memory.open(std::string(kStore) + "/" + key, OpenMode::read_write));
    must(file->truncate(must(file->size()) / 2));
  }
  void put_back(const std::string& key, const Bytes& bytes) {
    must(must(memory.open(std::string(kStore) + "/" + key, OpenMode::read_write))->write(0, bytes));
  }
  VerificationRecord verify() { return must(BackupVerifier(agent->services()).verify(agent->database())); }
  int64_t verified() {
    return must(agent->state().lease()->query_integer("SELECT count(*) FROM snapshots WHERE is_verified"));
  }
};

}  // namespace

TEST_SUITE_BEGIN("crash points");

TEST_CASE(
    "verification: where the FULL's manifest alone can't be read, it is named, and nothing that needs it is proven") {
  VerifiedTerminal t;
  const std::string manifest = t.manifest(t.made[0]);
  const Bytes whole = t.read(manifest);
  t.cut_off(manifest);
  const VerificationRecord record = t.verify();
  CHECK(record.snapshots == 4);
  CHECK(record.proven == 0);
  CHECK(t.verified() == 0);
  REQUIRE(record.findings.size() == 4);
  for (auto& snapshot : t.made) {
    const bool named = std::any_of(record.findings.begin(), record.findings.end(), [&](auto& finding) {
      return contains(finding, "snapshot " + snapshot.uuid.str() + ": ") && contains(finding, manifest);
    });
    INFO(snapshot.uuid.str());
    CHECK(named);
    CHECK_FALSE(must(read_verified(t.agent->store(), snapshot)));
  }
  CHECK(record.segments > 0);  // the log was looked at all the same
  // It was the only thing that was wrong.
  t.put_back(manifest, whole);
  const VerificationRecord mended = t.verify();
  CHECK(mended.findings == std::vector<std::string>{});
  CHECK(mended.proven == 2);
  CHECK(t.verified() == 2);
}

TEST_CASE("verification: without any whole FULL the newest snapshot that is whole is proven") {
  VerifiedTerminal t;
  const auto assets = must(assets_of(t.made[0]));
  REQUIRE(assets.size() == 1);
  REQUIRE(assets[0].tree);
  // Of the FULL's own time: each of the later ones has a tree of its own.
  const std::string tree = keys::asset_tree(t.agent->lineage().terminal, assets[0].tree->sha256);
  t.cut_off(tree);
  const VerificationRecord record = t.verify();
  REQUIRE(record.findings.size() == 1);
  CHECK(contains(record.findings[0], "snapshot " + t.made[0].uuid.str() + ": "));
  CHECK(contains(record.findings[0], tree));
  CHECK(record.proven == 1);
  CHECK_FALSE(must(read_verified(t.agent->store(), t.made[0])));
  CHECK(must(read_verified(t.agent->store(), t.made[3])));
}

TEST_CASE("verification: the snapshots of an epoch before are looked at as those of this one") {
  VerifiedTerminal t;
  const std::string manifest = t.manifest(t.made[1]);
  must(begin_epoch(t.agent->services(), t.agent->store(), {"for a test", {}}));
  t.stop();
  t.start();
  REQUIRE(t.agent->lineage().epoch == 2);
  t.sell(50);
  must(t.agent->ship());
  REQUIRE(must(t.agent->run(must(t.agent->begin_backup("INCREMENTAL")))).state == RunOutcome::State::done);
  const VerificationRecord record = t.verify();
  CHECK(record.findings == std::vector<std::string>{});
  CHECK(record.snapshots == 5);
  CHECK(record.proven == 3);  // the newest of both, and the FULL of the one before
  CHECK(must(read_verified(t.agent->store(), t.made[3])));
  t.cut_off(manifest);
  const VerificationRecord damaged = t.verify();
  REQUIRE_FALSE(damaged.findings.empty());
  CHECK(contains(damaged.findings[0], manifest));
}

TEST_SUITE_END();
