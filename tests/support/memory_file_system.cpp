#include "support/memory_file_system.h"

#include <algorithm>
#include <functional>
#include <set>

namespace tillsync::test {

namespace {
constexpr uint64_t kBlock = 512;
constexpr size_t kHistory = 3;  // versions of a block kept between the synced one and the current

Error failure(ErrorKind kind, std::string_view doing, const std::string& path, std::string_view why) {
  return Error{kind, 0, std::string(doing) + " " + path + ": " + std::string(why)};
}
}  // namespace

struct MemoryFileSystem::Node {
  bool directory = false;
  uint64_t inode = 0;
  int64_t mtime = 0;

  // A file. `synced` is the content at the last sync; `older` holds, for every block written since, versions it had.
  Bytes now, synced;
  std::map<uint64_t, std::vector<Bytes>> older;
  std::vector<uint64_t> older_sizes;
  const void* locked_by = nullptr;

  // A folder. A step is what one call changed in it: name → node, nullptr for removed.
  using Step = std::vector<std::pair<std::string, NodePtr>>;
  std::map<std::string, NodePtr> names, synced_names;
  std::vector<Step> steps;

  static Bytes block_of(const Bytes& content, uint64_t block) {
    Bytes out(kBlock, 0);
    uint64_t from = block * kBlock;
    if (from < content.size())
      std::copy_n(content.begin() + static_cast<ptrdiff_t>(from), std::min<uint64_t>(kBlock, content.size() - from),
                  out.begin());
    return out;
  }

  // Called before bytes [from, to) change.
  void remember(uint64_t from, uint64_t to) {
    for (uint64_t block = from / kBlock; block * kBlock < to; block++) {
      auto& versions = older[block];
      versions.push_back(block_of(now, block));
      if (versions.size() > kHistory) versions.erase(versions.begin());
    }
  }
  void remember_size() {
    older_sizes.push_back(now.size());
    if (older_sizes.size() > kHistory) older_sizes.erase(older_sizes.begin());
  }

  void sync_content() {
    synced.resize(now.size());
    for (auto& [block, versions] : older) {
      uint64_t from = block * kBlock;
      if (from >= now.size()) continue;
      uint64_t n = std::min<uint64_t>(kBlock, now.size() - from);
      std::copy_n(now.begin() + static_cast<ptrdiff_t>(from), n, synced.begin() + static_cast<ptrdiff_t>(from));
    }
    older.clear();
    older_sizes.clear();
  }
  void sync_names() {
    synced_names = names;
    steps.clear();
  }

  void lose_content(SeededRandom* random) {
    if (random && (!older.empty() || !older_sizes.empty())) {
      std::vector<uint64_t> sizes = older_sizes;
      sizes.push_back(synced.size());
      sizes.push_back(now.size());
      // All of it, none of it and a mixture are each as likely: mixtures alone would hardly ever keep everything.
      uint64_t fate = random->below(3);
      Bytes survivor = synced;
      uint64_t size = fate == 0 ? synced.size() : fate == 1 ? now.size() : sizes[random->below(sizes.size())];
      survivor.resize(size);
      for (auto& [block, versions] : older) {
        uint64_t from = block * kBlock;
        if (from >= size) continue;
        uint64_t pick = fate == 0 ? 0 : fate == 1 ? 1 : random->below(2 + versions.size());
        Bytes content = pick == 0 ? block_of(synced, block) : pick == 1 ? block_of(now, block) : versions[pick - 2];
        std::copy_n(content.begin(), std::min<uint64_t>(kBlock, size - from),
                    survivor.begin() + static_cast<ptrdiff_t>(from));
      }
      synced = std::move(survivor);
    }
    now = synced;
    older.clear();
    older_sizes.clear();
    locked_by = nullptr;
  }

  void lose_names(SeededRandom* random) {
    if (random) {
      size_t happened = random->below(steps.size() + 1);
      for (size_t i = 0; i < happened; i++)
        for (auto& [name, node] : steps[i]) {
          if (node)
            synced_names[name] = node;
          else
            synced_names.erase(name);
        }
    }
    steps.clear();
    names = synced_names;
  }
};

struct MemoryFileSystem::State {
  mutable std::mutex mutex;
  NodePtr root = std::make_shared<Node>();
  uint64_t next_inode = 2, tick = 0, boot = 1, capacity = UINT64_MAX;
  bool powered = true;

  NodePtr make(bool directory) {
    auto node = std::make_shared<Node>();
    node->directory = directory;
    node->inode = next_inode++;
    node->mtime = static_cast<int64_t>(++tick);
    return node;
  }

  // "/a//b/" → {a, b}
  static std::vector<std::string> parts(const std::string& path) {
    std::vector<std::string> out;
    for (size_t at = 0; at < path.size();) {
      size_t end = std::min(path.find('/', at), path.size());
      if (end > at) out.push_back(path.substr(at, end - at));
      at = end + 1;
    }
    return out;
  }

  NodePtr find(const std::string& path) const {
    NodePtr node = root;
    for (auto& part : parts(path)) {
      if (!node->directory) return nullptr;
      auto it = node->names.find(part);
      if (it == node->names.end()) return nullptr;
      node = it->second;
    }
    return node;
  }

  struct Place {
    NodePtr folder;
    std::string name;
    NodePtr node;  // nullptr: free
  };
  Result<Place> locate(std::string_view doing, const std::string& path) const {
    if (!powered) return failure(ErrorKind::internal, doing, path, "the power is gone");
    auto all = parts(path);
    if (all.empty() || path[0] != '/') return failure(ErrorKind::usage, doing, path, "not an absolute path of a file");
    std::string folder_path = "/";
    for (size_t i = 0; i + 1 < all.size(); i++) folder_path += all[i] + "/";
    NodePtr folder = find(folder_path);
    if (!folder || !folder->directory) return failure(ErrorKind::not_found, doing, path, "no such folder");
    auto it = folder->names.find(all.back());
    return Place{folder, all.back(), it == folder->names.end() ? nullptr : it->second};
  }

  static void change(const NodePtr& folder, Node::Step step) {
    for (auto& [name, node] : step) {
      if (node)
        folder->names[name] = node;
      else
        folder->names.erase(name);
    }
    folder->steps.push_back(std::move(step));
  }

  void visit(const std::function<void(Node&)>& each) const {
    std::set<Node*> seen;
    std::function<void(Node&)> walk = [&](Node& node) {
      if (!seen.insert(&node).second) return;
      each(node);
      // Both sides: what was removed but not durably so may come back.
      for (auto& [name, child] : node.names) walk(*child);
      for (auto& [name, child] : node.synced_names) walk(*child);
      for (auto& step : node.steps)
        for (auto& [name, child] : step)
          if (child) walk(*child);
    };
    walk(*root);
  }

  uint64_t used() const {
    uint64_t sum = 0;
    std::set<const Node*> seen;
    std::function<void(const Node&)> walk = [&](const Node& node) {
      if (!seen.insert(&node).second) return;
      sum += node.now.size();
      for (auto& [name, child] : node.names) walk(*child);
    };
    walk(*root);
    return sum;
  }
};

class MemoryFileSystem::Handle : public File {
 public:
  Handle(std::shared_ptr<State> state, NodePtr node, std::string path, bool writable)
      : state_(std::move(state)),
        node_(std::move(node)),
        path_(std::move(path)),
        writable_(writable),
        boot_(state_->boot) {}
  ~Handle() override {
    std::lock_guard lock(state_->mutex);
    if (node_->locked_by == this) node_->locked_by = nullptr;
  }

  Result<size_t> read(uint64_t offset, MutableBytes out) override {
    std::lock_guard lock(state_->mutex);
    TILLSYNC_TRY(alive("read"));
    if (offset >= node_->now.size()) return size_t{0};
    size_t n = std::min<uint64_t>(out.size(), node_->now.size() - offset);
    std::copy_n(node_->now.begin() + static_cast<ptrdiff_t>(offset), n, out.begin());
    return n;
  }
  Result<void> write(uint64_t offset, ByteView bytes) override {
    std::lock_guard lock(state_->mutex);
    TILLSYNC_TRY(alive("write"));
    if (!writable_) return failure(ErrorKind::denied, "write", path_, "opened for reading");
    uint64_t end = offset + bytes.size();
    if (end > node_->now.size()) {
      if (state_->capacity != UINT64_MAX && state_->used() + (end - node_->now.size()) > state_->capacity)
        return failure(ErrorKind::no_space, "write", path_, "no space left");
      node_->remember_size();
    }
    node_->remember(std::min<uint64_t>(offset, node_->now.size()), end);
    if (end > node_->now.size()) node_->now.resize(end);
    std::copy(bytes.begin(), bytes.end(), node_->now.begin() + static_cast<ptrdiff_t>(offset));
    node_->mtime = static_cast<int64_t>(++state_->tick);
    return {};
  }
  Result<void> truncate(uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    TILLSYNC_TRY(alive("truncate"));
    if (!writable_) return failure(ErrorKind::denied, "truncate", path_, "opened for reading");
    node_->remember_size();
    node_->remember(std::min<uint64_t>(size, node_->now.size()), std::max<uint64_t>(size, node_->now.size()));
    node_->now.resize(size);
    node_->mtime = static_cast<int64_t>(++state_->tick);
    return {};
  }
  Result<void> sync() override {
    std::lock_guard lock(state_->mutex);
    TILLSYNC_TRY(alive("sync"));
    node_->sync_content();
    return {};
  }
  Result<uint64_t> size() override {
    std::lock_guard lock(state_->mutex);
    TILLSYNC_TRY(alive("get the size of"));
    return uint64_t{node_->now.size()};
  }
  Result<void> lock() override {
    std::lock_guard lock(state_->mutex);
    TILLSYNC_TRY(alive("lock"));
    if (node_->locked_by && node_->locked_by != this)
      return failure(ErrorKind::conflict, "lock", path_, "another process holds it");
    node_->locked_by = this;
    return {};
  }

 private:
  Result<void> alive(std::string_view doing) const {
    if (!state_->powered || state_->boot != boot_)
      return failure(ErrorKind::internal, doing, path_, "the power is gone");
    return {};
  }
  std::shared_ptr<State> state_;
  NodePtr node_;
  std::string path_;
  bool writable_;
  uint64_t boot_;
};

MemoryFileSystem::MemoryFileSystem() : state_(std::make_shared<State>()) {
  state_->root->directory = true;
  state_->root->inode = 1;
}
MemoryFileSystem::~MemoryFileSystem() = default;

Result<std::unique_ptr<File>> MemoryFileSystem::open(const std::string& path, OpenMode mode) {
  std::lock_guard lock(state_->mutex);
  TILLSYNC_LET(auto place, state_->locate("open", path));
  bool may_make = mode == OpenMode::create || mode == OpenMode::create_new;
  if (place.node && mode == OpenMode::create_new)
    return failure(ErrorKind::conflict, "create", path, "it exists already");
  if (place.node && place.node->directory) return failure(ErrorKind::internal, "open", path, "it is a folder");
  if (!place.node && !may_make) return failure(ErrorKind::not_found, "open", path, "no such file");
  if (!place.node) {
    place.node = state_->make(false);
    State::change(place.folder, {{place.name, place.node}});
  }
  return std::unique_ptr<File>(new Handle(state_, place.node, path, mode != OpenMode::read));
}

Result<FileInfo> MemoryFileSystem::stat(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return failure(ErrorKind::internal, "look at", path, "the power is gone");
  NodePtr node = state_->find(path);
  if (!node) return failure(ErrorKind::not_found, "look at", path, "no such file");
  FileInfo info;
  info.type = node->directory ? FileType::directory : FileType::regular;
  info.size = node->now.size();
  info.mtime_ns = node->mtime;
  info.inode = node->inode;
  info.device = 1;
  info.mode = node->directory ? 0700 : 0600;
  return info;
}

Result<void> MemoryFileSystem::remove(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  TILLSYNC_LET(auto place, state_->locate("remove", path));
  if (!place.node) return failure(ErrorKind::not_found, "remove", path, "no such file");
  if (!place.node->names.empty()) return failure(ErrorKind::conflict, "remove", path, "the folder is not empty");
  State::change(place.folder, {{place.name, nullptr}});
  return {};
}

Result<void> MemoryFileSystem::move(const std::string& from, const std::string& to, bool only_if_free) {
  std::lock_guard lock(state_->mutex);
  TILLSYNC_LET(auto source, state_->locate("rename", from));
  TILLSYNC_LET(auto target, state_->locate("rename " + from + " to", to));
  if (!source.node) return failure(ErrorKind::not_found, "rename", from, "no such file");
  if (only_if_free && target.node)
    return failure(ErrorKind::conflict, "give " + from + " the name", to, "it exists already");
  if (source.node == target.node) return {};
  if (target.node && (target.node->directory || source.node->directory))
    return failure(ErrorKind::conflict, "rename " + from + " to", to, "a folder is in the way");
  if (source.folder == target.folder) {
    State::change(source.folder, {{source.name, nullptr}, {target.name, source.node}});
  } else {
    State::change(target.folder, {{target.name, source.node}});
    State::change(source.folder, {{source.name, nullptr}});
  }
  return {};
}

Result<void> MemoryFileSystem::link_new(const std::string& from, const std::string& to) {
  std::lock_guard lock(state_->mutex);
  TILLSYNC_LET(auto source, state_->locate("link", from));
  TILLSYNC_LET(auto target, state_->locate("link " + from + " to", to));
  if (!source.node) return failure(ErrorKind::not_found, "link", from, "no such file");
  if (target.node) return failure(ErrorKind::conflict, "give " + from + " the further name", to, "it exists already");
  if (source.node->directory) return failure(ErrorKind::usage, "link", from, "it is a folder");
  source.node->mtime = static_cast<int64_t>(++state_->tick);
  State::change(target.folder, {{target.name, source.node}});
  return {};
}

Result<std::vector<DirectoryEntry>> MemoryFileSystem::list(const std::string& directory) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return failure(ErrorKind::internal, "list", directory, "the power is gone");
  NodePtr node = state_->find(directory);
  if (!node || !node->directory) return failure(ErrorKind::not_found, "list", directory, "no such folder");
  std::vector<DirectoryEntry> out;
  for (auto& [name, child] : node->names)
    out.push_back({name, child->directory ? FileType::directory : FileType::regular});
  return out;
}

Result<void> MemoryFileSystem::make_directories(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return failure(ErrorKind::internal, "make the folder", path, "the power is gone");
  NodePtr node = state_->root;
  for (auto& part : State::parts(path)) {
    auto it = node->names.find(part);
    NodePtr child = it == node->names.end() ? nullptr : it->second;
    if (child && !child->directory)
      return failure(ErrorKind::conflict, "make the folder", path, "a file is in the way");
    if (!child) {
      child = state_->make(true);
      State::change(node, {{part, child}});
    }
    node = child;
  }
  return {};
}

Result<void> MemoryFileSystem::sync_directory(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return failure(ErrorKind::internal, "sync the folder", path, "the power is gone");
  NodePtr node = state_->find(path);
  if (!node || !node->directory) return failure(ErrorKind::not_found, "sync the folder", path, "no such folder");
  node->sync_names();
  return {};
}

Result<uint64_t> MemoryFileSystem::free_space(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return failure(ErrorKind::internal, "get the free space of", path, "the power is gone");
  if (!state_->find(path)) return failure(ErrorKind::not_found, "get the free space of", path, "no such folder");
  if (state_->capacity == UINT64_MAX) return uint64_t{1} << 40;
  uint64_t used = state_->used();
  return used > state_->capacity ? 0 : state_->capacity - used;
}

void MemoryFileSystem::add_directory(const std::string& path) {
  (void)make_directories(path).has_value();
  std::lock_guard lock(state_->mutex);
  NodePtr node = state_->root;
  for (auto& part : State::parts(path)) {
    node->synced_names[part] = node->names[part];
    std::erase_if(node->steps, [&](auto& step) { return step.size() == 1 && step[0].first == part; });
    node = node->names[part];
  }
}

void MemoryFileSystem::set_capacity(uint64_t bytes) {
  std::lock_guard lock(state_->mutex);
  state_->capacity = bytes;
}

uint64_t MemoryFileSystem::used() const {
  std::lock_guard lock(state_->mutex);
  return state_->used();
}

void MemoryFileSystem::cut_power() {
  std::lock_guard lock(state_->mutex);
  state_->powered = false;
}

void MemoryFileSystem::lose_power(SeededRandom* random) {
  std::lock_guard lock(state_->mutex);
  state_->visit([&](Node& node) {
    node.lose_content(random);
    node.lose_names(random);
  });
  state_->boot++;
  state_->powered = true;
}

void MemoryFileSystem::copy_from(const MemoryFileSystem& other) {
  auto fresh = std::make_shared<State>();
  {
    std::lock_guard lock(other.state_->mutex);
    std::map<const Node*, NodePtr> copies;
    std::function<NodePtr(const Node&)> copy = [&](const Node& node) {
      NodePtr& made = copies[&node];
      if (made) return made;
      made = std::make_shared<Node>();
      NodePtr out = made;
      out->directory = node.directory;
      out->inode = node.inode;
      out->mtime = node.mtime;
      out->now = out->synced = node.now;
      for (auto& [name, child] : node.names) out->names[name] = copy(*child);
      out->synced_names = out->names;
      return out;
    };
    fresh->root = copy(*other.state_->root);
    fresh->next_inode = other.state_->next_inode;
    fresh->tick = other.state_->tick;
    fresh->boot = other.state_->boot;
    fresh->capacity = other.state_->capacity;
  }
  state_ = std::move(fresh);
}

void MemoryFileSystem::sync_all() {
  std::lock_guard lock(state_->mutex);
  state_->visit([](Node& node) {
    node.sync_content();
    node.sync_names();
  });
}

}  // namespace tillsync::test
