#include "agent/tray/linux/tray_session_linux.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

namespace tillsync {

using namespace std::chrono_literals;

namespace {

constexpr const char* kOneASession = "org.tillsync.Tray";

Now now() {
  return {std::chrono::floor<Milliseconds>(std::chrono::system_clock::now()), std::chrono::steady_clock::now()};
}

LocalTime local_time(Timestamp time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  return {parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min};
}

}  // namespace

TraySession::TraySession(Language language) : model_(TrayTexts(language), local_time, now()) {}

Result<std::unique_ptr<TraySession>> TraySession::open(const std::string& control_socket, Language language) {
  std::unique_ptr<TraySession> session(new TraySession(language));
  TILLSYNC_TRY(session->start(control_socket));
  return session;
}

Result<void> TraySession::start(const std::string& control_socket) {
  sd_event* loop = nullptr;
  if (const int made = sd_event_new(&loop); made < 0) return bus_error(made, "make an event loop");
  loop_.reset(loop);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  for (const int number : {SIGTERM, SIGINT})
    if (const int added = sd_event_add_signal(loop, nullptr, number, on_signal, this); added < 0)
      return bus_error(added, "listen to signals");

  sd_bus* bus = nullptr;
  if (const int opened = sd_bus_open_user(&bus); opened < 0)
    return bus_error(opened, "reach the session bus (is this a desktop session?)");
  bus_.reset(bus);
  if (const int attached = sd_bus_attach_event(bus, loop, 0); attached < 0)
    return bus_error(attached, "listen to the session bus");
  const int named = sd_bus_request_name(bus, kOneASession, 0);
  if (named == -EEXIST || named == -EALREADY)
    return Error{ErrorKind::conflict, 0, "a tray icon of tillsync runs in this session already"};
  if (named < 0) return bus_error(named, std::string("take the name ") + kOneASession);

  AgentLink::Handlers handlers;
  handlers.connected = [this] { model_.connected(now()); };
  handlers.lost = [this](const Error& why) { model_.lost(why, now()); };
  handlers.notified = [this](const std::string& method, const Json& params) { model_.notified(method, params, now()); };
  handlers.answered = [this](uint64_t request, const Result<Json>& answer) { model_.answered(request, answer, now()); };
  link_ = std::make_unique<AgentLink>(loop, control_socket, std::move(handlers));
  TILLSYNC_LET(notifications_, DesktopNotifications::create(bus));
  const TrayView view = model_.view(now());
  TILLSYNC_LET(menu_, TrayMenu::create(bus, view.menu, [this](MenuItem item) { model_.chosen(item, now()); }));
  TILLSYNC_LET(item_, StatusNotifierItem::create(bus, TrayMenu::kPath, view,
                                                 [this] { model_.chosen(MenuItem::show_status, now()); }));
  link_->start();
  return {};
}

int TraySession::on_signal(sd_event_source*, const signalfd_siginfo*, void* self) {
  static_cast<TraySession*>(self)->stopping_ = true;
  return 0;
}

Result<void> TraySession::run() {
  // A session that ends takes its bus away.
  while (!stopping_ && sd_bus_is_open(bus_.get()) > 0) {
    update();
    if (const int ran = sd_event_run(loop_.get(), UINT64_MAX); ran < 0 && ran != -EINTR)
      return bus_error(ran, "wait for events");
  }
  return {};
}

void TraySession::update() {
  const Now moment = now();
  model_.tick(moment);
  for (const TrayRequest& request : model_.take_requests()) link_->request(request.id, request.method, request.params);
  for (TrayNotification& notification : model_.take_notifications()) notifications_->show(std::move(notification));
  const TrayView view = model_.view(moment);
  item_->show(view);
  menu_->show(view.menu);
  expect_change(moment);
}

void TraySession::expect_change(Now moment) {
  timer_.reset();
  const auto after = model_.changes_after(moment);
  if (!after) return;
  // BOOTTIME goes on while the till sleeps. Nobody sees a second more or less, so that the kernel may join wake-ups.
  const auto microseconds = static_cast<uint64_t>(std::max(*after, Milliseconds(10)).count()) * 1000;
  sd_event_source* source = nullptr;
  if (sd_event_add_time_relative(loop_.get(), &source, CLOCK_BOOTTIME, microseconds, 1'000'000, on_time, nullptr) >= 0)
    timer_.reset(source);
}

}  // namespace tillsync
