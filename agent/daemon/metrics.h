// The agent's figures in Prometheus' text format, version 0.0.4 (docs/operations.md lists them).
//
// Purpose: names and units by Prometheus' conventions: base units, counters end in _total, times as seconds since 1970.
// Source: https://prometheus.io/docs/instrumenting/exposition_formats. Errors: none. Threads: pure.
#pragma once

#include <string>

#include "base/json.h"
#include "ports/process_figures.h"
#include "store/counted_store.h"

namespace tillsync {

// status: the document of `status`.
std::string metrics_text(const Json& status, const StoreCounts& counts, const ProcessFigures& process);

}  // namespace tillsync
