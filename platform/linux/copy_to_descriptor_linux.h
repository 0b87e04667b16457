// Copies a file of ours into a descriptor that somebody else opened.
//
// Purpose: a restored database goes where the person who asked may write, with that person's rights and not with ours.
// The disk begins with it at once, so that a sync at the end has little to wait for; it is the caller's.
// Errors: those of the file and the descriptor (no_space among them); cancelled. Threads: any.
#pragma once

#include <functional>
#include <string>

#include "ports/files.h"

namespace tillsync {

// From the descriptor's begin on, which should be an empty file. progress: bytes done, bytes in all; false stops.
Result<void> copy_to_descriptor(FileSystem& files, const std::string& path, int fd,
                                const std::function<bool(uint64_t, uint64_t)>& progress = nullptr);

}  // namespace tillsync
