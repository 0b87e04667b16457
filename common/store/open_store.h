// From the URL in the configuration to an object store.
//
// file:///path  a folder (DirectoryStore); percent-encoding is decoded
// Errors: usage, with what is supported, for anything else.
#pragma once

#include <memory>
#include <string>

#include "ports/files.h"
#include "ports/object_store.h"
#include "ports/random.h"

namespace tillsync {

// Does not touch the store: a folder that is missing now is an error of the first call, offline.
// files and random must outlive the store.
Result<std::unique_ptr<ObjectStore>> make_store(const std::string& url, FileSystem& files, Random& random);

}  // namespace tillsync
