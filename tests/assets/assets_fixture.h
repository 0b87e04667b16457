// A terminal with a folder of assets on the real file system, a store in memory, and the way back.
#pragma once

#ifndef _WIN32
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "assets/asset_capture.h"
#include "assets/asset_verifier.h"
#include "platform/this_system.h"
#include "ports/object_keys.h"
#include "restore/assets.h"
#include "sqlite/file_vfs.h"
#include "support/fake_clock.h"
#include "support/hooked_folders.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

// What a restore has to bring back of it, but the content: what it is, mode, owner and time as the system has them.
inline std::string attributes_of(const std::string& path) {
  char text[160];
#ifdef _WIN32
  const auto info = must(WindowsFileSystem().stat(path));
  std::snprintf(text, sizeof text, "%d %o %lld", static_cast<int>(info.type), info.mode,
                static_cast<long long>(info.mtime_ns));
#else
  struct stat s {};
  REQUIRE(::lstat(path.c_str(), &s) == 0);
  std::snprintf(text, sizeof text, "%o %u:%u %lld.%09ld", s.st_mode, s.st_uid, s.st_gid,
                static_cast<long long>(s.st_mtim.tv_sec), s.st_mtim.tv_nsec);
#endif
  return text;
}

// Everything below a folder that a restore has to bring back, a line each, with its content.
inline std::vector<std::string> described(const std::string& root) {
  std::vector<std::string> lines;
  auto describe = [&](const std::filesystem::path& path) {
    std::string line = path.lexically_relative(root).generic_string() + " " + attributes_of(path.string()) + " ";
    const auto type = std::filesystem::symlink_status(path).type();
    if (type == std::filesystem::file_type::symlink) line += "-> " + std::filesystem::read_symlink(path).string();
    if (type == std::filesystem::file_type::regular) {
      SystemFiles files;
      const Bytes content = must(read_file(files, path.string(), 1 << 30));
      line += std::to_string(content.size()) + " " + sha256(content).hex();
    }
    lines.push_back(line);
  };
  describe(root);
  for (auto& entry : std::filesystem::recursive_directory_iterator(root)) describe(entry.path());
  std::sort(lines.begin(), lines.end());
  return lines;
}

inline size_t entries_in(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

struct AssetWorld {
  TemporaryDirectory folder;
  std::string media = folder / "media", spool = folder / "spool";
  SystemFiles files;
  HookedFolders folders;
  SeededRandom random{7};
  // An hour after the files are made, so that they are not "changed just now".
  FakeClock clock{std::chrono::floor<Milliseconds>(std::chrono::system_clock::now()) + std::chrono::hours(1)};
  FileVfs vfs{files, clock, random};
  std::unique_ptr<StateDb> state;
  MemoryObjectStore store;
  Uuid terminal = must(Uuid::parse("00112233-4455-6677-8899-aabbccddeeff"));
  std::vector<std::string> include{"**/*"};
  OffLimits off_limits;
  bool deduplicate = true;
  uint64_t free_space_min = 0;
  CapturedAssets last;

  AssetWorld() {
    std::filesystem::create_directory(media);
    std::filesystem::create_directory(spool);
    state = must(StateDb::open(folder / "state.db", vfs.name(), clock));
  }

  void write(const std::string& name, std::string_view content, uint32_t mode = 0644) {
    const std::string path = media + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
    std::filesystem::permissions(path, static_cast<std::filesystem::perms>(mode));
  }
  void set_time(const std::string& name, int64_t seconds, long nanoseconds) {
    const std::string path = name.empty() ? media : media + "/" + name;
#ifdef _WIN32
    auto parent = must(WindowsFolders().open(directory_of(path)));
    NodeAttributes attributes;
    attributes.mode = must(files.stat(path)).mode;
    attributes.mtime_ns = seconds * 1'000'000'000 + nanoseconds;
    must(parent->set_attributes(path.substr(path.rfind('/') + 1), attributes));
#else
    const timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
#endif
  }
  std::string noise(size_t size) {
    std::string bytes(size, '\0');
    random.fill(MutableBytes(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
    return bytes;
  }

  Result<CapturedAssets> try_capture() {
    AssetMemory memory(*state);
    AssetCapture capture({.folders = folders,
                          .files = files,
                          .spool_folder = spool,
                          .memory = memory,
                          .random = random,
                          .clock = clock,
                          .terminal = terminal,
                          .off_limits = off_limits,
                          .deduplicate = deduplicate,
                          .free_space_min = free_space_min,
                          .progress = {}});
    TILLSYNC_TRY(capture.capture({"media", media, include}));
    return capture.finish();
  }
  void upload(const CapturedAssets& captured) {
    auto db = state->lease();
    auto transaction = must(Transaction::begin(*db));
    auto put = [&](const SpooledAssetObject& object) {
      Bytes bytes = must(read_file(files, object.path));
      CHECK(bytes.size() == object.size);
      BytesSource source(bytes);
      must(store.put(object.key, source));
      std::filesystem::remove(object.path);
      return bytes;
    };
    for (auto& chunk : captured.chunks) {
      Bytes bytes = put(chunk);
      auto pieces = must(read_chunk_index(bytes, chunk.key, terminal));
      must(remember_chunk(*db, {*keys::sha256_of_asset(chunk.key), chunk.size}, pieces));
    }
    for (auto& tree : captured.trees) put(tree);
    for (auto& [asset, known] : captured.content) must(remember_tree(*db, asset, known));
    must(transaction.commit());
    // Nothing else may be left behind.
    CHECK(must(files.list(spool)).empty());
  }
  // A whole backup of the assets.
  AssetReference back_up() {
    last = must(try_capture());
    upload(last);
    REQUIRE(last.assets.size() == 1);
    // As a manifest has it.
    return must(assets_from_json(Json::array({to_json(last.assets[0], terminal)}), terminal)).front();
  }
  Manifest manifest(const AssetReference& asset) {
    Manifest m;
    m.lineage = {terminal, "pos", 1};
    m.assets = Json::array({to_json(asset, terminal)});
    return m;
  }
  Result<AssetRestored> restore(const AssetReference& asset, const std::string& target, bool keep_others = false) {
    AssetRestoreOptions options;
#ifndef _WIN32
    options.owners = ::geteuid() == 0;
#endif
    options.keep_others = keep_others;
    options.off_limits = off_limits;
    SystemFolders real;
    return restore_asset(store, real, files, random, terminal, asset, target, std::move(options));
  }
  std::string only_chunk() {
    std::string found;
    for (auto& key : store.keys())
      if (key.ends_with(".chunk")) {
        CHECK(found.empty());
        found = key;
      }
    REQUIRE(!found.empty());
    return found;
  }
};

}  // namespace tillsync::test
