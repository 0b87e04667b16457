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
      attempt_(step.retry_count + 1) {}

const Json& StepContext::result(std::string_view step_type) const {
  static const Json none;
  for (auto& step : record_.steps)
    if (step.type == step_type && step.status == StepStatus::completed) return step.data;
  return none;
}

Result<void> StepContext::save(Json data) {
  auto db = state_.lease();
  TILLSYNC_LET(auto update, db->cached("UPDATE workflow_steps SET data=? WHERE id=?"));
  TILLSYNC_TRY(update->bind(1, dump(data)).bind(2, step_.id).run());
  saved_ = std::move(data);
  return {};
}

void StepContext::progress(uint64_t items, uint64_t bytes, uint64_t bytes_total) {
  board_.update(record_.uuid, items, bytes, bytes_total);
}

bool StepContext::cancelled() const { return flags_.cancelled || (flags_.stopping && *flags_.stopping); }

Json StepContext::skip(std::string reason) {
  skipped_ = true;
  return {{"skipped", std::move(reason)}};
}

}  // namespace tillsync
