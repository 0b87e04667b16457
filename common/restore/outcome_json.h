// The outcome of a restore as the document of `tillsync restore --json`.
#pragma once

#include "base/json.h"
#include "restore/staging.h"

namespace tillsync {

// {sequence, transaction, tables: [{name, rows, digest_ok}], bytes, actions_replayed, elapsed_ms, proven, note?,
// failures?}
Json outcome_json(const RestoreOutcome& outcome, const std::string& note);

}  // namespace tillsync
