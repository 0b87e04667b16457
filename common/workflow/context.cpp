#include "workflow/context.h"

namespace tillsync {

StepContext::StepContext(const WorkflowRecord& record, const StepRecord& step, StateDb& state, Clock& clock,
                         ProgressBoard& board, StopFlags& flags)
    : record_(record),
      step_(step),
      state_(state),
      clock_(clock),
      board_(board),
      flags_(flags),
      saved_(step.data),
      attempt_(step.retry_count + 1),
      no_way_back_(has_no_way_back(step)),
      kept_at_(clock.steady_now()) {}

const Json& StepContext::result(std::string_view step_type) const {
  static const Json none;
  for (auto& step : record_.steps)
    if (step.type == step_type && step.status == StepStatus::completed) return step.data;
  return none;
}

Result<void> StepContext::save(Json data) {
  data.erase(kNoWayBack);
  if (no_way_back_) data[kNoWayBack] = true;
  auto db = state_.lease();
  TILLSYNC_LET(auto update, db->cached("UPDATE workflow_steps SET data=? WHERE id=?"));
  TILLSYNC_TRY(update->bind(1, dump(data)).bind(2, step_.id).run());
  saved_ = std::move(data);
  return {};
}

Result<void> StepContext::held_up(const std::optional<Error>& why, Timestamp until) {
  std::optional<std::string> text, kind;
  if (why) {
    text = step_.type + ": " + why->context;
    kind = std::string(tillsync::to_string(why->kind));
  }
  auto db = state_.lease();
  TILLSYNC_LET(auto update, db->cached("UPDATE workflows SET updated_at=?, not_before=?, error=?, error_kind=? WHERE "
                                       "id=?"));
  return update->bind(1, to_ms(clock_.now()))
      .bind(2, why ? to_ms(until) : 0)
      .bind(3, text)
      .bind(4, kind)
      .bind(5, record_.id)
      .run();
}

Result<void> StepContext::no_way_back() {
  no_way_back_ = true;
  return save(saved_);
}

Result<void> StepContext::way_back() {
  no_way_back_ = false;
  return save(saved_);
}

void StepContext::progress(uint64_t items, uint64_t bytes, uint64_t bytes_total) {
  board_.update(record_.uuid, items, bytes, bytes_total);
  {
    std::lock_guard lock(progress_mutex_);
    const auto now = clock_.steady_now();
    if (now - kept_at_ < kProgressKept) return;
    kept_at_ = now;
  }
  auto progress = board_.get(record_.uuid);
  if (!progress) return;
  // It is for the eyes: one that can't be written now is written later.
  auto db = state_.lease();
  auto keep = db->cached("UPDATE workflows SET progress=? WHERE id=?");
  if (keep) (void)(*keep)->bind(1, dump(to_json(*progress))).bind(2, record_.id).run().has_value();
  for (const char* sql : {"UPDATE backup_sessions SET progress=?, last_update_time=? WHERE workflow_uuid=?",
                          "UPDATE restore_sessions SET progress=?, last_update_time=? WHERE workflow_uuid=?"}) {
    auto session = db->cached(sql);
    if (session)
      (void)(*session)
          ->bind(1, progress->percent)
          .bind(2, to_ms(clock_.now()))
          .bind(3, record_.uuid.str())
          .run()
          .has_value();
  }
}

bool StepContext::cancelled() const { return flags_.cancelled || (flags_.stopping && *flags_.stopping); }

Json StepContext::skip(std::string reason) {
  skipped_ = true;
  return {{"skipped", std::move(reason)}};
}

}  // namespace tillsync
