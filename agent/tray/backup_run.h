// One "Back up now": every database the agent follows, each to its end.
//
// Purpose: asks `status` for the names, `backup` for each, and waits for one after another. When the connection breaks
// it waits for the next one: the agent's workflows go on without us, and after its restart. Errors: in outcome().
// Threads: one; no I/O, requests go through `ask`.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tillsync {

class BackupRun {
 public:
  // Gives the request's number, by which it is answered.
  using Ask = std::function<uint64_t(const std::string& method, Json params)>;
  struct Outcome {
    enum class Ended { done, failed, cancelled };
    Ended ended = Ended::done;
    std::optional<Error> error;  // failed: the first there was
    std::string database;        // failed: whose, where there are several
  };

  explicit BackupRun(Ask ask);
  // False: the answer to another's request.
  bool answered(uint64_t request, const Result<Json>& answer);
  // A notification `progress`; false when it is of another's workflow.
  bool progressed(const Json& progress);
  void connected();
  void lost();

  std::optional<int> percent() const;      // of all databases
  std::optional<Outcome> outcome() const;  // none while it runs

 private:
  struct Part {
    std::string database;
    uint64_t request = 0;  // the one that is not answered yet; 0: none
    std::string uuid;      // of its workflow, once begun
    std::optional<int> percent;
    int retries = 0;
    std::optional<Outcome> outcome;
  };
  void named(const Result<Json>& status);
  void begun(Part& part, const Result<Json>& answer);
  void ended(Part& part, const Result<Json>& answer);
  void fail(Part& part, Error error);
  void wait_for_next();

  Ask ask_;
  uint64_t status_request_ = 0;
  std::vector<Part> parts_;
  std::optional<Outcome> failed_at_once_;  // no names were to be had
};

}  // namespace tillsync
