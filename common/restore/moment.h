// The asked moment out of the parameters of a restore.
//
// Params: at most one of snapshot (uuid), at (RFC 3339), sequence, transaction. Errors: usage.
#pragma once

#include "base/json.h"
#include "restore/plan.h"

namespace tillsync {

Result<RestoreMoment> parse_moment(const Json& params);

}  // namespace tillsync
