// Runs workflows on the workers, waits between retries on the loop, and tells those who watch.
//
// Threads: any.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <mutex>

#include "agent/control/server.h"
#include "workflow/engine.h"

namespace tillsync {

class WorkflowRunner {
 public:
  WorkflowRunner(boost::asio::io_context& loop, boost::asio::thread_pool& workers, WorkflowEngine& engine,
                 Clock& clock);
  // Called on a worker. Set before the first start().
  void on_backup_completed(std::function<void()> callback) { backup_completed_ = std::move(callback); }
  // Called on a worker after any workflow that came to an end, whichever. Set before the first start().
  void on_ended(std::function<void()> callback) { ended_ = std::move(callback); }
  // Goes on with what the last run left unfinished.
  Result<void> resume();
  void start(const Uuid& workflow);
  // Runs on a worker while no step of a backup runs; backups that wait between two steps stay as they are.
  void between_backups(std::function<void()> work);
  // workflow.wait: progress until it ends, then its outcome.
  void watch(const Uuid& workflow, Responder responder);
  // Asks it to end and to clean up. conflict: it has ended already; not_found.
  Result<void> cancel(const Uuid& workflow);
  void stop();

 private:
  void run(const Uuid& workflow);
  void finished(const Uuid& workflow);
  void answer(const Uuid& workflow, const Responder& responder);
  void tick();
  boost::asio::io_context& loop_;
  boost::asio::thread_pool& workers_;
  boost::asio::strand<boost::asio::thread_pool::executor_type>
      backups_;  // one at a time: each goes on from the one before
  WorkflowEngine& engine_;
  Clock& clock_;
  std::function<void()> backup_completed_, ended_;
  boost::asio::steady_timer ticker_;
  std::mutex mutex_;
  bool stopping_ = false, ticking_ = false;
  std::multimap<Uuid, Responder> watchers_;
  std::map<Uuid, std::shared_ptr<boost::asio::steady_timer>> waiting_;
};

}  // namespace tillsync
