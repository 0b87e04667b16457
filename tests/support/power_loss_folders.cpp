#include "support/power_loss_folders.h"

#include <algorithm>

namespace tillsync::test {

class PowerLossFile : public File {
 public:
  PowerLossFile(std::shared_ptr<File> inner, PowerLossFolders& disk) : inner_(std::move(inner)), disk_(disk) {}
  Result<size_t> read(uint64_t offset, MutableBytes out) override { return inner_->read(offset, out); }
  Result<void> write(uint64_t offset, ByteView bytes) override {
    TILLSYNC_TRY(at_risk());
    return inner_->write(offset, bytes);
  }
  Result<void> truncate(uint64_t size) override {
    TILLSYNC_TRY(at_risk());
    return inner_->truncate(size);
  }
  Result<void> sync() override {
    TILLSYNC_TRY(inner_->sync());
    disk_.unsynced_.erase(inner_);
    return {};
  }
  Result<uint64_t> size() override { return inner_->size(); }
  Result<void> lock() override { return inner_->lock(); }

 private:
  Result<void> at_risk() {
    TILLSYNC_LET(uint64_t size, inner_->size());
    disk_.unsynced_.emplace(inner_, size);
    return {};
  }
  std::shared_ptr<File> inner_;
  PowerLossFolders& disk_;
};

class PowerLossFolder : public Folder {
 public:
  PowerLossFolder(std::shared_ptr<Folder> inner, PowerLossFolders& disk) : inner_(std::move(inner)), disk_(disk) {}
  Result<NodeInfo> info() override { return inner_->info(); }
  Result<std::vector<std::string>> names() override { return inner_->names(); }
  Result<NodeInfo> stat(const std::string& name) override { return inner_->stat(name); }
  Result<OpenedFile> open_file(const std::string& name) override { return inner_->open_file(name); }
  Result<std::unique_ptr<Folder>> open_folder(const std::string& name) override {
    TILLSYNC_LET(auto folder, inner_->open_folder(name));
    return std::unique_ptr<Folder>(std::make_unique<PowerLossFolder>(std::move(folder), disk_));
  }
  Result<std::string> read_link(const std::string& name) override { return inner_->read_link(name); }

  Result<std::unique_ptr<File>> make_file(const std::string& name) override {
    TILLSYNC_LET(std::shared_ptr<File> file, inner_->make_file(name));
    TILLSYNC_TRY(changed([folder = inner_, name] { (void)folder->remove(name).has_value(); }));
    return std::unique_ptr<File>(std::make_unique<PowerLossFile>(std::move(file), disk_));
  }
  Result<std::unique_ptr<Folder>> make_folder(const std::string& name) override {
    TILLSYNC_LET(auto folder, inner_->make_folder(name));
    TILLSYNC_TRY(changed([parent = inner_, name] { (void)remove_tree(*parent, name).has_value(); }));
    return std::unique_ptr<Folder>(std::make_unique<PowerLossFolder>(std::move(folder), disk_));
  }
  Result<void> make_link(const std::string& name, const std::string& target) override {
    TILLSYNC_TRY(inner_->make_link(name, target));
    return changed([folder = inner_, name] { (void)folder->remove(name).has_value(); });
  }
  Result<void> set_attributes(const std::string& name, const NodeAttributes& attributes) override {
    TILLSYNC_LET(NodeInfo before, inner_->stat(name));
    TILLSYNC_TRY(inner_->set_attributes(name, attributes));
    return changed([folder = inner_, name, before] {
      (void)folder->set_attributes(name, {before.mode, before.mtime_ns, std::pair(before.owner, before.group)})
          .has_value();
    });
  }
  Result<void> rename(const std::string& name, Folder& to, const std::string& to_name, Rename how) override {
    auto target = dynamic_cast<PowerLossFolder&>(to).inner_;
    TILLSYNC_TRY(inner_->rename(name, *target, to_name, how));
    return changed(
        [from = inner_, target, name, to_name, how] { (void)target->rename(to_name, *from, name, how).has_value(); },
        target.get());
  }
  Result<void> add_name(const std::string& name, Folder& to, const std::string& to_name) override {
    auto target = dynamic_cast<PowerLossFolder&>(to).inner_;
    TILLSYNC_TRY(inner_->add_name(name, *target, to_name));
    TILLSYNC_LET(NodeInfo there, target->info());
    disk_.changes_.push_back({{there.inode}, [target, to_name] { (void)target->remove(to_name).has_value(); }});
    return {};
  }
  Result<void> remove(const std::string& name) override {
    TILLSYNC_LET(NodeInfo gone, inner_->stat(name));
    if (gone.type == FileType::directory) {
      TILLSYNC_LET(auto folder, inner_->open_folder(name));
      TILLSYNC_LET(auto names, folder->names());
      if (!names.empty()) return inner_->remove(name);  // for its words
    }
    const std::string aside = std::to_string(disk_.removals_++);
    TILLSYNC_TRY(inner_->rename(name, *disk_.removed_, aside, Rename::to_free_name));
    return changed([folder = inner_, removed = disk_.removed_, name, aside] {
      (void)removed->rename(aside, *folder, name, Rename::to_free_name).has_value();
    });
  }

  Result<void> sync() override {
    TILLSYNC_TRY(inner_->sync());
    TILLSYNC_LET(NodeInfo here, inner_->info());
    disk_.synced(here.inode);
    return {};
  }
  Result<void> sync_all() override {
    TILLSYNC_TRY(inner_->sync_all());
    disk_.synced_all();
    return {};
  }

 private:
  Result<void> changed(std::function<void()> undo, Folder* also = nullptr) {
    TILLSYNC_LET(NodeInfo here, inner_->info());
    std::vector<uint64_t> folders{here.inode};
    if (also) {
      TILLSYNC_LET(NodeInfo there, also->info());
      if (there.inode != here.inode) folders.push_back(there.inode);
    }
    disk_.changes_.push_back({std::move(folders), std::move(undo)});
    return {};
  }

  std::shared_ptr<Folder> inner_;
  PowerLossFolders& disk_;
};

Result<std::unique_ptr<Folder>> PowerLossFolders::open(const std::string& path) {
  if (!removed_) {
    TILLSYNC_LET(removed_, inner_.open(aside_.path()));
  }
  TILLSYNC_LET(auto folder, inner_.open(path));
  return std::unique_ptr<Folder>(std::make_unique<PowerLossFolder>(std::move(folder), *this));
}

void PowerLossFolders::synced(uint64_t folder) {
  for (auto& change : changes_) std::erase(change.folders, folder);
  changes_.remove_if([](const Change& change) { return change.folders.empty(); });
}

void PowerLossFolders::synced_all() {
  changes_.clear();
  unsynced_.clear();
}

void PowerLossFolders::undo(size_t kept) {
  while (changes_.size() > kept) {
    changes_.back().undo();
    changes_.pop_back();
  }
  synced_all();
}

void PowerLossFolders::lose_power(SeededRandom& loss) {
  for (auto& [file, size] : unsynced_) {
    auto now = file->size();
    if (now && *now > size) (void)file->truncate(size + loss.below(*now - size + 1)).has_value();
  }
  undo(loss.below(changes_.size() + 1));
}

void PowerLossFolders::lose_power() {
  for (auto& [file, size] : unsynced_) (void)file->truncate(size).has_value();
  undo(0);
}

}  // namespace tillsync::test
