// Names a thread for whoever looks at the process (`top -H`, a debugger, a core). At most 15 bytes are kept.
#pragma once

#include <string>

namespace tillsync {

void name_this_thread(const std::string& name);

}  // namespace tillsync
