// The change notifier on Linux: inotify on the folder of the database, an eventfd for wake().
//
// The folder is watched and not the files: they come and go (-wal, -journal, a database that is replaced by rename). A
// folder that is itself removed and made again is found again within a second. The path is followed through symlinks
// first, because SQLite puts the -wal beside the real file.
//
// Whoever writes a watched file pays for each write (measured: a tenth of the speed of a till's database at full
// speed). So the watch ends with its first event, and begins again when someone waits for longer than he would poll;
// the answer is `look` then. Threads: wait() by one thread; wake() from any.
#pragma once

#include "ports/change_notifier.h"

namespace tillsync {

class LinuxChangeNotifierFactory : public ChangeNotifierFactory {
 public:
  // Errors: not_found (the folder), denied, transient (the user's inotify limit is reached: the context names it).
  Result<std::unique_ptr<ChangeNotifier>> watch(const std::string& database_path) override;
};

}  // namespace tillsync
