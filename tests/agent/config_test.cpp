// The configuration: what it accepts, and how it refuses the rest.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "agent/config/config.h"
#include "agent/config/config_change.h"
#include "agent/config/values.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

Config accept(std::string_view text) {
  auto config = parse_config(text, "till.toml");
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().context));
  return *config;
}

std::string refuse(std::string_view text) {
  auto config = parse_config(text, "till.toml");
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().kind == ErrorKind::usage);
  return config.error().context;
}

constexpr std::string_view kEverything = R"(
[terminal]
name = "store-042/till-3"
state_dir = "/var/lib/tillsync"
control = "/run/tillsync/control.sock"

[[database]]
name = "pos"
path = "/var/lib/pos/pos.db"
user_column = { orders = "cashier_id" }
scan_interval = "60s"
idle_release = "10s"
schema_version = "PRAGMA user_version"
app_version = ""
migrations = "/etc/tillsync/migrations/pos"

[[assets]]
name = "media"
path = "/opt/pos/media"
include = ["**/*.png", "pos.conf"]

[store]
url = "s3://bucket/prefix"
endpoint = "https://s3.example.com"
region = "eu-central-1"
path_style = true
ca_file = "/etc/tillsync/ca.pem"
credentials = "/etc/tillsync/s3.credentials"
proxy = ""
upload_limit = "2MiB/s"
upload_hours = ["22:00-06:00"]

[keys]
recovery = "/etc/tillsync/recovery.pub"
write_only = false

[schedule]
log_flush = "1s"
incremental = "15m"
differential = ""
full = "Sun 03:00"
verify = "Mon 04:00"
drill = "Mon 04:30"
jitter = "10m"

[retention]
last = 3
hourly = 24
daily = 7
weekly = 5
monthly = 12
log = "90d"

[metrics]
listen = "127.0.0.1:9469"

[limits]
local_log = "7d"
wal = "16MiB"
wal_hard = "256MiB"
min_free = "1GiB"
memory = "64MiB"
)";

}  // namespace

TEST_SUITE_BEGIN("config");

TEST_CASE("config: the whole documented file is read") {
  const Config config = accept(kEverything);
  CHECK(config.terminal.name == "store-042/till-3");
  REQUIRE(config.databases.size() == 1);
  CHECK(config.databases[0].user_column.at("orders") == "cashier_id");
  CHECK(config.databases[0].scan_interval == 60s);
  CHECK(config.find_database("pos") == &config.databases[0]);
  CHECK(config.find_database("sop") == nullptr);
  CHECK(config.assets[0].include.size() == 2);
  CHECK(config.store.upload_limit == 2 << 20);
  CHECK(config.store.upload_hours[0] == HourRange{22h, 6h});
  CHECK(config.keys.recovery == std::vector<std::string>{"/etc/tillsync/recovery.pub"});
  CHECK(config.schedule.full == ScheduleRule{ScheduleRule::Kind::at, 0ms, std::chrono::Sunday, 3h});
  CHECK(config.retention.log == std::chrono::days(90));
  CHECK(config.limits.wal == 16 << 20);
  CHECK(check_agent_config(config).has_value());
}

TEST_CASE("config: defaults are those of the documentation") {
  const Config config = accept("");
  const Config full = accept(kEverything);
  CHECK(config.terminal.state_dir == full.terminal.state_dir);
  CHECK(config.terminal.control == full.terminal.control);
  CHECK_FALSE(config.terminal.name.empty());
  CHECK(config.schedule.incremental == full.schedule.incremental);
  CHECK(config.schedule.differential == full.schedule.differential);
  CHECK(config.schedule.full == full.schedule.full);
  CHECK(config.schedule.verify == full.schedule.verify);
  CHECK(config.schedule.drill == full.schedule.drill);
  CHECK(config.schedule.jitter == full.schedule.jitter);
  CHECK(config.schedule.log_flush == full.schedule.log_flush);
  CHECK(config.retention.monthly == full.retention.monthly);
  CHECK(config.retention.log == full.retention.log);
  CHECK(config.limits.local_log == full.limits.local_log);
  CHECK(config.limits.wal_hard == full.limits.wal_hard);
  CHECK(config.limits.min_free == full.limits.min_free);
  CHECK(config.limits.memory == full.limits.memory);
  CHECK(check_agent_config(config).error().kind == ErrorKind::usage);
}

TEST_CASE("config: an unknown key is refused with file, line, key and what was expected") {
  const auto text = refuse("[terminal]\nname = \"a\"\ncolour = \"red\"\n");
  CHECK(text.find("till.toml:3: terminal.colour: unknown key") == 0);
  CHECK(text.find("state_dir") != text.npos);
  CHECK(refuse("[[database]]\nname='a'\npath='/a'\njournal='wal'\n").find("till.toml:4: database.journal") == 0);
}

TEST_CASE("config: an unknown section is refused") {
  CHECK(refuse("\n[shop]\na = 1\n").find("till.toml:2: shop: unknown section") == 0);
}

TEST_CASE("config: a wrong type is refused, and what was found is said") {
  CHECK(refuse("[terminal]\nname = 3").find("till.toml:2: terminal.name: expected text in quotes, found an integer") ==
        0);
  CHECK(refuse("[keys]\nwrite_only = 'yes'").find("expected true or false, found text") != std::string::npos);
  CHECK(refuse("[retention]\nlast = 'x'").find("expected an integer from 1") != std::string::npos);
  CHECK(refuse("[store]\nupload_hours = '22:00-06:00'").find("expected a list of texts") != std::string::npos);
  CHECK(refuse("[database]\nname = 'a'").find("[[database]]") != std::string::npos);
  CHECK(refuse("terminal = 3").find("expected a section [terminal]") != std::string::npos);
  CHECK(refuse("[[database]]\nname='a'\npath='/a'\nuser_column = 'x'").find("expected a table") != std::string::npos);
}

TEST_CASE("config: a value out of range is refused") {
  CHECK(refuse("[retention]\nlast = 0").find("found 0") != std::string::npos);
  CHECK(refuse("[limits]\nwal = '1KiB'").find("till.toml:2: limits.wal: expected a size from") == 0);
  CHECK(refuse("[limits]\nwal = '1GiB'\nwal_hard = '512MiB'").find("at least limits.wal") != std::string::npos);
  CHECK(refuse("[schedule]\nlog_flush = '2d'").find("expected a duration from 10ms to 1d, found 2d") !=
        std::string::npos);
  CHECK(refuse("[schedule]\nincremental = '5s'").find("at least one minute") != std::string::npos);
}

TEST_CASE("config: a value that does not read is refused") {
  CHECK(refuse("[schedule]\nfull = 'Sonntag'").find("till.toml:2: schedule.full: expected") == 0);
  CHECK(refuse("[store]\nupload_limit = '2MiB'").find("expected a rate") != std::string::npos);
  CHECK(refuse("[store]\nupload_hours = ['22:00-25:00']").find("expected hours") != std::string::npos);
  CHECK(refuse("[limits]\nlocal_log = 'a week'").find("expected a duration") != std::string::npos);
  CHECK(refuse("[metrics]\nlisten = 'nowhere'").find("127.0.0.1:port") != std::string::npos);
  CHECK(refuse("[metrics]\nlisten = '0.0.0.0:9469'").find("127.0.0.1:port") != std::string::npos);
  CHECK(refuse("[store]\nurl = 'ftp://x/y'").find("file:///folder or s3://") != std::string::npos);
  CHECK(refuse("[store]\nurl = 'file://relative/x'").find("store.url") != std::string::npos);
}

TEST_CASE("config: names that can't be part of an object's key are refused") {
  for (const char* name : {"", "a b", "a/b", "..", "käse"})
    CHECK(refuse("[[database]]\npath='/a'\nname = '" + std::string(name) + "'").find("database.name") !=
          std::string::npos);
  for (const char* name : {"", "/a", "a//b", "a/..", "a b"})
    CHECK(refuse("[terminal]\nname = '" + std::string(name) + "'").find("terminal.name") != std::string::npos);
}

TEST_CASE("config: two databases of one name are refused at the second") {
  CHECK(refuse("[[database]]\nname='a'\npath='/a'\n[[database]]\nname='a'\npath='/b'\n")
            .find("till.toml:5: database.name: ") == 0);
}

TEST_CASE("config: a database without name or path is refused") {
  CHECK(refuse("[[database]]\nname='a'\n").find("database.path: is needed") != std::string::npos);
  CHECK(refuse("[[database]]\npath='/a'\n").find("database.name: is needed") != std::string::npos);
}

TEST_CASE("config: relative paths are refused") {
  CHECK(refuse("[terminal]\nstate_dir='state'").find("expected an absolute path") != std::string::npos);
  CHECK(refuse("[terminal]\ncontrol='/" + std::string(120, 'x') + "'").find("at most 107") != std::string::npos);
}

TEST_CASE("config: sealing can't be turned off for S3, nor reading back without a recovery key") {
  CHECK(refuse("[store]\nurl='s3://b/p'\n[keys]\nseal=false").find("keys.seal") != std::string::npos);
  CHECK(refuse("[keys]\nwrite_only=true").find("recovery") != std::string::npos);
  CHECK_FALSE(accept("[store]\nurl='file:///b'\n[keys]\nseal=false").keys.seal);
  CHECK(refuse("[keys]\nrecovery='/r.pub'\nwrite_only=true\nseal=false").find("seal = true") != std::string::npos);
}

TEST_CASE("config: a file that is not TOML is refused with its line") {
  CHECK(refuse("[terminal]\nname = ").find("till.toml:2: ") == 0);
}

TEST_CASE("config: a file that is not there is refused with its path") {
  auto config = load_config("/nowhere/at/all.toml");
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().kind == ErrorKind::usage);
  CHECK(config.error().context.find("/nowhere/at/all.toml") == 0);
}

TEST_CASE("config: --config comes before the environment, the environment before the default") {
  unsetenv("TILLSYNC_CONFIG");
  CHECK(config_path("") == kDefaultConfigPath);
  setenv("TILLSYNC_CONFIG", "/x.toml", 1);
  CHECK(config_path("") == "/x.toml");
  CHECK(config_path("/y.toml") == "/y.toml");
  unsetenv("TILLSYNC_CONFIG");
}

TEST_CASE("config: durations, sizes, rates and schedules") {
  CHECK(*parse_duration("250ms") == 250ms);
  CHECK(*parse_duration("2w") == std::chrono::days(14));
  for (const char* text : {"", "5", "m", "-1s", "1.5h", "1h30m", "99999999999999999999d", "9223372036854775807w"})
    CHECK_FALSE(parse_duration(text).has_value());
  CHECK(*parse_size("16MiB") == 16 << 20);
  CHECK(*parse_size("2kB") == 2000);
  CHECK_FALSE(parse_size("16M").has_value());
  CHECK(*parse_rate("") == 0);
  CHECK_FALSE(parse_rate("0B/s").has_value());
  CHECK(parse_schedule("03:00")->day == std::nullopt);
  CHECK(parse_schedule("")->kind == ScheduleRule::Kind::off);
  CHECK_FALSE(parse_schedule("Son 03:00").has_value());
  CHECK_FALSE(parse_schedule("Sun 24:00").has_value());
}

TEST_CASE("config: what was read again says what changes now, and what needs a restart") {
  const std::string base = "[store]\nurl = \"file:///backup\"\n";
  const auto words = [&](const std::string& before, const std::string& after) {
    return in_words(change_of(must(parse_config(before, "f")), must(parse_config(after, "f"))));
  };
  CHECK(words(base, base + "\n# a remark") == "nothing has changed");
  CHECK(words(base, base + "upload_limit = \"1MiB/s\"\n") == "changed from now on: store.upload_limit");
  CHECK(words(base + "upload_hours = [\"22:00-06:00\"]\n", base) == "changed from now on: store.upload_hours");
  CHECK(
      words(base, "[store]\nurl = \"file:///other\"\nupload_limit = \"1MiB/s\"\nupload_hours = [\"22:00-06:00\"]\n") ==
      "changed from now on: store.upload_limit, store.upload_hours; changed, and needs a restart of the agent: "
      "[store]");
  for (const auto& [section, more] :
       std::map<std::string, std::string>{{"terminal", "[terminal]\nname = \"other\"\n"},
                                          {"database", "[[database]]\nname = \"pos\"\npath = \"/pos.db\"\n"},
                                          {"assets", "[[assets]]\nname = \"media\"\npath = \"/media\"\n"},
                                          {"keys", "[keys]\nrecovery = \"/r.pem.pub\"\n"},
                                          {"schedule", "[schedule]\nfull = \"Mon 03:00\"\n"},
                                          {"retention", "[retention]\nlast = 9\n"},
                                          {"metrics", "[metrics]\ntextfile = \"/metrics\"\n"},
                                          {"limits", "[limits]\nwal = \"32MiB\"\n"}}) {
    CAPTURE(section);
    CHECK(words(base, base + more) == "changed, and needs a restart of the agent: [" + section + "]");
  }
}

TEST_SUITE_END();
