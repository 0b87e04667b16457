#include "crypto/sealed_store.h"

#include <algorithm>

#include "crypto/sealed_object.h"
#include "crypto/statement.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr uint64_t kSmallMax = 64 << 10;
constexpr std::string_view kProbe = "tillsync probe: whoever can read this in the store must not go on";

// Names, epochs, statements: what has to be readable before anybody has a key.
bool is_document(const std::string& key) { return key.ends_with(".json"); }

// Also of before a rotation: what was sealed once is sent as it is.
bool is_own(const TerminalRef& terminal, ByteView id) {
  return std::any_of(terminal.keys->signers.begin(), terminal.keys->signers.end(),
                     [&](auto& key) { return equal(key.id().view(), id); });
}

// Sealed, and signed by this terminal: by what its header says. What it holds is for who opens it.
bool looks_sealed(ByteView header, const TerminalRef& terminal) {
  return header.size() == ObjectHeader::kSize && as_text(header.first(8)) == "TILLSYNC" &&
         equal(header.subspan(32, 16), terminal.id.view()) && (header[72] | header[73] << 8) == 1 &&
         (header[74] | header[75] << 8) == 1 && le32(header.data() + 76) != 0 &&
         is_own(terminal, header.subspan(80, 16));
}

}  // namespace

Result<void> SealedStore::put_statements() {
  for (uint64_t number = 1; number <= statements_.size(); number++) {
    const std::string key = statement_key(terminal_, number);
    const Bytes& statement = statements_[number - 1];
    BytesSource source(statement);
    auto done = store_->put(key, source);
    if (done) continue;
    if (done.error().kind != ErrorKind::conflict) return done;
    TILLSYNC_LET(const Bytes there, read_object(*store_, key, kSmallMax));
    if (there != statement)
      return Error{ErrorKind::conflict, 0,
                   key +
                       ": the store has another statement of this terminal's keys. Was this state_dir copied from "
                       "another till, or were its keys rotated elsewhere? Nothing is sent"};
  }
  return {};
}

Result<void> SealedStore::probe() {
  const std::string key = keys::probe(terminal_, statements_.size());
  const Lineage lineage{terminal_.id, "", 0, terminal_.keys};
  const Bytes sealed = seal_object(ObjectKind::probe, lineage, random_, as_bytes(kProbe));
  // An earlier start's would only show that reading works.
  if (store_->properties().may_delete) TILLSYNC_TRY(store_->remove(key));
  BytesSource source(sealed);
  auto done = store_->put(key, source);
  if (!done && done.error().kind != ErrorKind::conflict) return done;
  TILLSYNC_LET(const Bytes there, read_object(*store_, key, kSmallMax));
  const bool readable = std::search(there.begin(), there.end(), kProbe.begin(), kProbe.end()) != there.end();
  auto opened = open_object(there, ObjectKind::probe, lineage);
  // Who is no recipient of his own can't open it: then its form, and that the text is not in it, has to do.
  const bool whole = opened ? as_text(opened->body) == kProbe : opened.error().kind == ErrorKind::denied;
  if (readable || !whole || (done && there != sealed))
    return Error{ErrorKind::corrupt, 0,
                 key + ": what was stored as a test is not what came back sealed" +
                     (opened ? "" : ": " + opened.error().context) + ". Nothing is sent to this store"};
  return {};
}

Result<void> SealedStore::prepare() {
  std::lock_guard lock(mutex_);
  if (prepared_) return {};
  TILLSYNC_TRY(put_statements());
  TILLSYNC_TRY(probe());
  prepared_ = true;
  return {};
}

Result<void> SealedStore::check_sealed(const std::string& key, ObjectSource& source) {
  TILLSYNC_TRY(prepare());
  if (is_document(key)) return {};
  Bytes header(ObjectHeader::kSize);
  TILLSYNC_LET(const size_t got, source.read(0, header));
  if (got != header.size() || !looks_sealed(header, terminal_))
    return Error{ErrorKind::internal, 0, key + ": it is not sealed by this terminal's key, and was not sent"};
  return {};
}

Result<void> SealedStore::put(const std::string& key, ObjectSource& source,
                              const std::function<bool(uint64_t)>& progress) {
  TILLSYNC_TRY(check_sealed(key, source));
  return store_->put(key, source, progress);
}

Result<void> SealedStore::put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                                        const std::function<bool(uint64_t)>& progress) {
  TILLSYNC_TRY(check_sealed(key, source));
  return store_->put_resumable(key, source, journal, progress);
}

Result<void> SealedStore::replace(const std::string& key, ByteView bytes) {
  TILLSYNC_TRY(prepare());
  if (!is_document(key)) return Error{ErrorKind::internal, 0, key + ": it is no document, and was not sent"};
  return store_->replace(key, bytes);
}

}  // namespace tillsync
