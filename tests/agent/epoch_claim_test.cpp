// Who may write under a terminal's name: two agents from one disk, over one store.
#include <doctest/doctest.h>

#include "actionlog/log_anchor.h"
#include "actionlog/log_merger.h"
#include "agent/daemon/epoch_documents.h"
#include "agent/daemon/fenced_store.h"
#include "agent/daemon/new_epoch.h"
#include "crypto/hash.h"
#include "ports/object_keys.h"
#include "support/fake_clock.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

Keys make_keys(uint64_t seed) {
  SeededRandom random(seed);
  auto ring = std::make_shared<Keyring>();
  ring->signer = SigningKey::make(random);
  ring->signers = {ring->signer->public_key()};
  return ring;
}

// A terminal's disk, and the agent that runs on it.
struct Till {
  MemoryFileSystem files;
  FakeClock& clock;
  SeededRandom random;
  FileVfs vfs{files, clock, random};
  Config config = default_config();
  MemoryObjectStore& store;
  Keys keys;
  Services services;
  std::unique_ptr<StateDb> state;
  std::unique_ptr<EpochClaim> claim;
  std::unique_ptr<FencedStore> fenced;
  std::optional<EpochLoss> lost;

  Till(FakeClock& at, MemoryObjectStore& into, uint64_t seed, Keys its_keys = nullptr)
      : clock(at), random(seed), store(into), keys(std::move(its_keys)) {
    files.add_directory("/state");
    start();
    must(
        state->lease()->execute("INSERT INTO databases(id, name, path, created_at) VALUES(1, 'till', 'p', 0);"
                                "INSERT INTO schemas VALUES(1, 1, 1, x'00', x'0100', 0)"));
  }
  void start() {
    stop();
    lost.reset();
    state = must(StateDb::open("/state/state.db", vfs.name(), clock));
    services.config = &config;
    services.files = &files;
    services.clock = &clock;
    services.random = &random;
    services.vfs = &vfs;
    services.state = state.get();
    services.terminal = TerminalRef(must(Uuid::parse("00112233-4455-6677-8899-aabbccddeeff")), keys);
    services.epoch = must(adopt_epoch(*state));
    claim = std::make_unique<EpochClaim>(services, store, [this](const EpochLoss& loss) { lost = loss; });
    fenced = std::make_unique<FencedStore>(store, *claim);
  }
  void stop() {
    fenced.reset();
    claim.reset();
    state.reset();
  }
  // As its disk is now.
  void copy_disk_of(Till& other) {
    stop();
    other.stop();
    files.copy_from(other.files);
    other.start();
    start();
  }
  std::string prefix() const { return keys::database_prefix(services.terminal, "till", services.epoch); }
  Result<void> put(const std::string& key, const std::string& bytes = "x") {
    BytesSource source(as_bytes(bytes));
    return fenced->put(key, source);
  }
  // Sealed, recorded, put, and known to be durable; without the last, its answer was lost.
  Result<void> ship(Sequence first, Sequence last, bool answered = true) {
    const std::string key = keys::segment(prefix(), first, last), bytes = "segment of " + std::to_string(random.next());
    {
      auto db = state->lease();
      auto row = must(db->prepare(
          "INSERT INTO segments(id, last_sequence, first_transaction, last_transaction, object_key, sha256, "
          "size, schema_sequence, schema_id, created_at) VALUES(?,?,?,?,?,?,?,1,1,0)"));
      const Digest digest = sha256(as_bytes(bytes));
      must(row.bind(1, scoped_id(1, first))
               .bind(2, last)
               .bind(3, first)
               .bind(4, last)
               .bind(5, key)
               .bind(6, digest.view())
               .bind(7, bytes.size())
               .run());
      must(db->execute("UPDATE databases SET sequence=max(sequence, " + std::to_string(last) +
                       "), flushed_sequence=" + std::to_string(last)));
    }
    must(state->make_durable());
    TILLSYNC_TRY(put(key, bytes));
    if (answered)
      must(state->lease()->execute("UPDATE segments SET durable_at=1 WHERE object_key='" + key +
                                   "'; UPDATE databases SET durable_sequence=" + std::to_string(last)));
    return {};
  }
};

struct Shop {
  FakeClock clock;
  MemoryObjectStore store;
  const uint64_t seed = SeededRandom::seed_of_this_run();
};

}  // namespace

TEST_SUITE_BEGIN("epoch claim");

TEST_CASE("each start of an agent is in the store before anything that it puts, and one alone goes on for ever") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed);
  for (uint64_t n = 1; n <= 5; n++) {
    REQUIRE(till.ship(n, n));
    CHECK(shop.store.content(keys::start(till.services.terminal, 1, n)).has_value());
    shop.clock.advance(2h);
    REQUIRE(till.put("terminals/" + till.services.terminal.str() + "/x" + std::to_string(n)));
    till.start();
  }
  CHECK_FALSE(till.lost);
  CHECK(till.services.epoch == 1);
}

TEST_CASE(
    "a start whose answer was lost, or that was not durable in the store, is the agent's own when it comes again") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed);
  // The first write: list of starts, then the put, whose answer is lost.
  shop.store.fail_at(2, ErrorKind::offline, true);
  const auto failed = till.put("terminals/a");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::offline);
  till.start();
  CHECK(till.put("terminals/a"));
  till.start();
  CHECK(till.put("terminals/b"));
  CHECK_FALSE(till.lost);
}

TEST_CASE("a start that may have been put is put again byte for byte: a store that can't refuse it is left as it was") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed, make_keys(shop.seed));
  const std::string key = keys::start(till.services.terminal, 1, 1);
  // The put comes into effect, and the agent ends before it knows. Its next start looks before it is to be seen.
  shop.store.fail_at(2, ErrorKind::offline, true);
  REQUIRE_FALSE(till.put("terminals/a"));
  const auto first = shop.store.content(key);
  REQUIRE(first.has_value());
  shop.store.erase(key);
  shop.clock.advance(1min);
  till.start();
  CHECK(till.put("terminals/a"));
  CHECK(shop.store.content(key) == first);
  // The next one is another.
  till.start();
  CHECK(till.put("terminals/b"));
  CHECK(shop.store.content(keys::start(till.services.terminal, 1, 2)) != first);
  CHECK_FALSE(till.lost);
}

TEST_CASE("a start that another copy made at the same moment, in a store that takes both, is found at the next look") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed);
  REQUIRE(till.put("terminals/a"));
  const std::string key = keys::start(till.services.terminal, 1, 1);
  // Removed: it is made again.
  shop.store.erase(key);
  shop.clock.advance(2h);
  CHECK(till.put("terminals/b"));
  CHECK(shop.store.content(key).has_value());
  CHECK_FALSE(till.lost);
  const std::string other = Json{{"epoch", 1}, {"start", 1}, {"token", "another"}}.dump();
  shop.store.erase(key);
  shop.store.set(key, to_bytes(as_bytes(other)));
  shop.clock.advance(2h);
  CHECK_FALSE(till.put("terminals/c"));
  REQUIRE(till.lost);
  CHECK(till.lost->displaced_by == 1);
}

TEST_CASE("a segment whose answer was lost is the agent's own when the log is looked at") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed);
  REQUIRE(till.ship(1, 4));
  REQUIRE(till.ship(5, 9, false));
  till.start();
  CHECK(till.put("terminals/a"));
  CHECK_FALSE(till.lost);
  // Other bytes under its name are not.
  shop.store.erase(keys::segment(till.prefix(), 5, 9));
  shop.store.set(keys::segment(till.prefix(), 5, 9), Bytes(20, 1));
  till.start();
  CHECK_FALSE(till.put("terminals/b"));
  CHECK(till.lost);
}

TEST_CASE("a merged segment, also one whose answer was lost, and the parts beside it are the agent's own") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed);
  for (Sequence n = 1; n <= 4; n++) REQUIRE(till.ship(n, n));
  const auto merge = [&](Sequence first, Sequence last, bool answered) {
    const std::string key = keys::merged_segment(till.prefix(), first, last), bytes = "merged";
    {
      auto db = till.state->lease();
      auto row = must(db->prepare("INSERT INTO merges VALUES(?,?,?,?,x'00',?)"));
      must(row.bind(1, scoped_id(1, first))
               .bind(2, last)
               .bind(3, key)
               .bind(4, sha256(as_bytes(bytes)).view())
               .bind(5, bytes.size())
               .run());
    }
    REQUIRE(till.put(key, bytes));
    if (answered) must(LogMerger::stored(*till.state->lease(), key, shop.clock.now()));
    return key;
  };
  const auto parts = [&] { return must(till.state->lease()->query_integer("SELECT count(*) FROM merged_parts")); };
  merge(2, 3, true);
  CHECK(parts() == 2);
  till.start();  // looks at once
  REQUIRE(till.put("terminals/a"));
  CHECK_FALSE(till.lost);
  // The parts are remembered for as long as a look may come upon them.
  for (Sequence n = 5; n <= 8; n++) {
    shop.clock.advance(2h);
    REQUIRE(till.ship(n, n));
  }
  CHECK_FALSE(till.lost);
  CHECK(parts() == 0);
  const std::string unanswered = merge(7, 8, false);
  till.start();
  REQUIRE(till.put("terminals/b"));
  CHECK_FALSE(till.lost);
  // Other bytes under its name are not.
  shop.store.set(unanswered, Bytes(6, 1));
  till.start();
  CHECK_FALSE(till.put("terminals/c"));
  CHECK(till.lost);
}

TEST_CASE("of two agents from one disk the one that comes second at a start has lost, and nothing of it is written") {
  Shop shop;
  Till first(shop.clock, shop.store, shop.seed), second(shop.clock, shop.store, shop.seed + 1);
  REQUIRE(first.ship(1, 4));
  second.copy_disk_of(first);
  REQUIRE(first.ship(5, 6));
  const auto refused = second.put("terminals/a");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::conflict);
  REQUIRE(second.lost);
  CHECK(second.lost->displaced_by == 2);
  CHECK_FALSE(second.fenced->remove("terminals/a"));
  CHECK_FALSE(second.fenced->replace("fleet/status/x.json", as_bytes("x")));
  CHECK_FALSE(shop.store.content("terminals/a"));

  must(begin_epoch(second.services, shop.store, *second.lost));
  second.start();
  CHECK(second.services.epoch == 2);
  REQUIRE(second.ship(5, 5));
  // It made room for the first one, who stays, also over starts, as does the second.
  for (int i = 0; i < 3; i++) {
    shop.clock.advance(2h);
    REQUIRE(first.ship(Sequence(7 + i), Sequence(7 + i)));
    REQUIRE(second.ship(Sequence(6 + i), Sequence(6 + i)));
    first.start();
    second.start();
  }
  CHECK(first.services.epoch == 1);
  CHECK(second.services.epoch == 2);
}

TEST_CASE("a new epoch's log goes on after what was durable, and names it, and the next segments are sealed anew") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed);
  REQUIRE(till.ship(1, 4));
  REQUIRE(till.ship(5, 9));
  must(till.state->lease()->execute("UPDATE segments SET schema_sequence=1"));
  const Bytes last = *shop.store.content(keys::segment(till.prefix(), 5, 9));
  must(till.state->lease()->execute(
      "INSERT INTO transfer_queue(lane, database_id, owner, object_key, spool_path, size, created_at) "
      "VALUES(0, 1, '', 'k', '/state/spool/k', 1, 0)"));
  must(begin_epoch(till.services, shop.store, {"for a test", {}}));
  CHECK(till.services.epoch == 1);
  till.start();
  CHECK(till.services.epoch == 2);
  const Lineage lineage{till.services.terminal.id, "till", 2, nullptr};
  const auto anchor = must(list_log(shop.store, lineage)).anchor;
  REQUIRE(anchor);
  CHECK(anchor->first_sequence == 10);
  CHECK(anchor->last_transaction == 9);
  CHECK(anchor->previous == sha256(last));
  CHECK(anchor->schema == Bytes{1, 0});
  CHECK(must(till.state->lease()->query_integer("SELECT count(*) FROM transfer_queue")) == 0);
  CHECK(must(till.state->lease()->query_integer("SELECT flushed_sequence FROM databases")) == 9);
  const auto change = must(last_epoch_change(*till.state));
  REQUIRE(change);
  CHECK(change->from == 1);
  CHECK(change->to == 2);
  CHECK(change->why == "for a test");
}

TEST_CASE("two agents that run under the same start: what one writes, the other finds when it looks, within the hour") {
  Shop shop;
  Till first(shop.clock, shop.store, shop.seed), second(shop.clock, shop.store, shop.seed + 1);
  for (Sequence n = 1; n <= 50; n++) REQUIRE(first.ship(n, n));
  // The disk is copied, and the first one has not been started since.
  second.stop();
  must(first.state->make_durable());
  second.files.copy_from(first.files);
  second.start();
  REQUIRE(second.ship(51, 52));  // finds nothing: it takes the next start, and the first one does not know of it
  REQUIRE(first.ship(51, 51));
  REQUIRE(first.ship(52, 54));
  shop.clock.advance(59min);
  REQUIRE(first.ship(55, 55));
  shop.clock.advance(2min);
  CHECK_FALSE(first.ship(56, 56));
  REQUIRE(first.lost);
  CHECK(first.lost->displaced_by == 2);
  // The second has a log beside its own as well.
  CHECK_FALSE(second.ship(53, 53));
  REQUIRE(second.lost);
  CHECK_FALSE(second.lost->displaced_by);
  must(begin_epoch(first.services, shop.store, *first.lost));
  must(begin_epoch(second.services, shop.store, *second.lost));
  first.start();
  second.start();
  CHECK(first.services.epoch == 2);
  CHECK(second.services.epoch == 3);
  for (int i = 0; i < 3; i++) {
    REQUIRE(first.put("terminals/a" + std::to_string(i)));
    REQUIRE(second.put("terminals/b" + std::to_string(i)));
    shop.clock.advance(2h);
    first.start();
    second.start();
  }
}

TEST_CASE("an old image whose terminal went on in another epoch is not taken for the one that is there") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed), image(shop.clock, shop.store, shop.seed + 1);
  REQUIRE(till.ship(1, 4));
  image.stop();
  must(till.state->make_durable());
  image.files.copy_from(till.files);
  must(begin_epoch(till.services, shop.store, {"for a test", {}}));
  till.start();
  REQUIRE(till.ship(5, 5));
  image.start();
  CHECK_FALSE(image.put("terminals/a"));
  REQUIRE(image.lost);
  must(begin_epoch(image.services, shop.store, *image.lost));
  image.start();
  CHECK(image.services.epoch == 3);
  CHECK(image.put("terminals/a"));
  CHECK(till.put("terminals/b"));
}

TEST_CASE("of a sealed terminal nobody takes the epoch away who does not have its keys") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed, make_keys(1));
  REQUIRE(till.put("terminals/a"));
  Services stranger = till.services;
  stranger.terminal.keys = make_keys(2);
  const auto put = [&](const Services& by, const std::string& key, Json document, std::string_view what) {
    shop.store.set(key, to_bytes(as_bytes(encode_document(by, std::move(document), what))));
  };
  const std::string start = keys::start(till.services.terminal, 1, 2), epoch = keys::epoch(till.services.terminal, 2);
  put(stranger, start, {{"epoch", 1}, {"start", 2}}, kStartDocument);
  put(stranger, epoch, {{"epoch", 2}, {"from", 1}}, kEpochDocument);
  shop.clock.advance(2h);
  CHECK(till.put("terminals/b"));
  // Also where the next start would be.
  till.start();
  CHECK(till.put("terminals/b2"));
  CHECK(shop.store.content(keys::start(till.services.terminal, 1, 3)).has_value());
  // One kind is not the other.
  put(till.services, epoch, {{"epoch", 2}, {"from", 1}}, kStartDocument);
  shop.clock.advance(2h);
  CHECK(till.put("terminals/c"));
  put(till.services, epoch, {{"epoch", 2}, {"from", 1}}, kEpochDocument);
  shop.clock.advance(2h);
  CHECK_FALSE(till.put("terminals/d"));
}

TEST_CASE("a store that can't be reached takes nothing away, and an epoch is begun when it is back") {
  Shop shop;
  Till till(shop.clock, shop.store, shop.seed);
  shop.store.set_offline(true);
  const auto offline = till.put("terminals/a");
  REQUIRE_FALSE(offline);
  CHECK(offline.error().kind == ErrorKind::offline);
  CHECK_FALSE(till.lost);
  CHECK_FALSE(begin_epoch(till.services, shop.store, {"for a test", {}}));
  shop.store.set_offline(false);
  CHECK(till.put("terminals/a"));
}

TEST_SUITE_END();
