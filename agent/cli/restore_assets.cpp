#include "agent/cli/restore_assets.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "agent/cli/step_progress.h"
#include "agent/cli/text.h"
#include "platform/linux/system_clock_linux.h"

namespace tillsync {

namespace {

// The asset objects of a store that only the agent can reach.
class AgentObjects : public ObjectStore {
 public:
  AgentObjects(ControlClient& agent, std::unique_ptr<File> buffer, int fd)
      : agent_(agent), buffer_(std::move(buffer)), fd_(fd) {}
  ObjectStoreProperties properties() const override { return {.name = "agent", .may_delete = false}; }
  Result<void> put(const std::string& key, ObjectSource&, const std::function<bool(uint64_t)>&) override {
    return read_only(key);
  }
  Result<void> replace(const std::string& key, ByteView) override { return read_only(key); }
  Result<void> remove(const std::string& key) override { return read_only(key); }
  Result<ObjectInfo> head(const std::string& key) override { return read_only(key); }
  Result<ObjectPage> list(const std::string& prefix, const std::string&, size_t) override { return read_only(prefix); }
  Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) override {
    ControlClient::CallOptions options;
    options.fd = fd_;
    const Json params{{"key", key}, {"offset", offset}, {"length", out.size()}};
    TILLSYNC_LET(const Json answer, agent_.call("assets.read", params, options));
    const uint64_t got = count_in(answer, "bytes");
    if (got > out.size()) return Error{ErrorKind::internal, 0, key + ": the agent gave more than was asked for"};
    return buffer_->read(0, out.first(got));
  }

 private:
  static Error read_only(const std::string& key) {
    return Error{ErrorKind::usage, 0, key + ": assets can only be read through the agent"};
  }
  ControlClient& agent_;
  std::unique_ptr<File> buffer_;  // in memory; the agent writes, we read
  int fd_;
};

// Of a sealed terminal the agent hands out the keys of the objects it was asked for.
Result<Keys> keys_from(const Json& answer) {
  if (!answer.contains("data_keys")) return Keys();
  auto ring = std::make_shared<Keyring>();
  for (auto& signer : member(answer, "signers")) {
    TILLSYNC_LET(auto key, PublicSigningKey::parse(signer.is_string() ? signer.get<std::string>() : ""));
    ring->signers.push_back(key);
  }
  for (auto& [object, hex] : member(answer, "data_keys").items()) {
    TILLSYNC_LET(const Uuid id, Uuid::parse(object));
    Bytes raw;
    if (!hex.is_string() || !from_hex(hex.get<std::string>(), raw) || raw.size() != Secret::kSize)
      return Error{ErrorKind::internal, 0, "the agent gave no key of object " + object};
    ring->data_keys.emplace(id, Secret(raw));
  }
  return Keys(std::move(ring));
}

Error refused(std::string why) { return Error{ErrorKind::denied, 0, std::move(why)}; }

}  // namespace

Result<AssetSource> assets_by_agent(ControlClient& agent, const Json& params) {
  TILLSYNC_LET(const Json answer, agent.call("assets", params));
  AssetSource source;
  TILLSYNC_LET(source.terminal, Uuid::parse(text_in(answer, "terminal_id")));
  TILLSYNC_LET(source.terminal.keys, keys_from(answer));
  TILLSYNC_LET(source.assets, assets_from_json(member(answer, "assets"), source.terminal));
  const int fd = ::memfd_create("tillsync-asset", MFD_CLOEXEC);
  if (fd < 0) return Error{ErrorKind::internal, errno, "make room for assets in memory"};
  source.store = std::make_shared<AgentObjects>(agent, adopt_file(fd, "assets in memory"), fd);
  return source;
}

Result<std::unique_ptr<AssetsTarget>> AssetsTarget::open(const std::string& folder, bool force) {
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(folder, failed).lexically_normal();
  if (failed) return Error{ErrorKind::internal, failed.value(), folder + ": " + failed.message()};
  std::string path = absolute.string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  std::unique_ptr<AssetsTarget> target(new AssetsTarget(path));
  auto there = target->folders_.open(path);
  if (!there && there.error().kind == ErrorKind::not_found && !std::filesystem::exists(path, failed)) return target;
  if (!there) return refused(std::move(there).error().context);
  TILLSYNC_LET(const auto names, (*there)->names());
  if (!names.empty() && !force)
    return refused(path + " is not empty: choose another folder, or replace the assets in it with --force");
  return target;
}

Result<void> AssetsTarget::stage(const AssetSource& source, const StoreCommands::Progress& tell) {
  TILLSYNC_TRY(files_.make_directories(folder_));
  SystemClock clock;
  StepProgress progress(tell, clock);
  if (!progress.begin("RESTORE_FILE_ASSETS")) return Error{ErrorKind::cancelled, 0, "interrupted"};
  for (auto& asset : source.assets) {
    staged_.push_back({asset, std::nullopt});
    if (!asset.tree) continue;
    AssetRestoreOptions options;
    options.owners = ::geteuid() == 0;
    options.progress = [&](uint64_t files, uint64_t bytes, uint64_t total) {
      return progress.show(files, bytes, total);
    };
    TILLSYNC_LET(auto tree, StagedAsset::stage(*source.store, folders_, files_, random_, source.terminal, asset,
                                               folder_ + "/" + asset.name, std::move(options)));
    staged_.back().tree.emplace(std::move(tree));
  }
  return {};
}

Result<Json> AssetsTarget::put_in_place() {
  Json all = Json::array();
  for (auto& [asset, tree] : staged_) {
    AssetRestored restored;
    if (tree) {
      TILLSYNC_LET(restored, tree->swap());
    }
    // What the backup left out is as much news to who restores as what went wrong now.
    std::vector<std::string> notes = asset.notes;
    notes.insert(notes.end(), restored.notes.begin(), restored.notes.end());
    all.push_back({{"name", asset.name},
                   {"path", tree ? Json(folder_ + "/" + asset.name) : Json()},
                   {"captured_at", to_rfc3339(asset.captured_at)},
                   {"files", restored.files},
                   {"folders", restored.folders},
                   {"links", restored.links},
                   {"bytes", restored.bytes},
                   {"notes", notes}});
  }
  return all;
}

}  // namespace tillsync
