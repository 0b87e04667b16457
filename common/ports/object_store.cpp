#include "ports/object_store.h"

#include <algorithm>

namespace tillsync {

Result<size_t> BytesSource::read(uint64_t offset, MutableBytes out) {
  if (offset >= bytes_.size()) return size_t{0};
  size_t n = std::min<uint64_t>(out.size(), bytes_.size() - offset);
  std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), n, out.begin());
  return n;
}

Result<void> ObjectStore::abandon_unfinished(const std::string& prefix, Timestamp before, UploadJournal& journal) {
  TILLSYNC_LET(const auto uploads, journal.list(prefix));
  for (const auto& upload : uploads)
    if (upload.began_at < before) TILLSYNC_TRY(abandon(upload.key, journal));
  return {};
}

Result<void> check_key(const std::string& key) {
  Error bad{ErrorKind::usage, 0, "'" + key + "' is not a valid object key"};
  if (key.empty() || key.size() > 1000) return bad;
  size_t start = 0;
  while (start <= key.size()) {
    size_t end = std::min(key.find('/', start), key.size());
    std::string_view part(key.data() + start, end - start);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string_view::npos) return bad;
    start = end + 1;
  }
  return {};
}

Result<Bytes> read_object(ObjectStore& store, const std::string& key, uint64_t limit) {
  TILLSYNC_LET(auto info, store.head(key));
  if (info.size > limit)
    return Error{ErrorKind::corrupt, 0, key + ": " + std::to_string(info.size) + " bytes are more than expected here"};
  Bytes out(info.size);
  TILLSYNC_LET(size_t got, store.read(key, 0, out));
  if (got != info.size) return Error{ErrorKind::corrupt, 0, key + ": ends after " + std::to_string(got) + " bytes"};
  return out;
}

Result<void> for_each_object(ObjectStore& store, const std::string& prefix,
                             const std::function<Result<void>(const ObjectInfo&)>& visit) {
  std::string after;
  while (true) {
    TILLSYNC_LET(auto page, store.list(prefix, after, 1000));
    for (auto& object : page.objects) TILLSYNC_TRY(visit(object));
    if (!page.more || page.objects.empty()) return {};
    after = page.objects.back().key;
  }
}

Result<std::vector<std::string>> list_folders(ObjectStore& store, const std::string& prefix) {
  constexpr size_t kPage = 100;
  std::vector<std::string> folders;
  std::string after;
  while (true) {
    TILLSYNC_LET(const auto page, store.list(prefix, after, kPage));
    for (const auto& object : page.objects) {
      after = object.key;
      const auto slash = object.key.find('/', prefix.size());
      if (slash == std::string::npos) continue;
      const std::string folder = object.key.substr(prefix.size(), slash - prefix.size());
      if (folders.empty() || folders.back() != folder) folders.push_back(folder);
      // No part of our keys has a byte above 'z': this is behind everything in the folder.
      after = prefix + folder + "/~";
    }
    if (!page.more || page.objects.empty()) return folders;
  }
}

}  // namespace tillsync
