#include "transfer/state_upload_journal.h"

namespace tillsync {

namespace {

constexpr const char* kColumns = "SELECT object_key, upload_id, token, object_size, part_size, began_at FROM uploads ";

Upload upload_of(const Statement& row) {
  return {.key = row.text(0),
          .id = row.text(1),
          .token = row.text(2),
          .object_size = row.unsigned_integer(3),
          .part_size = row.unsigned_integer(4),
          .began_at = from_ms(row.integer(5))};
}

Result<Digest> digest_of(ByteView bytes, const std::string& key) {
  Digest digest;
  if (bytes.size() != digest.bytes.size())
    return Error{ErrorKind::corrupt, 0, "state.db: a part of " + key + " has no digest"};
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

}  // namespace

Result<std::optional<Upload>> StateUploadJournal::load(const std::string& key) {
  auto db = state_.lease();
  TILLSYNC_LET(auto row, db->prepare(std::string(kColumns) + "WHERE object_key=?"));
  row.bind(1, key);
  TILLSYNC_LET(bool found, row.step());
  if (!found) return std::optional<Upload>();
  Upload upload = upload_of(row);
  TILLSYNC_LET(auto parts,
               db->prepare("SELECT number, size, sha256, etag FROM upload_parts WHERE object_key=? ORDER BY number"));
  parts.bind(1, key);
  while (true) {
    TILLSYNC_LET(bool more, parts.step());
    if (!more) break;
    TILLSYNC_LET(Digest sha256, digest_of(parts.blob(2), key));
    upload.parts.push_back({static_cast<uint32_t>(parts.integer(0)), parts.unsigned_integer(1), sha256, parts.text(3)});
  }
  return std::optional<Upload>(std::move(upload));
}

Result<std::vector<Upload>> StateUploadJournal::list(const std::string& prefix) {
  auto db = state_.lease();
  TILLSYNC_LET(auto row, db->prepare(std::string(kColumns) + "WHERE substr(object_key, 1, length(?1))=?1"));
  row.bind(1, prefix);
  std::vector<Upload> all;
  while (true) {
    TILLSYNC_LET(bool more, row.step());
    if (!more) return all;
    all.push_back(upload_of(row));
  }
}

Result<void> StateUploadJournal::begin(const Upload& upload) {
  {
    auto db = state_.lease();
    TILLSYNC_LET(auto transaction, Transaction::begin(*db));
    TILLSYNC_LET(auto old, db->cached("DELETE FROM upload_parts WHERE object_key=?"));
    TILLSYNC_TRY(old->bind(1, upload.key).run());
    TILLSYNC_LET(auto insert, db->cached("INSERT OR REPLACE INTO uploads(object_key, upload_id, token, object_size, "
                                         "part_size, began_at) VALUES(?,?,?,?,?,?)"));
    TILLSYNC_TRY(insert->bind(1, upload.key)
                     .bind(2, upload.id)
                     .bind(3, upload.token)
                     .bind(4, upload.object_size)
                     .bind(5, upload.part_size)
                     .bind(6, to_ms(upload.began_at))
                     .run());
    TILLSYNC_TRY(transaction.commit());
  }
  for (auto& part : upload.parts) TILLSYNC_TRY(part_done(upload.key, upload.id, part));
  return state_.make_durable();
}

Result<void> StateUploadJournal::part_done(const std::string& key, const std::string& id, const UploadPart& part) {
  {
    auto db = state_.lease();
    TILLSYNC_LET(auto insert,
                 db->cached("INSERT OR REPLACE INTO upload_parts(object_key, number, size, sha256, etag) SELECT "
                            "object_key, ?3, ?4, ?5, ?6 FROM uploads WHERE object_key=?1 AND upload_id=?2"));
    TILLSYNC_TRY(insert->bind(1, key)
                     .bind(2, id)
                     .bind(3, part.number)
                     .bind(4, part.size)
                     .bind(5, part.sha256.view())
                     .bind(6, part.etag)
                     .run());
  }
  return state_.make_durable();
}

Result<void> StateUploadJournal::forget(const std::string& key) {
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  for (const char* sql : {"DELETE FROM upload_parts WHERE object_key=?", "DELETE FROM uploads WHERE object_key=?"}) {
    TILLSYNC_LET(auto remove, db->prepare(sql));
    TILLSYNC_TRY(remove.bind(1, key).run());
  }
  return transaction.commit();
}

Result<uint64_t> StateUploadJournal::sent(const std::string& key) {
  auto db = state_.lease();
  TILLSYNC_LET(auto sum, db->prepare("SELECT coalesce(sum(size), 0) FROM upload_parts WHERE object_key=?"));
  sum.bind(1, key);
  TILLSYNC_TRY(sum.step());
  return sum.unsigned_integer(0);
}

Result<std::vector<std::string>> StateUploadJournal::unwanted() {
  auto db = state_.lease();
  TILLSYNC_LET(auto row, db->prepare("SELECT object_key FROM uploads u WHERE NOT EXISTS (SELECT 1 FROM transfer_queue "
                                     "q WHERE q.object_key=u.object_key AND q.sent_at IS NULL)"));
  std::vector<std::string> keys;
  while (true) {
    TILLSYNC_LET(bool more, row.step());
    if (!more) return keys;
    keys.push_back(row.text(0));
  }
}

}  // namespace tillsync
