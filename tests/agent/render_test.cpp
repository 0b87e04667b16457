// What a person sees of each document.
#include <doctest/doctest.h>

#include <sstream>

#include "agent/cli/progress.h"
#include "agent/cli/render.h"

using namespace tillsync;

namespace {
Style at(const char* time, bool colour = false) { return Style{colour, *parse_rfc3339(time)}; }
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_SUITE_BEGIN("cli rendering");

TEST_CASE("rendering: sizes, durations, counts and ages are readable") {
  CHECK(human_size(0) == "0 B");
  CHECK(human_size(1023) == "1023 B");
  CHECK(human_size(1536) == "1.5 KiB");
  CHECK(human_size(200 << 20) == "200 MiB");
  CHECK(human_size((1ull << 30) - 1) == "1.0 GiB");
  CHECK(human_duration(Milliseconds(850)) == "850 ms");
  CHECK(human_duration(Milliseconds(185'000)) == "3 min 5 s");
  CHECK(human_duration(std::chrono::hours(99)) == "4 d 3 h");
  CHECK(human_count(12345678) == "12,345,678");
  CHECK(human_count(999) == "999");
  const Style style = at("2026-11-22T20:00:00Z");
  CHECK(human_age("2026-11-22T19:57:00Z", style) == "3 min ago");
  CHECK(human_age("2026-11-22T20:01:00Z", style) == "in 1 min");
  CHECK(human_age(nullptr, style) == "never");
}

TEST_CASE("rendering: data can't drive the terminal") {
  CHECK(printable("a\x1b[31m\x7f\xc2\x9b käse") == "a\\x1b[31m\\x7f\\x9b käse");
  const Json action{{"action", "CREATE"}, {"table", "t\x1b"}, {"data", {{"c\r", "x\x7f"}}}};
  const auto line = render_action(action, Style{});
  CHECK(line.find('\x1b') == line.npos);
  CHECK(line.find('\x7f') == line.npos);
  CHECK(line.find('\r') == line.npos);
}

TEST_CASE("rendering: status shows databases, store, work and problems, aligned and without colour") {
  const Json status = Json::parse(R"({"terminal":{"id":"i","name":"store-042/till-3","version":"0.1.0"},
    "databases":[{"name":"pos","mode":"wal","sequence":12345,"durable_sequence":12000,"last_capture_at":"2026-11-22T19:59:57Z","lag_ms":12,"writer_sqlite_version":"3.40.1","problem":null},
                 {"name":"long-name","mode":"failed","sequence":1,"durable_sequence":1,"last_capture_at":null,"problem":"page 7 does not parse"}],
    "store":{"url":"file:///srv","reachable":true,"last_success_at":"2026-11-22T19:59:00Z"},
    "transfers":{"queued":2,"queued_bytes":2048,"active":1,"sent_bytes":4096,"rate_bytes_per_second":1024,"errors":0},
    "snapshots":{"last_full":"2026-11-22T18:00:00Z","last_incremental":null},
    "workflow":{"uuid":"u","type":"BACKUP","step":"UPLOAD","percent":35,"eta_ms":18000},
    "problems":[{"code":"no_recovery_key","text":"No recovery key","remedy":"tillsync keys"}]})");
  const auto text = render_status(status, at("2026-11-22T20:00:00Z"));
  CHECK(has(text, "store-042/till-3"));
  CHECK(has(text, "pos        wal       12,345   12,000  3 s ago"));
  CHECK(has(text, "long-name  failed         1        1  never"));
  CHECK(has(text, "long-name: page 7 does not parse"));
  CHECK(has(text, "BACKUP, UPLOAD, 35 %, 18 s left"));
  CHECK(has(text, "full 2 h ago, incremental never"));
  CHECK(has(text, "Problem: No recovery key\n  What to do: tillsync keys\n"));
  CHECK(text.find('\x1b') == text.npos);
  CHECK(has(render_status(status, at("2026-11-22T20:00:00Z", true)), "\x1b[31mfailed\x1b[0m"));
}

TEST_CASE("rendering: a document with nothing in it renders") {
  for (const Json& empty : {Json(nullptr), Json::object(), Json(7)}) {
    CHECK_FALSE(render_status(empty, Style{}).empty());
    CHECK_FALSE(render_restore(empty, "f", Style{}).empty());
    CHECK_FALSE(render_verification(empty, Style{}).empty());
    CHECK_FALSE(render_action(empty, Style{}).empty());
    CHECK_FALSE(render_snapshot_line(empty).empty());
    CHECK(render_flush(empty).empty());
  }
  CHECK(render_snapshots(Json::array(), Style{}) == "No snapshots yet.\n");
  CHECK(render_workflows(Json::array(), Style{}) == "No workflows.\n");
  const Json odd = Json::array({Json(nullptr), Json::object()});
  CHECK_FALSE(render_snapshots(odd, Style{}).empty());
  CHECK_FALSE(render_workflows(odd, Style{}).empty());
}

TEST_CASE("rendering: a list of snapshots") {
  const Json list = Json::parse(
      R"([{"uuid":"u1","type":"FULL","created_at":"2026-11-22T18:00:00Z","sequence":10,"size":4194304,"stored_bytes":1048576,"compression_ratio":4.0,"is_complete":true,"is_verified":true,"name":"a"},
    {"uuid":"u2","type":"INCREMENTAL","sequence":2000,"size":1,"stored_bytes":1,"compression_ratio":null,"parent_uuid":"u1","is_complete":true,"is_verified":false,"name":null}])");
  const auto text = render_snapshots(list, Style{});
  CHECK(has(text, "4.0 MiB  1.0 MiB    4.0  verified"));
  CHECK(has(text, "2,000"));
  CHECK(has(text, "complete  u1"));
}

TEST_CASE("rendering: an update shows what changed, a delete what was there") {
  const Json update = Json::parse(
      R"({"sequence":7,"transaction":3,"timestamp":"t","action":"UPDATE","table":"orders","entity_id":"5","data":{"id":5,"status":"REFUNDED"},"previous_data":{"id":5,"status":"PAID"}})");
  const auto text = render_action(update, Style{});
  CHECK(has(text, "status=\"REFUNDED\""));
  CHECK_FALSE(has(text, "id=5"));
  const Json removal{{"action", "DELETE"}, {"previous_data", {{"id", 5}}}, {"data", nullptr}};
  CHECK(has(render_action(removal, Style{}), "id=5"));
}

TEST_CASE("rendering: a restore that is not proven says so") {
  const Json restored = Json::parse(
      R"({"sequence":7,"transaction":3,"tables":[{"name":"orders","rows":1200,"digest_ok":true},{"name":"audit","rows":1,"digest_ok":false}],"bytes":2048,"elapsed_ms":900,"proven":false,"note":"rounded",)"
      R"("failures":[{"sequence":5,"table":"audit","entity_id":"7","reason":"another row is there"}]})");
  const auto text = render_restore(restored, "/f.db", Style{});
  CHECK(has(text, "orders  1,200  proven"));
  CHECK(has(text, "DIFFERS"));
  CHECK(has(text, "NOT PROVEN"));
  CHECK(has(text, "Note: rounded\n"));
  CHECK(has(text, "sequence 5, table audit, entity 7: another row is there\n"));
}

TEST_CASE("rendering: progress is a bar on a terminal and lines elsewhere") {
  const Json progress{{"step", "UPLOAD_PACKS"}, {"percent", 50},   {"bytes", 1048576},
                      {"rate", 2048},           {"eta_ms", 18000}, {"items", nullptr}};
  CHECK(progress_line(progress, false) == "UPLOAD_PACKS  50 %  1.0 MiB  2.0 KiB/s  18 s left");
  CHECK(has(progress_line(progress, true), "[############            ]"));
  std::ostringstream lines, bar, none;
  {
    ProgressView a(lines, ProgressView::Kind::lines), b(bar, ProgressView::Kind::bar),
        c(none, ProgressView::Kind::none);
    for (int i = 0; i < 3; ++i) {
      a.show(progress);
      b.show(progress);
      c.show(progress);
    }
  }
  CHECK(lines.str() == progress_line(progress, false) + "\n");
  CHECK(bar.str().starts_with("\r"));
  CHECK(bar.str().ends_with("\r\x1b[K"));
  CHECK(none.str().empty());
}

TEST_CASE("rendering: a prune says what stays and what goes, and why") {
  Json document{
      {"dry_run", true},
      {"databases",
       {{{"database", "pos"},
         {"keep",
          {{{"uuid", "019d"},
            {"created_at", "2026-11-22T19:00:00.000Z"},
            {"reasons", {"last 1", "a", "b", "c", "d"}}}}},
         {"remove",
          {{{"kind", "pack"}, {"key", "x/packs/ab.pack"}, {"bytes", 2048}, {"count", 1}, {"reason", "no use"}},
           {{"kind", "segment"},
            {"key", "x/log/1.seg"},
            {"bytes", 1024},
            {"count", 7},
            {"first_sequence", 1},
            {"last_sequence", 4000},
            {"reason", "older than retention.log"}}}},
         {"objects", 8},
         {"bytes", 3072},
         {"logs", {{{"epoch", 1}, {"first_sequence", 4001}}}},
         {"young_packs", {{"count", 1}, {"bytes", 9}}},
         {"problems", {"a hole\x1b"}}}}}};
  const Style style = at("2026-11-22T20:00:00Z");
  std::string text = render_prune(document, style);
  for (const char* part :
       {"pos: 1 snapshot stays, 8 objects of 3.0 KiB would go.", "last 1, a, b and 2 more", "ab.pack", "no use",
        "7 segments", "sequences 1 to 4,000", "The log would begin at sequence 4,001.",
        "1 pack without a snapshot stays", "LEFT AS IT IS  a hole"})
    CHECK_MESSAGE(has(text, part), text);
  CHECK_FALSE(has(text, "\x1b"));
  document["dry_run"] = false;
  text = render_prune(document, style);
  for (const char* part : {"8 objects of 3.0 KiB removed.", "1 pack, 2.0 KiB", "7 segments, 1.0 KiB", "begins at"})
    CHECK_MESSAGE(has(text, part), text);
  CHECK(render_prune(Json{{"databases", Json::array()}}, style) == "Nothing to prune.\n");
}

TEST_SUITE_END();
