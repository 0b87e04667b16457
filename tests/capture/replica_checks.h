// What must hold of a replica after every capture: what is kept in step equals what is made afresh.
#pragma once

#include "capture/capture_fixture.h"
#include "dbfile/btree.h"

namespace tillsync::test {

inline std::string owner_text(Owner owner) {
  static const char* kinds[] = {"none", "btree", "overflow_first", "overflow_next"};
  return std::string(kinds[static_cast<uint32_t>(owner.kind)]) + " " + std::to_string(owner.value);
}

// Everything is captured. Opens the replica as a start after SIGKILL would, and compares: pages with the database's,
// the owner map and the digests with ones made anew from the pages. The capturer of `till` is a new one afterwards.
inline void check_replica(Till& till) {
  till.capturer.reset();
  {
    Ingest::Setup setup{till.setup.files, till.setup.state, till.setup.clock, till.setup.folder, till.database_id, 1};
    auto ingest = must(Ingest::load(setup));
    REQUIRE(ingest);
    Replica& replica = ingest->replica();

    auto app = AppDatabase::open(till.path, AppDatabase::Use::read);
    REQUIRE(app);
    must(app->begin_read());
    auto live = must(DatabaseReader::create(*app));
    REQUIRE(replica.page_count() == live->page_count());
    REQUIRE(replica.page_size() == live->page_size());
    Image image = must(image_of(replica, replica.page_count()));
    DatabaseHeader header = must(header_of(image));
    // The content of freelist leaves means nothing, and SQLite need not have written it.
    Freelist free = must(read_freelist(*live, header, live->page_count()));
    std::set<PageNo> meaningless(free.leaves.begin(), free.leaves.end());
    for (PageNo page = 1; page <= live->page_count(); page++) {
      if (meaningless.contains(page)) continue;
      bool same_page = equal(must(replica.page(page)).view(), must(live->page(page)).view());
      INFO("page " << page << " of " << live->page_count());
      CHECK(same_page);
    }

    struct Nothing : RowSink {
      Result<void> row(const RowChange&) override { return {}; }
    } nothing;
    OwnerMap afresh;
    TreeDiff trees(afresh);
    must(trees.begin({nullptr, 0, 0}, image, {}));
    must(trees.tree({}, {1, false, 0}, nothing));
    auto schema = must(schema_of(image));
    std::vector<TableDigest> digests;
    for (auto& table : schema.tables) {
      must(trees.tree({}, {table.root, table.without_rowid, table.key_fields}, nothing));
      TableDigest digest{table.name, 0, {}};
      RowIdentity identity(table);
      must(walk_tree(image, table.root, [&](int64_t rowid, ByteView record) -> Result<void> {
        digest.rows++;
        digest.digest.add(must(identity.digest(rowid, record)));
        return {};
      }));
      if (!table.is_statistics()) digests.push_back(digest);
    }
    std::vector<PageNo> changed;
    trees.finish(changed);
    for (PageNo page = 1; page <= replica.page_count(); page++) {
      Owner kept = replica.owners().get(page), made = afresh.get(page);
      INFO("page " << page << ": kept " << owner_text(kept) << ", afresh " << owner_text(made));
      CHECK(kept == made);
    }

    std::map<std::string, TableDigest> kept;
    for (auto& digest : ingest->log().digests()) kept[digest.name] = digest;
    for (auto& digest : digests) {
      INFO("table " << digest.name);
      REQUIRE(kept.contains(digest.name));
      CHECK(kept[digest.name].rows == digest.rows);
      CHECK(kept[digest.name].digest == digest.digest);
    }
  }
  till.capturer = std::make_unique<Capturer>(till.setup);
}

// Everything the log says leads from `model` to what the database holds.
inline void check_exact(Till& till, Model& model) {
  model.follow();
  check_same(model.content(), till.live());
  check_replica(till);
}

}  // namespace tillsync::test
