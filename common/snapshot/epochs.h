// The epochs of a database in the store (docs/formats.md, "Epochs and starts"): where a snapshot is, whichever it is
// of.
//
// Errors: those of the store, and of read_manifest(). Threads: any.
#pragma once

#include "snapshot/manifest.h"

namespace tillsync {

// All epochs of a database that hold something, oldest first.
Result<std::vector<Lineage>> list_epochs(ObjectStore& store, const TerminalRef& terminal, const std::string& database);
// Those before the lineage's, newest first.
Result<std::vector<Lineage>> epochs_before(ObjectStore& store, const Lineage& lineage);
// The manifest of a snapshot of the lineage, or else of an epoch before it: manifest.lineage says which.
Result<Manifest> find_manifest(ObjectStore& store, const Lineage& lineage, const Uuid& snapshot);

}  // namespace tillsync
