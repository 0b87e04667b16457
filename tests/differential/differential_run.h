// One random schema, from its baseline to its last restore: an application in processes of its own, followed.
//
// For every transaction: the log, applied strictly to a model, gives every row of every table as SQL reads it in the
// writer's process; and its actions are the changeset of the session extension where that can record. For every schema:
// snapshots and log, put together again, give the content at moments picked on the way, and the end. In between the
// application changes its journal mode, locks the database for itself, closes, dies, and a second one comes.
#pragma once

#include "differential/hashed_model.h"
#include "differential/writer_process.h"
#include "restore/restore_fixture.h"

namespace tillsync::test {

struct DifferentialTotals {
  uint64_t schemas = 0, transactions = 0, compared = 0, moments = 0;
  uint64_t deaths = 0, restarts = 0, switches = 0, exclusive = 0, put_back = 0, catch_ups = 0, at_once = 0;
};

class DifferentialRun {
 public:
  DifferentialRun(uint64_t seed, DifferentialTotals& totals);
  void go(uint64_t transactions);

 private:
  bool chance_in(uint64_t n) { return random_.below(n) == 0; }
  std::unique_ptr<WriterProcess> start_writer(const std::string& more = "");
  WriterProcess& any_writer();
  WriterAnswer ask(WriterProcess& writer, const std::string& request);
  // Everything committed is logged when it returns.
  void capture();
  // The same, then log and tables side by side.
  std::vector<LoggedAction> capture_and_compare(const WriterAnswer& answer);
  void compare(const ContentSum& live);
  void cover_barrier();
  void remember();
  void check_moments();

  void single();
  void several();
  void one_by_the_way();
  void let_go();
  void restart_writer();
  void kill_writer();
  void only_one_writer();
  void change_journal_mode();
  void lock_for_itself();
  void put_back_old_file();

  SeededRandom random_;
  DifferentialTotals& totals_;
  const std::string file_pragmas_;
  RestoreWorld world_;
  HashedModel model_;
  std::unique_ptr<WriterProcess> first_, second_;
  uint64_t rows_max_ = 0;
  int writers_ = 0;
  bool sessions_ = false, barrier_ = false;
  TransactionNo captured_ = 0;  // the last one in the log
  uint64_t catch_ups_ = 0;
  std::string doing_;
  std::vector<TransactionNo> moments_;
};

}  // namespace tillsync::test
