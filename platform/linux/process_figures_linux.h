// ProcessFigures out of /proc/self. Errors: none; what can't be read is 0.
// Source: proc(5). Threads: any.
#pragma once

#include "ports/process_figures.h"

namespace tillsync {

ProcessFigures process_figures();

}  // namespace tillsync
