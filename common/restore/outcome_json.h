// The outcome of a restore as the document of `tillsync restore --json`.
#pragma once

#include "base/json.h"
#include "restore/staging.h"

namespace tillsync {

// {sequence, transaction, tables: [{name, rows, digest_ok}], bytes, actions_replayed, elapsed_ms, proven, page_level?,
// note?, failures?}
// note: the plan's; the outcome's own is added to it.
Json outcome_json(const RestoreOutcome& outcome, std::string note);

}  // namespace tillsync
