// A till whose store is the S3 server of this run, behind a proxy that makes faults and keeps a record, or over TLS.
#pragma once

#include "agent/cli/compare_databases.h"
#include "integration/world.h"
#include "s3/behind_proxy.h"

namespace tillsync::test {

struct S3World : World {
  FaultProxy proxy{S3Server::running().port()};
  s3::S3Store::Options options = BehindProxy::options_through(proxy);

  S3World() {
    settings("");
    auto app = application();
    must(app.execute("PRAGMA journal_mode=WAL"));
  }
  void settings(const std::string& more) { settings(proxy.endpoint(), more); }
  void settings(const std::string& endpoint, const std::string& more) {
    auto reached = options;
    reached.address.endpoint = endpoint;
    store_settings = test::store_settings(reached) + more;
    write_config("");
  }
  // Pages that are new each time, so that a snapshot and the log have as much to send.
  void change_photos(int64_t count) {
    auto app = application();
    must(app.execute("CREATE TABLE IF NOT EXISTS photo(id INTEGER PRIMARY KEY, bytes BLOB)"));
    for (int64_t i = 1; i <= count; i++)
      must(app.execute("INSERT OR REPLACE INTO photo VALUES(" + std::to_string(i) + ", randomblob(1000000))"));
  }
  void workflows_end_well() {
    until(
        "every workflow ends well",
        [&] {
          const Json workflows = call("workflows");
          for (auto& workflow : workflows) {
            INFO(workflow.dump());
            if (workflow["type"] == "BACKUP") REQUIRE(workflow["status"] != "FAILED");
            if (workflow["status"] == "PENDING" || workflow["status"] == "IN_PROGRESS") return false;
          }
          return true;
        },
        std::chrono::seconds(300));
  }
  // While nobody sells, and the store answers.
  void check_all() {
    workflows_end_well();
    check_store();
  }
  void check_store() {
    flush();
    const Json status = call("status");
    CHECK(status["transfers"]["queued"] == 0);
    CHECK(status["databases"][0]["lag_actions"] == 0);
    check_restored();
    check_verified({"log", "verify"});
    check_verified({"verify", "--data"});
    for (const auto& key : proxy.overwritten()) FAIL_CHECK("overwritten: " << key);
    CHECK(uploads().empty());
  }
  void check_verified(const std::vector<std::string>& words) {
    const auto verified = cli(words);
    INFO(verified.out << verified.err);
    CHECK(verified.status == 0);
  }
  void check_restored() {
    const std::string target = folder / "back.db";
    std::filesystem::remove(target);
    auto restored = cli({"restore", "--to", target});
    INFO(restored.err);
    REQUIRE(restored.status == 0);
    CHECK(must(compare_databases(db, target)).is_equal());
  }
  uint64_t part_bytes() const {
    uint64_t sum = 0;
    for (const auto& request : proxy.requests())
      if (request.is_part()) sum += request.body_bytes;
    return sum;
  }
  // Uploads in parts below our prefix that were begun and have not ended.
  size_t unfinished_on_the_server() { return test::unfinished_on_the_server(options); }
  std::map<std::string, int64_t> uploads() {
    auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READONLY));
    must(state.execute("PRAGMA busy_timeout = 60000"));
    auto rows =
        must(state.prepare("SELECT u.object_key, count(p.number) FROM uploads u LEFT JOIN upload_parts p "
                           "USING(object_key) GROUP BY 1"));
    std::map<std::string, int64_t> all;
    while (must(rows.step())) all[rows.text(0)] = rows.integer(1);
    return all;
  }
  // Of everything that is queued.
  int64_t parts_through(int64_t part_size) {
    auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READONLY));
    must(state.execute("PRAGMA busy_timeout = 60000"));
    return must(state.query_integer("SELECT (SELECT count(*) FROM upload_parts) + (SELECT coalesce(sum(size) / " +
                                    std::to_string(part_size) + ", 0) FROM transfer_queue WHERE sent_at IS NOT NULL)"));
  }
};

// `./dev s3` wants more than a test has time for.
inline int64_t wish(const char* variable, int64_t usual) {
  const char* wanted = std::getenv(variable);
  return wanted ? std::atoll(wanted) : usual;
}

}  // namespace tillsync::test
