// The worked examples of chunk and tree, taken from docs/formats.md itself.
#include <sstream>

#include "assets/assets_fixture.h"
#include "support/documented_examples.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("assets");

TEST_CASE("formats: chunk and tree in the document are what is written, and are read as the document says") {
  TemporaryDirectory folder;
  SystemFiles files;
  CountingRandom random;
  const Uuid terminal = must(Uuid::parse("00112233-4455-6677-8899-aabbccddeeff"));
  ChunkWriter writer(files, folder.path(), terminal, random);
  const Digest name = sha256(as_bytes("tea"));
  const PieceRange range = writer.add(as_bytes("tea"), name);
  auto chunk = must(writer.finish());
  const Bytes chunk_bytes = must(read_file(files, chunk.path));
  CHECK_MESSAGE(chunk_bytes == example("chunk"), shown(chunk_bytes));

  auto tree_writer = must(AssetTreeWriter::create(files, folder.path(), terminal, random));
  AssetEntry root, file;
  root.mode = 0755;
  root.mtime_ns = file.mtime_ns = 1767225600'000'000'000;
  file.kind = AssetEntryKind::file;
  file.depth = 1;
  file.name = "menu.txt";
  file.mode = 0644;
  file.size = 3;
  file.pieces = {{0, range, name}};
  must(tree_writer.add(root));
  must(tree_writer.add(file));
  auto tree = must(tree_writer.finish({{chunk.sha256, chunk.size}}));
  const Bytes tree_bytes = must(read_file(files, tree.path));
  CHECK_MESSAGE(tree_bytes == example("tree"), shown(tree_bytes));
  CHECK(sha256(tree_bytes) == tree.sha256);

  // Where the document says.
  const Bytes documented = example("chunk");
  REQUIRE(documented.size() == 128 + 12 + 56 + 128);
  const ByteView view(documented);
  const uint64_t index = le64(view.last(128).data() + 8);
  CHECK(index == 140);
  CHECK(le32(view.data() + index) == 1);
  CHECK(equal(view.subspan(index + 8, 32), name.view()));
  CHECK(le32(view.data() + index + 40) == 128);
  CHECK(le32(view.data() + index + 44) == 12);
  CHECK(le32(view.data() + index + 48) == 3);

  MemoryObjectStore store;
  const std::string key = keys::asset_tree(terminal, sha256(example("tree")));
  store.set(key, example("tree"));
  const Bytes whole = example("tree");
  auto reader = must(AssetTreeReader::open(store, terminal, sha256(whole), whole.size()));
  CHECK(reader.entries() == 2);
  REQUIRE(reader.chunks().size() == 1);
  CHECK(reader.chunks()[0].sha256 == sha256(documented));
  CHECK(must(reader.next())->mode == 0755);
  CHECK(reader.path().empty());
  auto entry = must(reader.next());
  CHECK(entry->name == "menu.txt");
  CHECK(reader.path() == "menu.txt");
  CHECK(entry->size == 3);
  CHECK(entry->pieces[0].range == range);
  CHECK_FALSE(must(reader.next()).has_value());
}

TEST_CASE("formats: keys of asset objects are told from others") {
  const Uuid terminal = must(Uuid::parse("00112233-4455-6677-8899-aabbccddeeff"));
  const Digest digest = sha256(as_bytes("x"));
  for (auto& key : {keys::asset_chunk(terminal, digest), keys::asset_tree(terminal, digest)}) {
    must(check_key(key));
    CHECK(key.starts_with(keys::assets_prefix(terminal)));
    CHECK(keys::sha256_of_asset(key) == digest);
    CHECK_FALSE(keys::sha256_of_pack(key).has_value());
  }
  // A database may be named like the folder.
  CHECK_FALSE(keys::sha256_of_asset(keys::pack(keys::database_prefix(terminal, "assets", 1), digest)).has_value());
}

TEST_CASE("formats: the path of an entry is what leads to it") {
  AssetWorld world;
  for (auto name : {"a/b/c", "a/b/d/e", "a/f", "g", "h/i"}) world.write(name, name);
  std::filesystem::create_directory(world.media + "/empty");
  auto asset = world.back_up();
  auto reader = must(AssetTreeReader::open(world.store, world.terminal, asset.tree->sha256, asset.tree->size));
  std::vector<std::string> paths;
  while (must(reader.next())) paths.push_back(reader.path());
  CHECK(paths ==
        std::vector<std::string>{"", "a", "a/b", "a/b/c", "a/b/d", "a/b/d/e", "a/f", "empty", "g", "h", "h/i"});
}
