#include "assets/asset_memory.h"

namespace tillsync {

namespace {

constexpr int64_t kUnseenDays = 7;

int64_t day_of(Timestamp now) { return to_ms(now) / (24 * 3600 * 1000); }

Digest digest_at(ByteView bytes) {
  Digest digest;
  std::copy_n(bytes.begin(), digest.bytes.size(), digest.bytes.begin());
  return digest;
}

}  // namespace

Result<std::optional<std::vector<Digest>>> AssetMemory::file(const std::string& asset, const std::string& path,
                                                             const NodeInfo& info) {
  auto db = state_.lease();
  TILLSYNC_LET(auto query, db->cached("SELECT pieces FROM asset_files WHERE asset=? AND path=? AND size=? AND "
                                      "mtime_ns=? AND ctime_ns=? AND inode=? AND device=?"));
  query->bind(1, asset).bind(2, as_bytes(path)).bind(3, info.size).bind(4, info.mtime_ns).bind(5, info.ctime_ns);
  query->bind(6, info.inode).bind(7, info.device);
  TILLSYNC_LET(bool found, query->step());
  std::optional<std::vector<Digest>> pieces;
  if (found) {
    pieces.emplace();
    const ByteView all = query->blob(0);
    for (size_t at = 0; at + 32 <= all.size(); at += 32) pieces->push_back(digest_at(all.subspan(at, 32)));
  }
  query->reset();
  return pieces;
}

Result<void> AssetMemory::remember(const std::string& asset, const std::vector<FileSeen>& files, Timestamp now) {
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  TILLSYNC_LET(auto put, db->cached("INSERT OR REPLACE INTO asset_files(asset, path, size, mtime_ns, ctime_ns, inode, "
                                    "device, pieces, seen_day) VALUES(?,?,?,?,?,?,?,?,?)"));
  for (auto& file : files) {
    Bytes names;
    for (auto& piece : file.pieces) append(names, piece.view());
    put->bind(1, asset).bind(2, as_bytes(file.path)).bind(3, file.info.size).bind(4, file.info.mtime_ns);
    put->bind(5, file.info.ctime_ns).bind(6, file.info.inode).bind(7, file.info.device).bind(8, ByteView(names));
    TILLSYNC_TRY(put->bind(9, day_of(now)).run());
  }
  return transaction.commit();
}

Result<void> AssetMemory::keep(const std::string& asset, const std::vector<std::string>& paths, Timestamp now) {
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  TILLSYNC_LET(auto put, db->cached("UPDATE asset_files SET seen_day=? WHERE asset=? AND path=? AND seen_day<>?"));
  for (auto& path : paths) {
    put->bind(1, day_of(now)).bind(2, asset).bind(3, as_bytes(path)).bind(4, day_of(now));
    TILLSYNC_TRY(put->run());
  }
  return transaction.commit();
}

Result<void> AssetMemory::forget_unseen(Timestamp now) {
  auto db = state_.lease();
  TILLSYNC_LET(auto old, db->prepare("DELETE FROM asset_files WHERE seen_day<?"));
  return old.bind(1, day_of(now) - kUnseenDays).run();
}

Result<std::optional<KnownPiece>> AssetMemory::piece(const Digest& name) {
  auto db = state_.lease();
  TILLSYNC_LET(auto query, db->cached("SELECT c.sha256, c.size, p.byte_offset, p.stored, p.raw FROM asset_pieces p "
                                      "JOIN asset_chunks c ON c.id=p.chunk_id WHERE p.sha256=?"));
  query->bind(1, name.view());
  TILLSYNC_LET(bool found, query->step());
  std::optional<KnownPiece> piece;
  if (found) {
    piece.emplace();
    piece->chunk.sha256 = digest_at(query->blob(0));
    piece->chunk.size = query->unsigned_integer(1);
    piece->range = {static_cast<uint32_t>(query->integer(2)), static_cast<uint32_t>(query->integer(3)),
                    static_cast<uint32_t>(query->integer(4))};
  }
  query->reset();
  return piece;
}

Result<std::optional<AssetMemory::KnownTree>> AssetMemory::tree(const std::string& asset) {
  auto db = state_.lease();
  TILLSYNC_LET(auto query, db->prepare("SELECT content, sha256, size FROM asset_trees WHERE asset=?"));
  query.bind(1, asset);
  TILLSYNC_LET(bool found, query.step());
  if (!found) return std::optional<KnownTree>();
  return std::optional(KnownTree{digest_at(query.blob(0)), {digest_at(query.blob(1)), query.unsigned_integer(2)}});
}

Result<void> remember_chunk(Connection& db, const TreeChunk& chunk, const std::vector<ChunkPiece>& pieces) {
  TILLSYNC_LET(auto put, db.prepare("INSERT OR IGNORE INTO asset_chunks(sha256, size) VALUES(?,?)"));
  TILLSYNC_TRY(put.bind(1, chunk.sha256.view()).bind(2, chunk.size).run());
  TILLSYNC_LET(auto find, db.prepare("SELECT id FROM asset_chunks WHERE sha256=?"));
  TILLSYNC_LET(bool found, find.bind(1, chunk.sha256.view()).step());
  if (!found) return Error{ErrorKind::internal, 0, "a chunk that was put into state.db is not there"};
  const int64_t id = find.integer(0);
  TILLSYNC_LET(auto piece, db.prepare("INSERT OR IGNORE INTO asset_pieces(sha256, chunk_id, byte_offset, stored, raw) "
                                      "VALUES(?,?,?,?,?)"));
  for (auto& each : pieces) {
    piece.bind(1, each.name.view()).bind(2, id).bind(3, each.range.offset).bind(4, each.range.stored);
    TILLSYNC_TRY(piece.bind(5, each.range.raw).run());
  }
  return {};
}

Result<void> remember_tree(Connection& db, const std::string& asset, const AssetMemory::KnownTree& tree) {
  TILLSYNC_LET(auto put,
               db.prepare("INSERT OR REPLACE INTO asset_trees(asset, content, sha256, size) VALUES(?,?,?,?)"));
  put.bind(1, asset).bind(2, tree.content.view()).bind(3, tree.tree.sha256.view()).bind(4, tree.tree.size);
  return put.run();
}

Result<void> forget_asset_object(Connection& db, const Digest& sha256) {
  for (const char* sql : {"DELETE FROM asset_pieces WHERE chunk_id IN (SELECT id FROM asset_chunks WHERE sha256=?)",
                          "DELETE FROM asset_chunks WHERE sha256=?", "DELETE FROM asset_trees WHERE sha256=?"}) {
    TILLSYNC_LET(auto statement, db.prepare(sql));
    TILLSYNC_TRY(statement.bind(1, sha256.view()).run());
  }
  return {};
}

}  // namespace tillsync
