#include "store/directory_store.h"

#include <algorithm>
#include <functional>

namespace tillsync {

namespace {

constexpr size_t kCopyBytes = 256 << 10;

// Objects are never written again, so the time of their content is that of their put.
Timestamp put_at(const FileInfo& info) { return from_ms(info.mtime_ns / 1'000'000); }

bool is_temporary(std::string_view name) { return name.ends_with(".tmp"); }

// A depth-first walk in byte order of full keys. A folder `a` sorts as `a/`, so the file `a.x` comes before `a/b`.
struct Walk {
  FileSystem& files;
  const std::string& root;
  const std::string& prefix;
  const std::string& start_after;
  size_t limit;
  ObjectPage page;

  // May anything below `base` ("" or ending in '/') be wanted?
  bool wanted(const std::string& base) const {
    size_t n = std::min(base.size(), prefix.size());
    if (base.compare(0, n, prefix, 0, n) != 0) return false;
    // Everything below is smaller than start_after, unless start_after lies below too.
    return base > start_after || start_after.compare(0, base.size(), base) == 0;
  }

  Result<void> folder(const std::string& base) {
    std::string path = base.empty() ? root : root + "/" + base.substr(0, base.size() - 1);
    auto entries = files.list(path);
    if (!entries) {
      // Pruned away meanwhile.
      if (entries.error().kind == ErrorKind::not_found && !base.empty()) return {};
      return std::move(entries).error();
    }
    for (auto& entry : *entries)
      if (entry.type == FileType::directory) entry.name += '/';
    std::sort(entries->begin(), entries->end(), [](auto& a, auto& b) { return a.name < b.name; });
    for (auto& entry : *entries) {
      std::string key = base + entry.name;
      if (entry.type == FileType::directory) {
        if (wanted(key)) TILLSYNC_TRY(folder(key));
      } else if (entry.type == FileType::regular && key > start_after && key.starts_with(prefix) &&
                 !is_temporary(key)) {
        auto info = files.stat(root + "/" + key);
        if (!info && info.error().kind == ErrorKind::not_found) continue;
        if (!info) return std::move(info).error();
        if (page.objects.size() == limit) {
          page.more = true;
          return {};
        }
        page.objects.push_back({std::move(key), info->size, put_at(*info)});
      }
      if (page.more) return {};
    }
    return {};
  }
};

}  // namespace

DirectoryStore::DirectoryStore(FileSystem& files, Random& random, std::string root)
    : files_(files),
      random_(random),
      root_(root.size() > 1 && root.ends_with('/') ? root.substr(0, root.size() - 1) : std::move(root)) {}

ObjectStoreProperties DirectoryStore::properties() const {
  ObjectStoreProperties p;
  p.name = "directory";
  return p;
}

Error DirectoryStore::explained(Error error, const std::string& doing) const {
  std::string remedy;
  switch (error.kind) {
    case ErrorKind::no_space:
      remedy = "; the disk of the store " + root_ + " is full: free some space or prune old snapshots";
      break;
    case ErrorKind::denied:
      remedy = "; the store " + root_ +
               " cannot be written or read: check that it is not mounted read-only and that tillsync's user owns it";
      break;
    case ErrorKind::offline: remedy = "; check that the disk or share of the store " + root_ + " is connected"; break;
    default: break;
  }
  error.context = "store " + root_ + ": " + doing + ": " + error.context + remedy;
  return error;
}

Result<void> DirectoryStore::root_is_there() const {
  auto info = files_.stat(root_);
  // A root that is a symlink to a folder is fine: listing it follows the link.
  if (info && (info->type == FileType::directory || (info->type == FileType::symlink && files_.list(root_)))) return {};
  if (!info && info.error().kind != ErrorKind::not_found)
    return explained(std::move(info).error(), "look at the folder");
  return Error{ErrorKind::offline, 0,
               "store " + root_ +
                   ": the folder is not there; connect or mount the disk it is on, or make the folder if it is new"};
}

Result<std::string> DirectoryStore::path_of(const std::string& key) const {
  TILLSYNC_TRY(check_key(key));
  if (is_temporary(key))
    return Error{ErrorKind::usage, 0,
                 "'" + key + "' is not a valid object key: names ending in .tmp are for files being written"};
  return root_ + "/" + key;
}

uint32_t DirectoryStore::unique() {
  std::array<uint8_t, 4> bytes;
  random_.fill(bytes);
  return le32(bytes.data());
}

Result<void> DirectoryStore::make_parents(const std::string& key) {
  TILLSYNC_TRY(root_is_there());
  std::string parent = root_;
  for (size_t slash = key.find('/'); slash != std::string::npos; slash = key.find('/', slash + 1)) {
    std::string folder = root_ + "/" + key.substr(0, slash);
    bool known;
    {
      std::lock_guard lock(mutex_);
      known = durable_folders_.contains(folder);
    }
    // A known folder may have been removed by hand, or with the disk it was on.
    if (!known || !files_.stat(folder)) {
      auto made = files_.make_directories(folder);
      if (!made) return explained(std::move(made).error(), "make a folder");
      auto synced = files_.sync_directory(parent);
      if (!synced) return explained(std::move(synced).error(), "make a folder durable");
      std::lock_guard lock(mutex_);
      durable_folders_.insert(folder);
    }
    parent = folder;
  }
  return {};
}

Result<void> DirectoryStore::put(const std::string& key, ObjectSource& source,
                                 const std::function<bool(uint64_t)>& progress) {
  TILLSYNC_LET(std::string path, path_of(key));
  TILLSYNC_TRY(make_parents(key));
  // Asked before the bytes are written, for the sake of time; the rename decides.
  if (files_.stat(path)) {
    // The caller takes a conflict for "it is safe already", and it may be from a process killed before it synced the
    // name.
    auto synced = files_.sync_directory(directory_of(path));
    if (!synced) return explained(std::move(synced).error(), "put " + key);
    return Error{ErrorKind::conflict, 0, "store " + root_ + ": put " + key + ": the object exists already"};
  }
  if (const auto file = source.durable_file()) {
    if (progress && !progress(0)) return Error{ErrorKind::cancelled, 0, "cancelled"};
    auto linked = link(*file, path);
    if (!linked) return explained(std::move(linked).error(), "put " + key);
    if (*linked) {
      if (progress) (void)progress(source.size());
      return {};
    }
  }
  auto write = [&]() -> Result<void> {
    TILLSYNC_LET(auto pending, PendingFile::create(files_, path, unique()));
    Bytes buffer(std::min<uint64_t>(kCopyBytes, std::max<uint64_t>(source.size(), 1)));
    for (uint64_t sent = 0; sent < source.size();) {
      MutableBytes part(buffer.data(), std::min<uint64_t>(buffer.size(), source.size() - sent));
      TILLSYNC_LET(size_t got, source.read(sent, part));
      if (got != part.size())
        return Error{
            ErrorKind::corrupt, 0,
            "the source ends after " + std::to_string(sent + got) + " of " + std::to_string(source.size()) + " bytes"};
      TILLSYNC_TRY(pending.append(part));
      sent += got;
      if (progress && !progress(sent)) return Error{ErrorKind::cancelled, 0, "cancelled"};
    }
    return pending.commit_new();
  };
  auto done = write();
  if (!done) return explained(std::move(done).error(), "put " + key);
  return {};
}

// false: it has to be copied.
Result<bool> DirectoryStore::link(const std::string& file, const std::string& path) {
  if (auto linked = files_.link_new(file, path); !linked) {
    if (linked.error().kind == ErrorKind::conflict) return std::move(linked).error();
    // Whatever it is, the copy says it better or goes well.
    return false;
  }
  auto synced = files_.sync_directory(directory_of(path));
  // As PendingFile::commit_new(): a name that may be gone with the power is taken back.
  if (!synced) {
    (void)files_.remove(path).has_value();
    return std::move(synced).error();
  }
  return true;
}

Result<void> DirectoryStore::replace(const std::string& key, ByteView bytes) {
  TILLSYNC_LET(std::string path, path_of(key));
  TILLSYNC_TRY(make_parents(key));
  auto write = [&]() -> Result<void> {
    TILLSYNC_LET(auto pending, PendingFile::create(files_, path, unique()));
    TILLSYNC_TRY(pending.append(bytes));
    return pending.commit();
  };
  auto done = write();
  if (!done) return explained(std::move(done).error(), "replace " + key);
  return {};
}

Result<size_t> DirectoryStore::read(const std::string& key, uint64_t offset, MutableBytes out) {
  TILLSYNC_LET(std::string path, path_of(key));
  TILLSYNC_TRY(head(key));
  auto done = [&]() -> Result<size_t> {
    TILLSYNC_LET(auto file, files_.open(path, OpenMode::read));
    return file->read(offset, out);
  }();
  if (!done) return explained(std::move(done).error(), "read " + key);
  return done;
}

Result<ObjectInfo> DirectoryStore::head(const std::string& key) {
  TILLSYNC_LET(std::string path, path_of(key));
  auto info = files_.stat(path);
  if (info && info->type == FileType::regular) return ObjectInfo{key, info->size, put_at(*info)};
  if (!info && info.error().kind != ErrorKind::not_found) return explained(std::move(info).error(), "look at " + key);
  TILLSYNC_TRY(root_is_there());
  return Error{ErrorKind::not_found, 0, "store " + root_ + ": there is no object " + key};
}

Result<ObjectPage> DirectoryStore::list(const std::string& prefix, const std::string& start_after, size_t limit) {
  TILLSYNC_TRY(root_is_there());
  Walk walk{files_, root_, prefix, start_after, std::clamp<size_t>(limit, 1, 1000), {}};
  auto done = walk.folder("");
  if (!done) return explained(std::move(done).error(), "list " + prefix);
  return std::move(walk.page);
}

Result<void> DirectoryStore::remove(const std::string& key) {
  TILLSYNC_LET(std::string path, path_of(key));
  TILLSYNC_TRY(root_is_there());
  auto removed = files_.remove(path);
  if (!removed && removed.error().kind == ErrorKind::not_found) return {};
  if (!removed) return explained(std::move(removed).error(), "remove " + key);
  auto synced = files_.sync_directory(directory_of(path));
  if (!synced) return explained(std::move(synced).error(), "remove " + key);
  return {};
}

Result<void> DirectoryStore::remove_unfinished(const std::string& prefix, Timestamp before) {
  TILLSYNC_TRY(root_is_there());
  std::function<Result<void>(const std::string&)> folder = [&](const std::string& base) -> Result<void> {
    auto entries = files_.list(root_ + (base.empty() ? "" : "/" + base));
    // Pruned away meanwhile, or there was never a put.
    if (!entries && entries.error().kind == ErrorKind::not_found) return {};
    if (!entries) return std::move(entries).error();
    for (auto& entry : *entries) {
      const std::string key = base + entry.name;
      if (entry.type == FileType::directory) {
        if (prefix.starts_with(key + "/") || key.starts_with(prefix)) TILLSYNC_TRY(folder(key + "/"));
      } else if (entry.type == FileType::regular && is_temporary(key) && key.starts_with(prefix)) {
        auto info = files_.stat(root_ + "/" + key);
        if (!info || put_at(*info) >= before) continue;
        auto removed = files_.remove(root_ + "/" + key);
        if (!removed && removed.error().kind != ErrorKind::not_found) return removed;
      }
    }
    return {};
  };
  auto done = folder("");
  if (!done) return explained(std::move(done).error(), "remove what was never put below " + prefix);
  return {};
}

}  // namespace tillsync
