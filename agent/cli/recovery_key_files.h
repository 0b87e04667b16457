// A new recovery key as two files: the whole, for a safe, and its public half, for the tills.
//
// Errors: conflict where one of them is there already. Threads: any.
#pragma once

#include <string>

#include "base/result.h"

namespace tillsync {

struct RecoveryKeyFiles {
  std::string whole;        // path; for its owner alone
  std::string public_half;  // path
  std::string id;           // of the key
};
Result<RecoveryKeyFiles> make_recovery_key(const std::string& at);

}  // namespace tillsync
