// Puts restored content into a live database, and what was there aside.
//
// Purpose: replace_content() runs inside one write transaction of the live database (capture/activation.h): it brings
// the safety copy to what the database holds now, makes it durable, and then writes the pages that differ from the
// staged file, so that an attached application sees the old content or the new and a crash leaves the old. Both files
// are plain database files of ours. Page 1 keeps the live journal mode and gets the schema cookie that is asked for.
// Units: pages. Errors: schema (page size, encoding, reserved bytes or auto-vacuum differ: such a file can't be changed
// into the other while an application has it open; says what to do), cancelled, those of files and SQLite. Threads:
// one. Source: SQLite's sqlite_dbpage table; file format, "The Database Header".
#pragma once

#include <functional>

#include "capture/app_database.h"
#include "ports/files.h"

namespace tillsync {

struct ContentFiles {
  FileSystem* files = nullptr;
  std::string staged;  // what is to be there; proven and durable
  std::string safety;  // what was there; made if missing, brought up to date, synced
};

struct ReplacedContent {
  uint64_t pages_written = 0, pages_copied = 0;  // of the live database; of the safety copy
};

// Bytes looked at and in all; false stops with cancelled.
using PageProgress = std::function<bool(uint64_t done, uint64_t all)>;

// The schema cookie of a database file.
Result<uint32_t> schema_cookie_of(FileSystem& files, const std::string& path);
// Whether the staged content can be put into the live database.
Result<void> check_replaceable(FileSystem& files, const std::string& staged, AppDatabase& live);
// Copies what a reader sees, so that little is left to copy while writers wait.
Result<void> copy_live(AppDatabase& live, FileSystem& files, const std::string& safety, const PageProgress& progress);
Result<ReplacedContent> replace_content(Connection& live, const ContentFiles& what, uint32_t schema_cookie,
                                        const PageProgress& progress);

}  // namespace tillsync
