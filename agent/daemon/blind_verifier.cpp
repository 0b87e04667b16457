#include "agent/daemon/blind_verifier.h"

#include "ports/object_keys.h"
#include "snapshot/pack_reader.h"

namespace tillsync {

namespace {

constexpr uint64_t kObjectMax = uint64_t{2} << 30;

struct Sent {
  std::string key;
  Digest sha256;
};

class BlindVerifier {
 public:
  BlindVerifier(const Services& services, const FollowedDatabase& database, const std::atomic<bool>& stopping,
                VerificationRecord& record)
      : services_(services), database_(database), stopping_(stopping), record_(record) {}

  Result<void> run() {
    TILLSYNC_LET(const auto snapshots, sent("SELECT manifest_key, checksum FROM snapshots WHERE is_complete AND "
                                            "database_id=?1 AND ?2=?2",
                                            true));
    for (auto& one : snapshots) {
      TILLSYNC_TRY(compare(one));
      record_.snapshots++;
    }
    TILLSYNC_TRY(packs());
    TILLSYNC_LET(const auto segments, sent("SELECT object_key, sha256 FROM segments WHERE durable_at IS NOT NULL AND "
                                           "id BETWEEN (?1<<48) AND ?2",
                                           false));
    for (auto& one : segments) {
      TILLSYNC_TRY(compare(one));
      record_.segments++;
    }
    return {};
  }

 private:
  Result<std::vector<Sent>> sent(const char* sql, bool as_hex) {
    std::vector<Sent> all;
    auto db = services_.state->lease();
    TILLSYNC_LET(auto query, db->prepare(sql));
    query.bind(1, database_.id()).bind(2, scoped_id(database_.id(), (uint64_t{1} << 48) - 1));
    while (true) {
      TILLSYNC_LET(bool row, query.step());
      if (!row) return all;
      Sent one{query.text(0), {}};
      if (as_hex) {
        TILLSYNC_LET(one.sha256, Digest::parse(query.text(1)));
      } else {
        TILLSYNC_LET(one.sha256, Digest::from_bytes(query.blob(1)));
      }
      all.push_back(std::move(one));
    }
  }

  // Damage is a finding; what could not be asked is an error.
  Result<void> found(const Error& error) {
    if (error.kind != ErrorKind::corrupt && error.kind != ErrorKind::not_found) return error;
    record_.findings.push_back(error.context);
    return {};
  }

  Result<void> compare(const Sent& one) {
    if (stopping_) return Error{ErrorKind::cancelled, 0, "stopped"};
    auto bytes = read_object(*services_.store, one.key, kObjectMax);
    if (!bytes) return found(std::move(bytes).error().with(one.key));
    record_.bytes += bytes->size();
    if (sha256(*bytes) == one.sha256) return {};
    return found(Error{ErrorKind::corrupt, 0, one.key + ": its bytes are not those that were sent"});
  }

  Result<void> packs() {
    std::vector<std::string> keys;
    TILLSYNC_TRY(for_each_object(*services_.store, keys::packs_prefix(prefix_of(database_.lineage())),
                                 [&](const ObjectInfo& object) -> Result<void> {
                                   if (keys::sha256_of_pack(object.key)) keys.push_back(object.key);
                                   return {};
                                 }));
    for (auto& key : keys) {
      auto size = verify_pack_object(*services_.store, key, [this](uint64_t) { return !stopping_; });
      if (size)
        record_.bytes += *size;
      else
        TILLSYNC_TRY(found(size.error()));
    }
    TILLSYNC_LET(const auto known, known_packs());
    for (auto& key : known) {
      auto there = services_.store->head(key);
      if (!there) TILLSYNC_TRY(found(std::move(there).error().with(key)));
    }
    return {};
  }

  Result<std::vector<std::string>> known_packs() {
    std::vector<std::string> keys;
    auto db = services_.state->lease();
    TILLSYNC_LET(auto query, db->prepare("SELECT DISTINCT pack_key FROM stored_blocks WHERE database_id=?"));
    query.bind(1, database_.id());
    while (true) {
      TILLSYNC_LET(bool row, query.step());
      if (!row) return keys;
      keys.push_back(query.text(0));
    }
  }

  const Services& services_;
  const FollowedDatabase& database_;
  const std::atomic<bool>& stopping_;
  VerificationRecord& record_;
};

}  // namespace

Result<void> verify_sealed_bytes(const Services& services, const FollowedDatabase& database,
                                 const std::atomic<bool>& stopping, VerificationRecord& record) {
  return BlindVerifier(services, database, stopping, record).run();
}

}  // namespace tillsync
