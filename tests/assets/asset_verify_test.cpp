// Proofs over assets in a store, what a manifest says of them, and what a snapshot needs.
#include "assets/assets_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("assets");

TEST_CASE("verify: a damaged or missing chunk is named, by reading and by looking") {
  AssetWorld world;
  world.write("a", world.noise(100'000));
  world.write("b/c", "text");
  auto asset = world.back_up();
  const auto manifest = world.manifest(asset);
  const std::string chunk = world.only_chunk(), tree = keys::asset_tree(world.terminal, asset.tree->sha256);
  auto prove = [&] { return AssetVerifier(world.store, world.terminal).prove(manifest, nullptr); };
  auto check = [&] { return AssetVerifier(world.store, world.terminal).check(manifest); };
  CHECK(must(prove()) == asset.tree->size + world.store.content(chunk)->size());
  must(check());

  const uint64_t size = world.store.content(chunk)->size();
  for (uint64_t at : {uint64_t{0}, uint64_t{130}, size / 2, size - 130, size - 1}) {
    world.store.flip(chunk, at);
    auto error = refused(prove());
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, chunk));
    CHECK(contains(error.context, "asset 'media'"));
    world.store.flip(chunk, at);
  }
  for (uint64_t at = 0; at < asset.tree->size; at++) {
    world.store.flip(tree, at);
    CHECK(contains(refused(prove()).context, tree));
    world.store.flip(tree, at);
  }
  world.store.truncate(chunk, size - 1);
  CHECK(contains(refused(check()).context, chunk));
  world.store.erase(chunk);
  CHECK(contains(refused(check()).context, chunk + ": the chunk is missing"));
  CHECK(contains(refused(prove()).context, chunk + ": the chunk is missing"));
  world.store.erase(tree);
  CHECK(contains(refused(check()).context, tree));
}

TEST_CASE("verify: what snapshots share is read once, an offline store is no verdict") {
  AssetWorld world;
  world.write("a", world.noise(300'000));
  const auto first = world.manifest(world.back_up());
  world.write("b", "b");
  const auto second = world.manifest(world.back_up());
  AssetVerifier verifier(world.store, world.terminal);
  world.store.set_offline(true);
  CHECK(kind_of(verifier.prove(first, nullptr)) == ErrorKind::offline);
  world.store.set_offline(false);
  must(verifier.prove(first, nullptr));
  const uint64_t read = world.store.bytes_read();
  must(verifier.prove(first, nullptr));
  CHECK(world.store.bytes_read() == read);
  must(verifier.prove(second, nullptr));
  CHECK(world.store.bytes_read() - read < 5000);
}

TEST_CASE("verify: a tree that says other things of a chunk than the chunk does is found") {
  AssetWorld world;
  world.write("a", "content");
  world.back_up();
  const std::string key = world.only_chunk();
  const auto pieces = must(read_chunk_index(*world.store.content(key), key, world.terminal));
  auto writer = must(AssetTreeWriter::create(world.files, world.spool, world.terminal, world.random));
  must(writer.add(AssetEntry{}));
  AssetEntry file;
  file.kind = AssetEntryKind::file;
  file.depth = 1;
  file.name = "a";
  file.size = 7;
  file.pieces = {{0, pieces[0].range, sha256(as_bytes("another"))}};
  must(writer.add(file));
  auto finished = must(writer.finish({{*keys::sha256_of_asset(key), world.store.content(key)->size()}}));
  world.store.set(keys::asset_tree(world.terminal, finished.sha256), must(read_file(world.files, finished.path)));
  AssetReference asset = world.last.assets[0];
  asset.tree = {finished.sha256, finished.size};
  auto error = refused(AssetVerifier(world.store, world.terminal).prove(world.manifest(asset), nullptr));
  CHECK(contains(error.context, key));
  CHECK(contains(error.context, "'a'"));
}

TEST_CASE("prune: the objects a snapshot needs are listed, and those that are not there are found") {
  AssetWorld world;
  world.write("a", world.noise(6 << 20));
  auto first = world.back_up();
  CHECK(must(asset_objects(world.store, world.manifest(first))) == world.store.keys());
  world.write("a", "small");
  auto second = world.back_up();
  auto needed = must(asset_objects(world.store, world.manifest(second)));
  CHECK(needed.size() == 2);
  CHECK(must(missing_asset_objects(world.store, world.terminal, {first, second})).empty());
  // Only what the first one needs goes.
  for (auto& key : world.store.keys())
    if (std::find(needed.begin(), needed.end(), key) == needed.end()) {
      must(forget_asset_object(*world.state->lease(), *keys::sha256_of_asset(key)));
      must(world.store.remove(key));
    }
  must(AssetVerifier(world.store, world.terminal).prove(world.manifest(second), nullptr));
  CHECK(must(missing_asset_objects(world.store, world.terminal, {second})).empty());
  CHECK(must(missing_asset_objects(world.store, world.terminal, {first})).size() == 1);  // its tree
  world.store.erase(world.only_chunk());
  CHECK(must(missing_asset_objects(world.store, world.terminal, {second})).size() == 1);
}

TEST_CASE("manifest: an asset of another form is refused") {
  AssetWorld world;
  world.write("a", "a");
  const Json good = to_json(world.back_up(), world.terminal);
  CHECK(must(assets_from_json(Json::array({good}), world.terminal)).size() == 1);
  auto refuse = [&](auto change) {
    Json bad = good;
    change(bad);
    CHECK(kind_of(assets_from_json(Json::array({bad}), world.terminal)) == ErrorKind::corrupt);
  };
  for (auto name : {"", "..", ".", "a/b", "/etc", "a b"}) refuse([&](Json& json) { json["name"] = name; });
  for (auto& [field, value] : good.items()) refuse([&, name = field](Json& json) { json.erase(name); });
  refuse([](Json& json) { json["files"] = -1; });
  refuse([](Json& json) { json["notes"] = {1}; });
  refuse([](Json& json) { json["tree"]["sha256"] = std::string(64, '0'); });
  refuse([](Json& json) { json["tree"]["key"] = "fleet/x"; });
  refuse([](Json& json) { json["tree"]["size"] = "1"; });
  CHECK(kind_of(assets_from_json(Json::array({good, good}), world.terminal)) == ErrorKind::corrupt);
  CHECK(kind_of(assets_from_json(Json::array({1}), world.terminal)) == ErrorKind::corrupt);
  // Another terminal's objects are not this one's.
  CHECK(kind_of(assets_from_json(Json::array({good}), Uuid{})) == ErrorKind::corrupt);
}
