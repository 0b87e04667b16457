#include "platform/linux/change_notifier_linux.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <string_view>

#include "platform/linux/errno_linux.h"
#include "ports/files.h"

namespace tillsync {

namespace {

constexpr uint32_t kMask = IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
                           IN_MOVE_SELF | IN_ONLYDIR | IN_ONESHOT;
using milliseconds = std::chrono::milliseconds;
// Who comes back sooner looks by itself.
constexpr milliseconds kWorthWatching{5};
// After a change of other files in the folder, so that whoever writes them is not followed write by write.
constexpr milliseconds kPauseAfterOthers{5};
constexpr milliseconds kFolderMissing{1000};

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }

 private:
  int number_;
};

// The path with every symlink followed, as far as it exists; the file itself need not.
std::string real_path(const std::string& path) {
  char buffer[PATH_MAX];
  if (::realpath(path.c_str(), buffer)) return buffer;
  std::string folder = directory_of(path);
  if (!::realpath(folder.c_str(), buffer)) return path;
  std::string name = path.substr(path.find_last_of('/') + 1);
  return std::string(buffer) == "/" ? "/" + name : std::string(buffer) + "/" + name;
}

class LinuxChangeNotifier : public ChangeNotifier {
 public:
  LinuxChangeNotifier(const std::string& path, int inotify, int event)
      : folder_(directory_of(path)), name_(path.substr(path.find_last_of('/') + 1)), inotify_(inotify), event_(event) {}

  bool ready() const { return inotify_.get() >= 0 && event_.get() >= 0; }

  // False: the folder is not there; errno says why.
  bool add_watch() {
    watch_ = ::inotify_add_watch(inotify_.get(), folder_.c_str(), kMask);
    return watch_ >= 0;
  }

  const std::string& folder() const { return folder_; }

  Event wait(milliseconds timeout) override {
    using clock = std::chrono::steady_clock;
    const auto deadline = clock::now() + std::min<milliseconds>(timeout, std::chrono::hours(24));
    bool others = false;
    while (true) {
      auto left = std::max(std::chrono::ceil<milliseconds>(deadline - clock::now()), milliseconds(0));
      if (watch_ < 0 && others) {
        left = std::min(left, kPauseAfterOthers);
      } else if (watch_ < 0 && left >= kWorthWatching) {
        if (add_watch()) return Event::look;
        left = std::min(left, kFolderMissing);
      }
      others = false;
      pollfd sources[2] = {{event_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}};
      int n = ::poll(sources, 2, static_cast<int>(left.count()));
      if (n > 0 && (sources[0].revents & POLLIN)) {
        uint64_t count;
        (void)!::read(event_.get(), &count, sizeof count);
        return Event::woken;  // a change that came with it is still queued for the next wait
      }
      if (n > 0) {
        if (drain()) return Event::changed;
        others = true;
      }
      if (clock::now() >= deadline) return Event::timeout;
    }
  }

  void wake() override {
    uint64_t one = 1;
    (void)!::write(event_.get(), &one, sizeof one);  // can only fail when the counter is full, and then it is awake
  }

 private:
  // Empties the queue, after which nothing is watched. True when the event is about our files.
  bool drain() {
    alignas(inotify_event) char buffer[16 << 10];
    bool ours = false;
    while (true) {
      ssize_t n = ::read(inotify_.get(), buffer, sizeof buffer);
      if (n <= 0) return ours;  // EAGAIN: empty
      for (const char* p = buffer; p < buffer + n;) {
        auto* event = reinterpret_cast<const inotify_event*>(p);
        p += sizeof(inotify_event) + event->len;
        watch_ = -1;
        if (event->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF)) ours = true;
        if (event->len > 0 && is_ours(event->name)) ours = true;
      }
    }
  }

  bool is_ours(std::string_view name) const {
    if (!name.starts_with(name_)) return false;
    name.remove_prefix(name_.size());
    return name.empty() || name == "-wal" || name == "-journal";
  }

  const std::string folder_, name_;
  Descriptor inotify_, event_;
  int watch_ = -1;
};

}  // namespace

Result<std::unique_ptr<ChangeNotifier>> LinuxChangeNotifierFactory::watch(const std::string& database_path) {
  int inotify = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  int failed = errno;
  int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event < 0) failed = errno;
  auto notifier = std::make_unique<LinuxChangeNotifier>(real_path(database_path), inotify, event);
  if (!notifier->ready()) return errno_error(failed, "make a change notification for", database_path);
  if (!notifier->add_watch()) {
    if (errno == ENOSPC)
      return Error{
          ErrorKind::transient, ENOSPC,
          "watch " + notifier->folder() + ": the user has no inotify watch left; raise fs.inotify.max_user_watches"};
    return errno_error(errno, "watch", notifier->folder());
  }
  return std::unique_ptr<ChangeNotifier>(std::move(notifier));
}

}  // namespace tillsync
