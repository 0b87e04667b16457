#include "transfer/file_source.h"

namespace tillsync {

Result<std::unique_ptr<FileSource>> FileSource::open(FileSystem& files, const std::string& path) {
  auto source = std::make_unique<FileSource>();
  source->path_ = path;
  TILLSYNC_LET(source->file_, files.open(path, OpenMode::read));
  TILLSYNC_LET(source->size_, source->file_->size());
  return source;
}

Result<size_t> FileSource::read(uint64_t offset, MutableBytes out) {
  auto got = file_->read(offset, out);
  if (!got) error_ = got.error();
  return got;
}

Result<void> put_once(ObjectStore& store, const std::string& key, ObjectSource& source,
                      const std::function<Result<void>()>& put) {
  auto done = put();
  if (done || done.error().kind != ErrorKind::conflict) return done;
  TILLSYNC_LET(auto info, store.head(key));
  Error other{ErrorKind::conflict, 0,
              key +
                  ": other bytes are in the store under this name; was this state_dir copied from another till, or "
                  "restored from an old disk image?"};
  if (info.size != source.size()) return other;
  Bytes there(1 << 20), ours(1 << 20);
  for (uint64_t offset = 0; offset < info.size; offset += there.size()) {
    TILLSYNC_LET(size_t a, store.read(key, offset, there));
    TILLSYNC_LET(size_t b, source.read(offset, ours));
    if (a != b || !equal(ByteView(there).first(a), ByteView(ours).first(b))) return other;
  }
  return {};
}

Result<void> put_once(ObjectStore& store, const std::string& key, ObjectSource& source) {
  return put_once(store, key, source, [&] { return store.put(key, source); });
}

}  // namespace tillsync
