// RESTORE to a file: the file of whoever asked, made in it or copied into it.
#include "agent/daemon/restore_workflow.h"

namespace tillsync {

namespace {

// Returns how many bytes there were.
Result<uint64_t> copy(File& from, File& to) {
  Bytes chunk(1 << 20);
  for (uint64_t at = 0;;) {
    TILLSYNC_LET(const size_t got, from.read(at, chunk));
    TILLSYNC_TRY(to.write(at, ByteView(chunk).first(got)));
    to.begin_sync(at, got);
    at += got;
    if (got == chunk.size()) continue;
    // What a restore that lost the file had written into it.
    TILLSYNC_TRY(to.truncate(at));
    return at;
  }
}

}  // namespace

void RestoreWorkflow::give(const Uuid& workflow, std::shared_ptr<File> into) {
  std::lock_guard lock(mutex_);
  given_[workflow] = std::move(into);
}

Result<Json> RestoreWorkflow::deliver(WorkflowEngine& engine, const Uuid& workflow, File& into, bool into_given) {
  auto start = services_.clock->steady_now();
  TILLSYNC_LET(WorkflowRecord record, engine.describe(workflow));
  if (record.type != WorkflowType::restore)
    return Error{ErrorKind::usage, 0, "workflow " + workflow.str() + " is no restore"};
  if (record.status != WorkflowStatus::completed)
    return Error{ErrorKind::conflict, 0,
                 "the restore is not proven yet, or has failed: " +
                     record.error.value_or(std::string(to_string(record.status)))};
  if (record.data.value("drill", false))
    return Error{ErrorKind::usage, 0, "workflow " + workflow.str() + " was a drill; there is nothing to deliver"};
  if (record.data.value("in_place", false))
    return Error{ErrorKind::usage, 0, "workflow " + workflow.str() + " restored in place; there is nothing to deliver"};
  Json document = result_of(record);
  document.erase("state");
  const auto bytes = document.at("bytes").get<uint64_t>();
  const bool there = document.value("into_given", false);
  document.erase("into_given");
  if (there) {
    // It says so; a file of another size is another one.
    TILLSYNC_LET(const uint64_t size, into.size());
    if (!into_given || size != bytes)
      return Error{ErrorKind::conflict, 0,
                   "the database was restored into the file that came with its restore, and is there"};
  }
  if (!there) {
    auto staged = services_.files->open(staging_path(workflow), OpenMode::read);
    if (!staged && staged.error().kind == ErrorKind::not_found)
      return Error{ErrorKind::not_found, 0, "the restored database was delivered already; ask for the restore again"};
    if (!staged) return std::move(staged).error();
    TILLSYNC_LET(const uint64_t copied, copy(**staged, into));
    if (copied != bytes)
      return Error{ErrorKind::corrupt, 0,
                   staging_path(workflow) + ": has " + std::to_string(copied) + " bytes, and " + std::to_string(bytes) +
                       " were proven; ask for the restore again"};
    TILLSYNC_TRY(into.sync());
    staged->reset();
    TILLSYNC_TRY(remove_staged(*services_.files, staging_path(workflow)));
  }
  auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(services_.clock->steady_now() - start);
  document["elapsed_ms"] =
      std::max<int64_t>(0, to_ms(record.completed_at.value_or(record.updated_at)) - to_ms(record.created_at)) +
      spent.count();
  return document;
}

}  // namespace tillsync
