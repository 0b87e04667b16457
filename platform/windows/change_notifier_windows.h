// The change notifier on Windows: names and sizes in the folder of the database, and a look every 200 ms.
//
// What SQLite writes through a handle that stays open reaches the folder late, and what it writes into the mapped
// wal-index never does. So a longer wait() ends with `look` after 200 ms, five times a second at most: a commit is seen
// that late, and not later. A journal that is made or removed, and a file that grows or is replaced, is told at once.
// A folder that is itself removed and made again is found again within a second. The open folder can be renamed and
// removed meanwhile. Errors: those of opening the folder. Threads: wait() by one thread; wake() from any.
// Source: ReadDirectoryChangesW of Microsoft's documentation.
#pragma once

#include "ports/change_notifier.h"

namespace tillsync {

class WindowsChangeNotifierFactory : public ChangeNotifierFactory {
 public:
  Result<std::unique_ptr<ChangeNotifier>> watch(const std::string& database_path) override;
};

}  // namespace tillsync
