#include "platform/windows/change_notifier_windows.h"

#include <windows.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "platform/windows/error_windows.h"
#include "platform/windows/handle_windows.h"
#include "platform/windows/wide_text.h"
#include "ports/files.h"

namespace tillsync {

namespace {

using milliseconds = std::chrono::milliseconds;
constexpr milliseconds kLookEvery{200};
constexpr milliseconds kFolderMissing{1000};
// After a change of other files in the folder, so that whoever writes them is not followed write by write.
constexpr milliseconds kPauseAfterOthers{5};
constexpr DWORD kTold = FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_SIZE;

Handle open_folder(const std::string& path) {
  return Handle(::CreateFileW(native_path(path).c_str(), FILE_LIST_DIRECTORY,
                              FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OVERLAPPED, nullptr));
}

bool equal_but_for_case(std::wstring_view a, std::wstring_view b) {
  return ::CompareStringOrdinal(a.data(), static_cast<int>(a.size()), b.data(), static_cast<int>(b.size()), TRUE) ==
         CSTR_EQUAL;
}

class WindowsChangeNotifier : public ChangeNotifier {
 public:
  WindowsChangeNotifier(const std::string& path, Handle folder)
      : path_(directory_of(path)),
        name_(to_wide(path.substr(path.find_last_of("/\\") + 1))),
        folder_(std::move(folder)),
        woken_(::CreateEventW(nullptr, FALSE, FALSE, nullptr)),
        told_(::CreateEventW(nullptr, TRUE, FALSE, nullptr)) {}
  ~WindowsChangeNotifier() override { stop_listening(); }

  bool ready() const { return woken_ && told_; }

  // Asks for the next changes. They are kept for us from the first time on, also between two waits.
  bool listen() {
    if (is_listening_) return true;
    if (!folder_) folder_ = open_folder(path_);
    if (!folder_) return false;
    pending_ = {};
    pending_.hEvent = told_.get();
    is_listening_ = ::ReadDirectoryChangesW(folder_.get(), changes_.data(), sizeof changes_, FALSE, kTold, nullptr,
                                            &pending_, nullptr) != 0;
    if (!is_listening_) folder_ = Handle();
    return is_listening_;
  }

  Event wait(milliseconds timeout) override {
    using clock = std::chrono::steady_clock;
    const auto begin = clock::now();
    const auto deadline = begin + std::min<milliseconds>(timeout, std::chrono::hours(24));
    const auto look_at = begin + (folder_ ? kLookEvery : kFolderMissing);
    const bool was_gone = !folder_;
    bool others = false;
    while (true) {
      const bool listens = !others && listen();
      if (listens && was_gone) return Event::look;
      auto left =
          std::max(std::chrono::ceil<milliseconds>(std::min(deadline, look_at) - clock::now()), milliseconds(0));
      if (others) left = std::min(left, kPauseAfterOthers);
      const std::array<HANDLE, 2> sources{woken_.get(), told_.get()};
      const DWORD n =
          ::WaitForMultipleObjects(listens ? 2 : 1, sources.data(), FALSE, static_cast<DWORD>(left.count()));
      if (n == WAIT_OBJECT_0) return Event::woken;  // a change that came with it is still there for the next wait
      others = n == WAIT_OBJECT_0 + 1;
      if (others && take()) return Event::changed;
      if (clock::now() >= deadline) return Event::timeout;
      if (clock::now() >= look_at) return Event::look;
    }
  }

  void wake() override { ::SetEvent(woken_.get()); }

 private:
  // True when the changes are about our files.
  bool take() {
    is_listening_ = false;
    DWORD size = 0;
    if (!::GetOverlappedResult(folder_.get(), &pending_, &size, FALSE)) {
      folder_ = Handle();  // removed, or its disk is gone
      return true;
    }
    if (size == 0) return true;  // more than there was room for
    for (size_t at = 0;;) {
      const auto* change =
          reinterpret_cast<const FILE_NOTIFY_INFORMATION*>(reinterpret_cast<const char*>(changes_.data()) + at);
      if (is_ours({change->FileName, change->FileNameLength / sizeof(wchar_t)})) return true;
      if (change->NextEntryOffset == 0) return false;
      at += change->NextEntryOffset;
    }
  }

  bool is_ours(std::wstring_view name) const {
    // Its short name: whose it is can't be told from it.
    if (name.find(L'~') != name.npos) return true;
    if (name.size() < name_.size() || !equal_but_for_case(name.substr(0, name_.size()), name_)) return false;
    name.remove_prefix(name_.size());
    return name.empty() || equal_but_for_case(name, L"-wal") || equal_but_for_case(name, L"-journal");
  }

  void stop_listening() {
    DWORD ignored = 0;
    if (!is_listening_ || !::CancelIoEx(folder_.get(), &pending_)) return;
    ::GetOverlappedResult(folder_.get(), &pending_, &ignored, TRUE);  // it writes into our memory until then
  }

  const std::string path_;
  const std::wstring name_;
  Handle folder_;  // none: it is not there
  Handle woken_, told_;
  OVERLAPPED pending_{};
  std::array<DWORD, 4096> changes_{};
  bool is_listening_ = false;
};

}  // namespace

Result<std::unique_ptr<ChangeNotifier>> WindowsChangeNotifierFactory::watch(const std::string& database_path) {
  const std::string folder = directory_of(database_path);
  Handle opened = open_folder(folder);
  if (!opened) return last_windows_error("watch", folder);
  auto notifier = std::make_unique<WindowsChangeNotifier>(database_path, std::move(opened));
  if (!notifier->ready()) return last_windows_error("make a change notification for", database_path);
  if (!notifier->listen()) return last_windows_error("watch", folder);
  return std::unique_ptr<ChangeNotifier>(std::move(notifier));
}

}  // namespace tillsync
