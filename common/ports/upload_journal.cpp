#include "ports/upload_journal.h"

#include <algorithm>

namespace tillsync {

Result<std::optional<Upload>> MemoryUploadJournal::load(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto it = uploads_.find(key);
  return it == uploads_.end() ? std::nullopt : std::optional<Upload>(it->second);
}

Result<std::vector<Upload>> MemoryUploadJournal::list(const std::string& prefix) {
  std::lock_guard lock(mutex_);
  std::vector<Upload> out;
  for (auto it = uploads_.lower_bound(prefix); it != uploads_.end() && it->first.starts_with(prefix); ++it)
    out.push_back(it->second);
  return out;
}

Result<void> MemoryUploadJournal::begin(const Upload& upload) {
  std::lock_guard lock(mutex_);
  uploads_[upload.key] = upload;
  return {};
}

Result<void> MemoryUploadJournal::part_done(const std::string& key, const std::string& id, const UploadPart& part) {
  std::lock_guard lock(mutex_);
  const auto it = uploads_.find(key);
  if (it == uploads_.end() || it->second.id != id) return {};
  auto& parts = it->second.parts;
  const auto at = std::lower_bound(parts.begin(), parts.end(), part.number,
                                   [](const UploadPart& a, uint32_t number) { return a.number < number; });
  if (at != parts.end() && at->number == part.number)
    *at = part;
  else
    parts.insert(at, part);
  return {};
}

Result<void> MemoryUploadJournal::forget(const std::string& key) {
  std::lock_guard lock(mutex_);
  uploads_.erase(key);
  return {};
}

}  // namespace tillsync
