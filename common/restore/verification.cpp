#include "restore/verification.h"

#include <algorithm>

#include "actionlog/log_verifier.h"
#include "snapshot/pack_reader.h"

namespace tillsync {

namespace {

// What is wrong with the data becomes a verdict; everything else stops.
Result<SnapshotVerdict> concluded(SnapshotVerdict verdict, Result<void> outcome) {
  if (!outcome && !is_about_data(outcome.error())) return std::move(outcome).error();
  if (!outcome) verdict.error = std::move(outcome).error();
  return verdict;
}

}  // namespace

Result<void> SnapshotVerifier::check_packs(const SnapshotChain& chain, SnapshotVerdict& verdict) {
  for (auto& link : chain.links) {
    for (auto& pack : link.packs) {
      auto known = checked_.find(pack.key);
      if (known == checked_.end()) {
        auto reader = PackReader::open(store_, pack.key, lineage_, pack.size);
        Result<void> outcome;
        if (!reader) {
          outcome = std::move(reader).error();
        } else if (reader->index().page_size != link.page_size) {
          outcome = Error{ErrorKind::corrupt, 0, pack.key + ": it has another page size than the snapshot"};
        }
        if (!outcome && !is_about_data(outcome.error())) return outcome;
        known = checked_.emplace(pack.key, std::move(outcome)).first;
      }
      if (!known->second) return known->second;
      verdict.bytes_read += pack.size;
    }
  }
  return {};
}

Result<SnapshotVerdict> SnapshotVerifier::check(const Uuid& snapshot) {
  SnapshotVerdict verdict;
  verdict.snapshot = snapshot;
  auto chain = resolve_chain(store_, lineage_, snapshot);
  if (!chain) return concluded(std::move(verdict), std::move(chain).error());
  verdict.type = chain->target().type;
  auto outcome = check_packs(*chain, verdict);
  if (outcome) outcome = assets_.check(chain->target());
  return concluded(std::move(verdict), std::move(outcome));
}

Result<void> SnapshotVerifier::read_packs(const SnapshotChain& chain, SnapshotVerdict& verdict,
                                          const Progress& progress) {
  uint64_t total = chain.stored_bytes();
  for (auto& link : chain.links) {
    for (auto& pack : link.packs) {
      auto known = read_.find(pack.key);
      if (known == read_.end()) {
        auto size = verify_pack_object(
            store_, pack.key, [&](uint64_t bytes) { return !progress || progress(verdict.bytes_read + bytes, total); });
        Result<void> outcome;
        if (!size) outcome = std::move(size).error();
        if (!outcome && !is_about_data(outcome.error())) return outcome;
        known = read_.emplace(pack.key, std::move(outcome)).first;
      }
      if (!known->second) return known->second;
      verdict.bytes_read += pack.size;
    }
  }
  return {};
}

Result<void> SnapshotVerifier::remove_staging() {
  for (const char* suffix : {"", "-journal", "-wal"}) {
    auto removed = files_.remove(staging_ + suffix);
    if (!removed && removed.error().kind != ErrorKind::not_found) return removed;
  }
  return {};
}

Result<void> SnapshotVerifier::stage(const RestorePlan& plan, const std::vector<TableDigest>& tables,
                                     const Progress& progress) {
  Staging staging(store_, files_, vfs_, staging_);
  auto step = [&](uint64_t, uint64_t bytes, uint64_t total) { return !progress || progress(bytes, total); };
  auto outcome = [&]() -> Result<void> {
    TILLSYNC_TRY(staging.fill(plan, step));
    TILLSYNC_TRY(staging.replay(plan, false, step));
    // prove() knows what the log leads to; `tables` is what the snapshot at its end says.
    for (auto& stated : tables) {
      auto led = std::find_if(staging.expected().begin(), staging.expected().end(),
                              [&](auto& t) { return t.name == stated.name; });
      if (led == staging.expected().end() || *led != stated)
        return Error{ErrorKind::corrupt, 0,
                     "the log leads to another content of table '" + stated.name + "' than the snapshot holds"};
    }
    TILLSYNC_LET(auto proven, staging.prove(step));
    if (!proven.proven) return Error{ErrorKind::corrupt, 0, "the staged database could not be proven"};
    return {};
  }();
  TILLSYNC_TRY(remove_staging());
  return outcome;
}

Result<void> SnapshotVerifier::stage_pages(const RestorePlan& plan, const Progress& progress) {
  Staging staging(store_, files_, vfs_, staging_);
  auto outcome =
      staging.fill(plan, [&](uint64_t, uint64_t bytes, uint64_t total) { return !progress || progress(bytes, total); });
  TILLSYNC_TRY(remove_staging());
  return outcome;
}

Result<bool> SnapshotVerifier::prove_replay(const SnapshotChain& chain, const Progress& progress) {
  if (chain.links.size() < 2) return false;
  SnapshotChain before = chain;
  before.links.pop_back();
  TILLSYNC_LET(auto plan, plan_between(store_, lineage_, std::move(before), chain.target()));
  if (!plan) return false;
  auto staged = stage(*plan, chain.target().tables, progress);
  if (staged) return true;
  // Replay does not cross a change of schema, and some schemas can't be written: then the image's own proof stands.
  if (staged.error().kind == ErrorKind::schema) return false;
  return std::move(staged).error().with("replay from snapshot " + chain.links[chain.links.size() - 2].uuid.str());
}

Result<SnapshotVerdict> SnapshotVerifier::prove(const Uuid& snapshot, const Progress& progress) {
  TILLSYNC_LET(auto verdict, check(snapshot));
  if (verdict.error) return verdict;
  verdict.bytes_read = 0;
  auto outcome = [&]() -> Result<void> {
    RestorePlan plan;
    plan.lineage = lineage_;
    TILLSYNC_LET(plan.chain, resolve_chain(store_, lineage_, snapshot));
    plan.sequence = plan.chain.target().sequence;
    plan.transaction = plan.chain.target().transaction;
    TILLSYNC_TRY(read_packs(plan.chain, verdict, progress));
    const uint64_t packs = verdict.bytes_read, total = plan.chain.stored_bytes();
    TILLSYNC_LET(const uint64_t assets, assets_.prove(plan.chain.target(), [&](uint64_t bytes) {
      return !progress || progress(packs + bytes, std::max(total, packs + bytes));
    }));
    verdict.bytes_read += assets;
    // A damaged database is whole when its pages are those that were read.
    if (plan.chain.target().is_page_level()) return stage_pages(plan, progress);
    TILLSYNC_TRY(stage(plan, plan.chain.target().tables, progress));
    TILLSYNC_LET(verdict.replay_proven, prove_replay(plan.chain, progress));
    return {};
  }();
  return concluded(std::move(verdict), std::move(outcome));
}

Result<KnownStates> known_states(ObjectStore& store, const Lineage& lineage) {
  KnownStates known;
  std::vector<Error> bad;
  TILLSYNC_LET(auto manifests, list_manifests(store, lineage, &bad));
  for (auto& manifest : manifests) {
    // Of a damaged database's pages nothing is known about rows.
    if (manifest.is_page_level()) continue;
    std::sort(manifest.tables.begin(), manifest.tables.end());
    known[manifest.sequence] = std::move(manifest.tables);
  }
  return known;
}

}  // namespace tillsync
