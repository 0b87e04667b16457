// `tillsync demo`: a till, its agent and a store in a temporary folder, a kill in the middle, two restores and their
// proof.
#include <filesystem>
#include <fstream>
#include <ostream>

#include "agent/cli/cli.h"
#include "agent/cli/compare_databases.h"
#include "agent/cli/demo_stage.h"

namespace tillsync {

using namespace std::chrono_literals;

namespace {

struct Moment {
  int64_t sale = 0;
  uint64_t transaction = 0;
  std::string time;
};

// The action in which sale_counter came to `sale`, the last one read so far being `after`.
struct CounterLog {
  uint64_t after = 0;
  int64_t last_sale = 0;
  Json last_action;
};

// Reads on in the log of sale_counter until `sale` or a later one is there.
Result<void> read_counter(DemoStage& stage, CounterLog& log, int64_t sale) {
  return stage.until("the capture of sale " + std::to_string(sale), 20s, [&]() -> Result<bool> {
    const Json params{{"table", "sale_counter"}, {"after", log.after}, {"limit", 1000}};
    TILLSYNC_LET(const Json page, stage.call("log", params));
    for (const auto& action : member(page, "actions")) {
      log.after = count_in(action, "sequence");
      log.last_sale = static_cast<int64_t>(count_in(member(action, "data"), "n"));
      log.last_action = action;
      if (log.last_sale >= sale) return true;
    }
    return false;
  });
}

// The shop copies its database between two sales; the log says which transaction that was.
Result<Moment> note_moment(DemoStage& stage, CounterLog& log) {
  const auto& files = stage.shop_files();
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::filesystem::remove(files.moment);
    std::filesystem::remove(files.moment_copy);
    std::ofstream(files.moment_wanted) << "\n";
    TILLSYNC_TRY(stage.until("the shop's copy of itself", 10s,
                             [&]() -> Result<bool> { return std::filesystem::exists(files.moment); }));
    std::ifstream in(files.moment);
    const Json noted = Json::parse(in, nullptr, false);
    const auto sale = static_cast<int64_t>(count_in(noted, "sale"));
    TILLSYNC_TRY(read_counter(stage, log, sale));
    if (log.last_sale == sale)
      return Moment{sale, count_in(log.last_action, "transaction"), text_in(log.last_action, "timestamp")};
    stage.tell("sale " + std::to_string(sale) + " was caught up with others: another moment");
  }
  return Error{ErrorKind::internal, 0, "no sale was captured by itself: there is no moment to restore to"};
}

Json tell_comparison(const CliContext& context, const DemoStage& stage, const std::string& what,
                     const DatabaseComparison& compared) {
  Json tables = Json::array();
  TextTable table({{"table"}, right("rows"), {"SHA-256 of all values"}, {""}});
  for (const auto& one : compared.tables) {
    const bool equal = one.is_equal();
    tables.push_back(
        Json{{"name", one.name}, {"rows", one.found_rows}, {"digest", one.found_digest}, {"equal", equal}});
    const std::string found = one.found_digest.empty() ? "missing" : one.found_digest.substr(0, 32);
    table.add({{one.name},
               right(human_count(one.found_rows)),
               {found, Tone::faint},
               {equal ? "equal" : "DIFFERS, expected " + human_count(one.expected_rows) + " rows",
                equal ? Tone::good : Tone::bad}});
  }
  if (!context.arguments().json) context.out() << table.str(context.style(), "         ");
  stage.tell(what +
             (compared.is_equal() ? ": every row of every table is equal; integrity " : ": NOT EQUAL; integrity ") +
             compared.integrity);
  return Json{
      {"equal", compared.is_equal()}, {"rows", compared.rows()}, {"integrity", compared.integrity}, {"tables", tables}};
}

Result<Json> restore_and_compare(const CliContext& context, DemoStage& stage, const std::string& what,
                                 std::vector<std::string> words, const std::string& expected,
                                 const std::string& target) {
  words.insert(words.begin(), {"restore", "--to", target});
  TILLSYNC_LET(const Json restored, stage.run_cli_program(words));
  stage.tell(what + ": " + human_size(count_in(restored, "bytes")) + ", sequence " +
             human_count(count_in(restored, "sequence")) + ", transaction " +
             human_count(count_in(restored, "transaction")) + ", in " +
             human_duration(Milliseconds(static_cast<int64_t>(count_in(restored, "elapsed_ms")))));
  TILLSYNC_LET(const auto compared, compare_databases(expected, target));
  Json document = tell_comparison(context, stage, what, compared);
  document["restore"] = restored;
  return document;
}

Result<Json> perform(const CliContext& context, DemoStage& stage) {
  const auto part = std::chrono::milliseconds(context.arguments().seconds * 1000 / 5);
  Json account = Json::object();
  CounterLog counter;

  TILLSYNC_TRY(stage.open_shop());
  stage.tell("a shop is open and sells: " + stage.shop_files().database);
  TILLSYNC_TRY(stage.start_agent());
  stage.tell("the agent follows it, without a trigger or a lock of its own");
  TILLSYNC_TRY(stage.sell_for(part));
  TILLSYNC_LET(account["full"], stage.back_up("full"));
  TILLSYNC_TRY(stage.sell_for(part));
  TILLSYNC_LET(account["incremental"], stage.back_up("incremental"));
  TILLSYNC_TRY(stage.sell_for(part));
  TILLSYNC_LET(account["differential"], stage.back_up("differential"));

  stage.kill_agent();
  stage.tell("the agent is killed (SIGKILL) while the shop sells on");
  TILLSYNC_TRY(stage.sell_for(part / 2));
  TILLSYNC_TRY(stage.start_agent());
  stage.tell("the agent is started again, and goes on where it was");
  TILLSYNC_TRY(stage.sell_for(part / 2));
  TILLSYNC_LET(const Moment moment, note_moment(stage, counter));
  stage.tell("a moment is noted: sale " + human_count(static_cast<uint64_t>(moment.sale)) + ", transaction " +
             human_count(moment.transaction) + ", " + moment.time);
  TILLSYNC_TRY(stage.sell_for(part));

  TILLSYNC_LET(const Json shop, stage.close_shop());
  stage.tell("the shop has closed: " + human_count(count_in(shop, "sales")) + " sales, the middle one took " +
             human_count(count_in(shop, "p50_us")) + " µs, 99 of 100 less than " +
             human_count(count_in(shop, "p99_us")) + " µs");
  const auto last_sale = static_cast<int64_t>(count_in(shop, "sales"));
  TILLSYNC_TRY(read_counter(stage, counter, last_sale));
  TILLSYNC_LET(const Json flushed, stage.call("flush", Json{{"wait", true}}));
  const Json& databases = member(flushed, "databases");
  const Json pos = databases.is_array() && !databases.empty() ? databases.front() : Json();
  stage.tell("all is durable in the store: " + human_count(count_in(pos, "durable_sequence")) + " actions");

  account["shop"] = shop;
  account["moment"] = Json{{"sale", moment.sale}, {"transaction", moment.transaction}, {"time", moment.time}};
  const std::vector<std::string> at_moment{"--transaction", std::to_string(moment.transaction)};
  TILLSYNC_LET(account["restore_moment"],
               restore_and_compare(context, stage, "restore to the moment", at_moment, stage.shop_files().moment_copy,
                                   stage.folder() + "/restored-moment.db"));
  TILLSYNC_LET(account["restore_newest"],
               restore_and_compare(context, stage, "restore to the end", {}, stage.shop_files().database,
                                   stage.folder() + "/restored-newest.db"));
  TILLSYNC_TRY(stage.stop_agent());
  return account;
}

}  // namespace

Result<void> run_demo(const CliContext& context) {
  const auto began = std::chrono::steady_clock::now();
  TILLSYNC_LET(const auto stage, DemoStage::set_up(context));
  TILLSYNC_LET(Json account, perform(context, *stage));
  const bool proven = flag_in(account["restore_moment"], "equal") && flag_in(account["restore_newest"], "equal");
  const auto took = std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - began);
  account["elapsed_ms"] = took.count();
  account["proven"] = proven;
  context.print(account, [&](const Json&, const Style& style) {
    return proven ? "\n" + toned(style, Tone::good, "Proven: both restores equal the shop's own databases.") + "\n"
                  : std::string("\n");
  });
  if (!proven) return Error{ErrorKind::corrupt, 0, "a restored database differs from the shop's"};
  return {};
}

}  // namespace tillsync
