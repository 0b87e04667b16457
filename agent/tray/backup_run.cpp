#include "agent/tray/backup_run.h"

#include <algorithm>

#include "agent/tray/agent_state.h"

namespace tillsync {

namespace {

constexpr int kRetriesMax = 3;

Error agent_went_away() { return {ErrorKind::offline, 0, "the agent went away before the backup began"}; }

Error failure_in(const Json& result) {
  Error error{ErrorKind::internal, 0, "no reason was given"};
  const auto found = result.find("error");
  if (found == result.end() || !found->is_object()) return error;
  error.kind = error_kind_from(text_in_document(*found, "kind")).value_or(ErrorKind::internal);
  if (const std::string message = text_in_document(*found, "message"); !message.empty()) error.context = message;
  return error;
}

}  // namespace

BackupRun::BackupRun(Ask ask) : ask_(std::move(ask)) { status_request_ = ask_("status", Json::object()); }

bool BackupRun::answered(uint64_t request, const Result<Json>& answer) {
  if (request == status_request_) {
    status_request_ = 0;
    named(answer);
    return true;
  }
  const auto part = std::find_if(parts_.begin(), parts_.end(), [&](const Part& p) { return p.request == request; });
  if (part == parts_.end()) return false;
  part->request = 0;
  if (part->uuid.empty())
    begun(*part, answer);
  else
    ended(*part, answer);
  wait_for_next();
  return true;
}

void BackupRun::named(const Result<Json>& status) {
  Json databases = Json::array();
  if (status && status->is_object()) databases = status->value("databases", Json::array());
  for (const Json& database : databases)
    if (std::string name = text_in_document(database, "name"); !name.empty())
      parts_.push_back({std::move(name), 0, "", std::nullopt, 0, std::nullopt});
  if (parts_.empty()) {
    Error error = status ? Error{ErrorKind::not_found, 0, "the agent follows no database"} : status.error();
    failed_at_once_ = Outcome{Outcome::Ended::failed, std::move(error), ""};
    return;
  }
  for (Part& part : parts_) part.request = ask_("backup", Json{{"database", part.database}});
}

void BackupRun::begun(Part& part, const Result<Json>& answer) {
  if (!answer) return fail(part, answer.error());
  part.uuid = text_in_document(*answer, "uuid");
  if (part.uuid.empty()) fail(part, {ErrorKind::internal, 0, "the agent named no workflow"});
}

void BackupRun::ended(Part& part, const Result<Json>& answer) {
  if (!answer) {
    // An agent that stops may answer so before it goes away; the workflow is still there when it comes back.
    const ErrorKind kind = answer.error().kind;
    const bool for_good = kind == ErrorKind::not_found || kind == ErrorKind::denied || kind == ErrorKind::usage;
    if (for_good || ++part.retries > kRetriesMax) fail(part, answer.error());
    return;
  }
  const std::string status = text_in_document(*answer, "status");
  if (status == "COMPLETED")
    part.outcome = Outcome{};
  else if (status == "CANCELLED")
    part.outcome = Outcome{Outcome::Ended::cancelled, std::nullopt, ""};
  else
    fail(part, failure_in(*answer));
}

void BackupRun::fail(Part& part, Error error) {
  part.outcome = Outcome{Outcome::Ended::failed, std::move(error), parts_.size() > 1 ? part.database : ""};
}

// One at a time: the agent reads at most 16 requests of a connection that it has not answered.
void BackupRun::wait_for_next() {
  const auto is_open = [](const Part& part) { return !part.outcome && !part.uuid.empty(); };
  const auto waits = [&](const Part& part) { return is_open(part) && part.request != 0; };
  if (std::any_of(parts_.begin(), parts_.end(), waits)) return;
  const auto next = std::find_if(parts_.begin(), parts_.end(), is_open);
  if (next != parts_.end()) next->request = ask_("workflow.wait", Json{{"uuid", next->uuid}});
}

bool BackupRun::progressed(const Json& progress) {
  const std::string uuid = text_in_document(progress, "uuid");
  for (Part& part : parts_) {
    if (part.outcome || part.uuid.empty() || part.uuid != uuid) continue;
    part.percent = percent_in(progress);
    return true;
  }
  return false;
}

void BackupRun::connected() {
  if (!outcome()) wait_for_next();
}

void BackupRun::lost() {
  if (status_request_ != 0) {
    status_request_ = 0;
    failed_at_once_ = Outcome{Outcome::Ended::failed, agent_went_away(), ""};
  }
  for (Part& part : parts_) {
    part.request = 0;
    if (!part.outcome && part.uuid.empty()) fail(part, agent_went_away());
  }
}

std::optional<int> BackupRun::percent() const {
  int sum = 0;
  bool is_known = false;
  for (const Part& part : parts_) {
    sum += part.outcome ? 100 : part.percent.value_or(0);
    is_known |= part.outcome || part.percent;
  }
  if (!is_known) return std::nullopt;
  return sum / static_cast<int>(parts_.size());
}

std::optional<BackupRun::Outcome> BackupRun::outcome() const {
  if (failed_at_once_) return failed_at_once_;
  if (parts_.empty()) return std::nullopt;
  std::optional<Outcome> worst;
  for (const Part& part : parts_) {
    if (!part.outcome) return std::nullopt;
    const bool is_worse =
        !worst || (worst->ended != Outcome::Ended::failed && part.outcome->ended != Outcome::Ended::done);
    if (is_worse) worst = part.outcome;
  }
  return worst;
}

}  // namespace tillsync
