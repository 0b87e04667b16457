// restore: made and proven in the caller's file.
#include <fcntl.h>

#include <cerrno>

#include "agent/cli/direct_store.h"
#include "agent/cli/private_folder.h"
#include "agent/cli/step_progress.h"
#include "agent/cli/text.h"
#include "platform/linux/errno_linux.h"
#include "restore/given_file.h"
#include "restore/outcome_json.h"
#include "snapshot/pack_reader.h"

namespace tillsync {

namespace {

Error stopped() { return Error{ErrorKind::cancelled, 0, "interrupted"}; }

Result<RestoreMoment> moment_of(const Json& params) {
  RestoreMoment moment;
  if (const auto text = text_in(params, "snapshot"); !text.empty()) {
    TILLSYNC_LET(moment.snapshot, Uuid::parse(text));
  }
  if (const auto text = text_in(params, "at"); !text.empty()) {
    TILLSYNC_LET(moment.at, parse_rfc3339(text));
  }
  if (member(params, "sequence").is_number()) moment.sequence = count_in(params, "sequence");
  if (member(params, "transaction").is_number()) moment.transaction = count_in(params, "transaction");
  return moment;
}

// That every pack is there, of its size and with a whole index, before anything is written. Their blocks are read while
// the database is written, so that no pack needs room of its own.
Result<void> look_at_packs(ObjectStore& store, const RestorePlan& plan, StepProgress& progress) {
  uint64_t items = 0, bytes = 0;
  const uint64_t total = plan.chain.stored_bytes();
  for (const auto& link : plan.chain.links) {
    for (const auto& pack : link.packs) {
      TILLSYNC_TRY(PackReader::open(store, pack.key, plan.lineage, pack.size));
      items++;
      bytes += pack.size;
      if (!progress.show(items, bytes, total)) return stopped();
    }
  }
  return {};
}

}  // namespace

Result<Json> DirectStore::restore(const Json& params, int fd, const Progress& tell) {
  const auto begun = clock_.steady_now();
  StepProgress progress(tell, clock_);
  const auto show = [&](uint64_t items, uint64_t bytes, uint64_t total) { return progress.show(items, bytes, total); };
  TILLSYNC_LET(const RestoreMoment moment, moment_of(params));
  TILLSYNC_LET(const Lineage lineage, database(params));

  if (!progress.begin("VALIDATE_SNAPSHOT")) return stopped();
  TILLSYNC_LET(const RestorePlan plan, plan_restore(*store_, lineage, moment));
  // What SQLite writes beside the file while the log is replayed.
  TILLSYNC_LET(const auto folder, PrivateFolder::make(PrivateFolder::parent_for(fd)));
  const std::string path = folder.path() + "/database";
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return errno_error(errno, "duplicate the descriptor of", "the file to restore to");
  WithGivenFile files(files_, path, adopt_file(copy, "the file to restore to"));
  FileVfs vfs(files, clock_, random_);
  const uint64_t needed = uint64_t{plan.chain.target().page_count} * plan.chain.target().page_size;
  TILLSYNC_LET(const uint64_t there, files.free_space(path));
  if (there < needed)
    return Error{ErrorKind::no_space, 0,
                 "the restored database needs " + human_size(needed) + " where it is to be, " + human_size(there) +
                     " are free: make room, or restore to another disk"};

  if (!progress.begin("FETCH_PACKS")) return stopped();
  TILLSYNC_TRY(look_at_packs(*store_, plan, progress));
  Staging staging(*store_, files, vfs.name(), path);
  if (!progress.begin("RESTORE_DATABASE")) return stopped();
  TILLSYNC_TRY(staging.fill(plan, show));
  if (!progress.begin("REPLAY_ACTION_LOG")) return stopped();
  TILLSYNC_TRY(staging.replay(plan, flag_in(params, "keep_going"), show));
  if (!progress.begin("FINAL_VALIDATION")) return stopped();
  TILLSYNC_LET(const RestoreOutcome outcome,
               staging.prove(show, flag_in(params, "no_integrity_check") ? SqliteCheck::leave_out : SqliteCheck::run));
  TILLSYNC_TRY(staging.seal());

  Json document = outcome_json(outcome, plan.note);
  document["snapshot_uuid"] = plan.chain.target().uuid.str();
  document["elapsed_ms"] = std::chrono::duration_cast<Milliseconds>(clock_.steady_now() - begun).count();
  return document;
}

}  // namespace tillsync
