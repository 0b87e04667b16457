// The log, applied to what a snapshot held.
#include "actionlog/log_writer.h"
#include "capture/tree_walk.h"
#include "restore/file_pages.h"
#include "restore/staging.h"

namespace tillsync {

// What can be reached next to a change of schema.
Result<std::string> Staging::around(const RestorePlan& plan, const Replayer& replayer) {
  std::string text = "transaction " + std::to_string(replayer.position());
  TILLSYNC_LET(auto manifests, list_manifests(store_, plan.lineage));
  const Manifest* next = nullptr;
  for (auto& m : manifests)
    if (!m.is_page_level() && m.sequence >= *replayer.barrier() && (!next || m.transaction < next->transaction))
      next = &m;
  if (next)
    text += ", and after it snapshot " + next->uuid.str() + " (transaction " + std::to_string(next->transaction) + ")";
  return text;
}

Result<void> Staging::replay(const RestorePlan& plan, bool keep_going, const Progress& progress) {
  if (plan.segments.empty()) return {};
  std::shared_ptr<const Schema> schema;
  {
    TILLSYNC_LET(auto pages, FilePages::open(files_, path_));
    TILLSYNC_LET(Image image, image_of(*pages, pages->count()));
    TILLSYNC_LET(Schema read, schema_of(image));
    schema = std::make_shared<const Schema>(std::move(read));
  }
  const RestoreOutcome outcome = outcome_;
  const std::vector<TableDigest> expected = expected_;
  auto replayed = write_aside(
      plan, StagedAs::replayed,
      [&](Connection& db) -> Result<void> {
        TILLSYNC_TRY(db.execute("PRAGMA foreign_keys=OFF"));  // without effect inside a transaction
        // One transaction around all: a page that changes a hundred times is written once.
        TILLSYNC_LET(auto all, Transaction::begin(db));
        TILLSYNC_TRY(apply_log(db, schema, plan, keep_going, progress));
        return all.commit();
      },
      nullptr);
  if (!replayed) {
    outcome_ = outcome;
    expected_ = expected;
  }
  return replayed;
}

Result<void> Staging::apply_log(Connection& db, std::shared_ptr<const Schema> schema, const RestorePlan& plan,
                                bool keep_going, const Progress& progress) {
  TILLSYNC_LET(auto replayer, Replayer::create(db, schema, expected_, outcome_.transaction, keep_going));
  LogReader reader(store_, plan.lineage);
  uint64_t bytes = 0, total = 0;
  for (auto& segment : plan.segments) total += segment.size;
  auto show = [&](uint64_t actions) { return !progress || progress(actions, bytes, total); };
  for (size_t i = 0; i < plan.segments.size(); i++) {
    const SegmentObject* object = &plan.segments[i];
    TILLSYNC_LET(Segment segment, reader.read(*object));
    auto applied = replayer->apply(segment, plan.transaction, show);
    const TransactionNo spread = segment.head.flags & kEndsInside ? segment.head.last_transaction : 0;
    if (applied && spread > replayer->position() && spread <= plan.transaction) {
      segment = {};
      auto parts = replayer->apply_spread(
          [&](size_t part) -> Result<Segment> {
            if (i + part >= plan.segments.size())
              return Error{ErrorKind::corrupt, 0, "the log ends inside transaction " + std::to_string(spread)};
            return reader.read(plan.segments[i + part]);
          },
          show);
      if (!parts) {
        applied = std::move(parts).error();
      } else {
        // The last part may hold more than the end of it.
        for (size_t done = 0; done + 1 < *parts; done++) bytes += plan.segments[i++].size;
        object = &plan.segments[i];
        TILLSYNC_LET(segment, reader.read(*object));
        applied = replayer->apply(segment, plan.transaction, show);
      }
    }
    if (!applied && replayer->barrier()) {
      TILLSYNC_LET(std::string reachable, around(plan, *replayer));
      std::string why = "the snapshot that belongs to the change of schema at sequence " +
                        std::to_string(*replayer->barrier()) + " is not in the store before it";
      if (!plan.newest)
        return Error{ErrorKind::schema, 0,
                     object->key + ": the asked moment can't be reached, because " + why + "; restore to " + reachable};
      outcome_.note = "restored to transaction " + std::to_string(replayer->position()) + " and not to " +
                      std::to_string(plan.transaction) + ", the newest in the log: " + why;
      break;
    }
    if (!applied) return std::move(applied).error().with(object->key);
    bytes += object->size;
    // Where capture had counted the tables, the log must lead to the same.
    bool whole = segment.head.last_transaction <= plan.transaction && segment.head.state != Digest{} &&
                 replayer->failures().empty();
    if (whole && state_digest(replayer->digests()) != segment.head.state)
      return Error{ErrorKind::corrupt, 0, object->key + ": its rows do not lead to the digests it states"};
  }
  if (replayer->position() != plan.transaction && outcome_.note.empty())
    return Error{ErrorKind::corrupt, 0,
                 "the log ends at transaction " + std::to_string(replayer->position()) + ", before the asked " +
                     std::to_string(plan.transaction)};
  expected_ = replayer->digests();
  outcome_.sequence = outcome_.note.empty() ? plan.sequence : *replayer->barrier() - 1;
  outcome_.transaction = replayer->position();
  outcome_.actions_replayed = replayer->actions_applied();
  outcome_.failures = replayer->failures();
  return {};
}

}  // namespace tillsync
