// Real folders whose every call can be watched, failed, or made the last one.
//
// Calls: of Folders "root"; of a Folder "info", "names", "stat", "open", "folder", "read link", "make file",
// "make folder", "make link", "attributes", "exchange" and "rename" (with the new name), "add name", "remove",
// "sync folder", "sync all"; of its files "read" (each time bytes are asked for), "write", "truncate", "sync", "size".
// Threads: as Folders.
#pragma once

#include <functional>

#include "platform/this_system.h"

namespace tillsync::test {

// Real folders in which something happens at a call: `before(call, name)` runs first, and its error is the answer.
class HookedFolders : public Folders {
 public:
  using Hook = std::function<Result<void>(const std::string& call, const std::string& name)>;
  Hook before = [](const std::string&, const std::string&) -> Result<void> { return {}; };
  HookedFolders() = default;
  explicit HookedFolders(Folders& inner) : inner_(inner) {}
  Result<std::unique_ptr<Folder>> open(const std::string& path) override;

 private:
  SystemFolders real_;
  Folders& inner_ = real_;
};

class HookedFile : public File {
 public:
  HookedFile(std::unique_ptr<File> inner, HookedFolders& hooks, std::string name)
      : inner_(std::move(inner)), hooks_(hooks), name_(std::move(name)) {}
  Result<size_t> read(uint64_t offset, MutableBytes out) override {
    TILLSYNC_TRY(hooks_.before("read", name_));
    return inner_->read(offset, out);
  }
  Result<void> write(uint64_t offset, ByteView bytes) override {
    TILLSYNC_TRY(hooks_.before("write", name_));
    return inner_->write(offset, bytes);
  }
  Result<void> truncate(uint64_t size) override {
    TILLSYNC_TRY(hooks_.before("truncate", name_));
    return inner_->truncate(size);
  }
  Result<void> sync() override {
    TILLSYNC_TRY(hooks_.before("sync", name_));
    return inner_->sync();
  }
  Result<uint64_t> size() override {
    TILLSYNC_TRY(hooks_.before("size", name_));
    return inner_->size();
  }
  Result<void> lock() override { return inner_->lock(); }

 private:
  std::unique_ptr<File> inner_;
  HookedFolders& hooks_;
  std::string name_;
};

class HookedFolder : public Folder {
 public:
  HookedFolder(std::unique_ptr<Folder> inner, HookedFolders& hooks, std::string name)
      : inner_(std::move(inner)), hooks_(hooks), name_(std::move(name)) {}
  Result<NodeInfo> info() override {
    TILLSYNC_TRY(hooks_.before("info", name_));
    return inner_->info();
  }
  Result<std::vector<std::string>> names() override {
    TILLSYNC_TRY(hooks_.before("names", name_));
    return inner_->names();
  }
  Result<NodeInfo> stat(const std::string& name) override {
    TILLSYNC_TRY(hooks_.before("stat", name));
    return inner_->stat(name);
  }
  Result<OpenedFile> open_file(const std::string& name) override {
    TILLSYNC_TRY(hooks_.before("open", name));
    TILLSYNC_LET(auto opened, inner_->open_file(name));
    opened.file = std::make_unique<HookedFile>(std::move(opened.file), hooks_, name);
    return opened;
  }
  Result<std::unique_ptr<Folder>> open_folder(const std::string& name) override {
    TILLSYNC_TRY(hooks_.before("folder", name));
    TILLSYNC_LET(auto folder, inner_->open_folder(name));
    return std::unique_ptr<Folder>(std::make_unique<HookedFolder>(std::move(folder), hooks_, name));
  }
  Result<std::string> read_link(const std::string& name) override {
    TILLSYNC_TRY(hooks_.before("read link", name));
    return inner_->read_link(name);
  }
  Result<std::unique_ptr<File>> make_file(const std::string& name) override {
    TILLSYNC_TRY(hooks_.before("make file", name));
    TILLSYNC_LET(auto file, inner_->make_file(name));
    return std::unique_ptr<File>(std::make_unique<HookedFile>(std::move(file), hooks_, name));
  }
  Result<std::unique_ptr<Folder>> make_folder(const std::string& name) override {
    TILLSYNC_TRY(hooks_.before("make folder", name));
    TILLSYNC_LET(auto folder, inner_->make_folder(name));
    return std::unique_ptr<Folder>(std::make_unique<HookedFolder>(std::move(folder), hooks_, name));
  }
  Result<void> make_link(const std::string& name, const std::string& target) override {
    TILLSYNC_TRY(hooks_.before("make link", name));
    return inner_->make_link(name, target);
  }
  Result<void> set_attributes(const std::string& name, const NodeAttributes& attributes) override {
    TILLSYNC_TRY(hooks_.before("attributes", name));
    return inner_->set_attributes(name, attributes);
  }
  Result<void> rename(const std::string& name, Folder& to, const std::string& to_name, Rename how) override {
    TILLSYNC_TRY(hooks_.before(how == Rename::exchange ? "exchange" : "rename", to_name));
    return inner_->rename(name, *dynamic_cast<HookedFolder&>(to).inner_, to_name, how);
  }
  Result<void> add_name(const std::string& name, Folder& to, const std::string& to_name) override {
    TILLSYNC_TRY(hooks_.before("add name", to_name));
    return inner_->add_name(name, *dynamic_cast<HookedFolder&>(to).inner_, to_name);
  }
  Result<void> remove(const std::string& name) override {
    TILLSYNC_TRY(hooks_.before("remove", name));
    return inner_->remove(name);
  }
  Result<void> sync() override {
    TILLSYNC_TRY(hooks_.before("sync folder", name_));
    return inner_->sync();
  }
  Result<void> sync_all() override {
    TILLSYNC_TRY(hooks_.before("sync all", name_));
    return inner_->sync_all();
  }

 private:
  std::unique_ptr<Folder> inner_;
  HookedFolders& hooks_;
  std::string name_;
};

inline Result<std::unique_ptr<Folder>> HookedFolders::open(const std::string& path) {
  TILLSYNC_TRY(before("root", path));
  TILLSYNC_LET(auto folder, inner_.open(path));
  return std::unique_ptr<Folder>(std::make_unique<HookedFolder>(std::move(folder), *this, path));
}

}  // namespace tillsync::test
