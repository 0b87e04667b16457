// From [store] of the configuration to an object store.
//
// file:///path        a folder (DirectoryStore); percent-encoding is decoded
// s3://bucket/prefix  a bucket (s3::S3Store); endpoint, region and the rest stand in the settings
// Errors: usage, with what is supported, for anything else.
#pragma once

#include <memory>
#include <string>

#include "ports/clock.h"
#include "ports/files.h"
#include "ports/object_store.h"
#include "ports/random.h"
#include "store/store_settings.h"

namespace tillsync {

// Does not touch the store: a folder that is missing now, a server that can't be reached, credentials that are not
// there are errors of the first call. files, clock and random must outlive the store.
Result<std::unique_ptr<ObjectStore>> make_store(const StoreSettings& settings, FileSystem& files, Clock& clock,
                                                Random& random);

// The folder of a file:// URL. usage: it is none, or names no folder of this machine.
Result<std::string> folder_of_url(const std::string& url);

// Loads what make_store() would load for these settings, and with less memory. Once, before the process has threads: it
// sets an environment variable for a moment. Errors: usage where it is not installed.
Result<void> prepare_store(const StoreSettings& settings);

}  // namespace tillsync
