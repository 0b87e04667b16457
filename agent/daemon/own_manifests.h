// The manifest of a snapshot of this terminal, also where it may not read its own backups.
//
// Purpose: a backup goes on from an earlier one, and looks at what it has put. A write-only terminal can't open that,
// so it keeps the manifests that a next backup may go on from in the clear, in `state_dir/manifests`: they say nothing
// of the database that state.db, beside them, does not. Layout: an unsealed manifest object, `<uuid>.manifest`.
// Errors: those of read_manifest(); not_found without a local copy: who goes on from it makes a FULL instead.
// Threads: any.
#pragma once

#include "agent/daemon/services.h"
#include "snapshot/manifest.h"

namespace tillsync {

// checksum is that of the object in the store, as it is there now.
Result<Manifest> read_own_manifest(const Services& services, const Lineage& lineage, const Uuid& snapshot);
// Nothing to do where the terminal reads its own. Removes what no backup goes on from any more.
Result<void> keep_own_manifest(const Services& services, const Manifest& manifest);

}  // namespace tillsync
