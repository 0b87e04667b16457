// The [retention] of a configuration as the policy that common/snapshot knows.
//
// Threads: values.
#pragma once

#include "agent/config/config.h"
#include "snapshot/retention.h"

namespace tillsync {

inline RetentionPolicy policy_of(const RetentionConfig& config) {
  return {config.last, config.hourly, config.daily, config.weekly, config.monthly, config.log};
}

}  // namespace tillsync
