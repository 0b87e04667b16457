#include "agent/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <ostream>

#include "agent/config/values.h"
#include "base/ids.h"
#include "version.h"

namespace tillsync {

namespace {

std::string check_time(std::string& text) {
  const auto time = parse_rfc3339(text);
  if (!time) return "expected a time such as 2026-11-22T19:40:00Z, found \"" + text + "\"";
  text = to_rfc3339(*time);
  return "";
}

std::string check_uuid(std::string& text) {
  const auto uuid = Uuid::parse(text);
  if (!uuid) return "expected a uuid, found \"" + text + "\"";
  text = uuid->str();
  return "";
}

// CLI11 takes "-3" for a number without a sign.
std::string check_number(std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos && text.size() <= 18;
  return digits ? "" : "expected a number, found \"" + text + "\"";
}

std::string check_duration(std::string& text) {
  const auto duration = parse_duration(text);
  return duration ? "" : duration.error().context;
}

class Definition {
 public:
  explicit Definition(Arguments& out) : out_(out) {
    app_.fallthrough();  // global options also after the command
    app_.require_subcommand(1);
    app_.set_version_flag("--version", "tillsync " TILLSYNC_VERSION);
    app_.add_option("--config", out.config, "configuration file")->type_name("FILE");
    app_.add_flag("--json", out.json, "one JSON document, or one per line where it streams");
    app_.add_option("--store", out.store, "read this store, without an agent")->type_name("URL");
    app_.add_option("--terminal", out.terminal, "whose data, by id or name")->type_name("ID|NAME");
    app_.add_option("--key", out.key, "key that opens the backups")->type_name("FILE");
    app_.footer(
        "Exit status: 0 done, 1 failed, 2 usage or configuration, 3 the agent is not running,\n"
        "4 verification failed, 5 refused, 130 interrupted.");
    add_init();
    add_daily();
    add_restore();
    add_doctor();
    add_log();
    add_keys();
    add_others();
  }
  CLI::App& app() { return app_; }

  void finish() {
    const CLI::App* chosen = &app_;
    while (!chosen->get_subcommands().empty()) {
      chosen = chosen->get_subcommands().front();
      out_.command += (out_.command.empty() ? "" : " ") + chosen->get_name();
    }
    if (!pause_length_.empty()) out_.pause_length = *parse_duration(pause_length_);
    if (!timeout_.empty()) out_.timeout = *parse_duration(timeout_);
  }

 private:
  CLI::App* command(const char* name, const char* what) { return app_.add_subcommand(name, what); }
  CLI::Option* database(CLI::App* to) {
    return to->add_option("--database", out_.database, "one of the databases, by name")->type_name("NAME");
  }
  void timeout(CLI::App* to) {
    to->add_option("--timeout", timeout_, "with --wait: stop waiting after this long, the work goes on")
        ->type_name("DURATION")
        ->check(CLI::Validator(check_duration, ""));
  }

  void add_init() {
    Arguments::Init& in = out_.init;
    CLI::App* init =
        command("init", "the first minute: writes the configuration, makes keys, looks whether all is well");
    init->add_option("--database", out_.database, "path of the application's database; asked for if not given")
        ->type_name("FILE");
    init->add_option("--database-name", in.database_name, "its name in the store; from its path if not given")
        ->type_name("NAME");
    init->add_option("--endpoint", in.endpoint, "of an S3 server other than AWS")->type_name("URL");
    init->add_option("--region", in.region, "of the bucket")->type_name("NAME");
    init->add_flag("--path-style", in.path_style, "the bucket in the path, not in the host's name");
    init->add_option("--ca-file", in.ca_file, "certificate authority of the S3 server")->type_name("FILE");
    init->add_option("--credentials", in.credentials, "access key, in AWS' shared-credentials format; it is copied")
        ->type_name("FILE");
    auto* recovery = init->add_option("--recovery", in.recovery, "public half of a recovery key; it is copied");
    recovery->type_name("FILE");
    auto* made = init->add_option("--make-recovery", in.make_recovery,
                                  "make a recovery key in this file; in your home if nothing is said of it")
                     ->type_name("FILE");
    auto* none = init->add_flag("--no-recovery", in.no_recovery, "only this till can open its backups");
    recovery->excludes(made)->excludes(none);
    made->excludes(none);
    init->add_option("--state-dir", in.state_dir, "where the agent keeps its copy and its log")->type_name("DIR");
    init->add_option("--user", in.user, "whom the service runs as; the database's owner if not given")
        ->type_name("NAME");
    init->add_flag("--unit", in.unit_only, "only the service's drop-in, anew from the configuration");
    init->add_flag("--force", out_.force, "replace a configuration; the old one is kept beside it");
  }

  void add_daily() {
    command("status", "what the agent does, how far everything is, and what is wrong");
    CLI::App* backup = command("backup", "asks the agent for a snapshot");
    backup->add_option("--type", out_.type, "full, incremental or differential; incremental if not given")
        ->check(CLI::IsMember({"full", "incremental", "differential"}))
        ->type_name("TYPE");
    database(backup);
    backup->add_option("--name", out_.name, "a name for it")->type_name("TEXT");
    backup->add_option("--description", out_.description, "what it is for")->type_name("TEXT");
    backup->add_flag("--no-dedup", out_.no_dedup, "upload every block, also those the store has");
    backup->add_flag("--wait", out_.wait, "until it is durable in the store");
    timeout(backup);
    CLI::App* flush = command("flush", "sends what is captured now");
    database(flush);
    flush->add_flag("--wait", out_.wait, "until it is durable in the store");
    timeout(flush);
    database(command("snapshots", "the snapshots in the store"));
    command("pause", "lets go of the databases' files, for an installer or a repair; the application goes on")
        ->add_option("--for", pause_length_, "resume by itself after this long; else with `tillsync resume`")
        ->type_name("DURATION")
        ->check(CLI::Validator(check_duration, ""));
    command("resume", "ends a pause; what was sold meanwhile is captured now");
  }

  void add_restore() {
    CLI::App* restore = command("restore", "brings back a database as it was, proven");
    auto* to = restore->add_option("--to", out_.target, "into this new file")->type_name("FILE");
    auto* in_place = restore->add_flag("--in-place", out_.in_place,
                                       "into the followed database, with applications attached; what is there now is "
                                       "kept as a safety copy");
    to->excludes(in_place);
    restore->add_flag("--undo", out_.undo, "puts back what was there before the last restore in place")
        ->needs(in_place);
    restore->add_flag("--yes", out_.yes, "do not ask")->needs(in_place);
    database(restore);
    auto* snapshot = restore->add_option("--snapshot", out_.snapshot, "as it was in this snapshot")->type_name("UUID");
    snapshot->transform(CLI::Validator(check_uuid, ""));
    auto* at =
        restore->add_option("--at", out_.at, "every transaction captured at or before this time")->type_name("TIME");
    at->transform(CLI::Validator(check_time, ""));
    auto* sequence = restore->add_option("--sequence", out_.sequence, "up to this action")->type_name("S");
    sequence->check(CLI::Validator(check_number, ""));
    auto* transaction =
        restore->add_option("--transaction", out_.transaction, "up to this transaction")->type_name("T");
    transaction->check(CLI::Validator(check_number, ""));
    at->excludes(snapshot)->excludes(sequence)->excludes(transaction);
    snapshot->excludes(sequence)->excludes(transaction);
    sequence->excludes(transaction);
    restore->add_option("--assets", out_.assets, "the file assets of that snapshot, below this folder")
        ->type_name("DIR");
    restore->add_flag("--force", out_.force, "replace the file and the assets if they are there");
    restore->add_flag("--keep-going", out_.keep_going, "leave out actions that can't be applied, and say which");
    restore
        ->add_flag("--no-integrity-check", out_.no_integrity_check,
                   "leave out SQLite's own check, two fifths of the time; pages and rows are proven all the same")
        ->excludes(in_place);
  }

  void add_doctor() {
    command("doctor",
            "what keeps this till from being safe: configuration, databases, disk, clock, keys, agent, store");
    command("diagnose", "a file for whoever helps: states, reasons, messages; no rows and no keys")
        ->add_option("--out", out_.target, "where to; in this folder if not given")
        ->type_name("FILE");
  }

  void add_log() {
    database(command("drill", "restores the newest moment to a scratch file and proves it: all but the activation"));
    CLI::App* log = command("log", "the actions that were captured");
    database(log);
    log->add_option("--table", out_.table, "one of the tables, by name")->type_name("NAME");
    log->add_option("--entity", out_.entity, "one row, by its key")->type_name("ID");
    log->add_option("--from", out_.from_sequence, "first sequence")
        ->check(CLI::Validator(check_number, ""))
        ->type_name("S");
    log->add_option("--to", out_.to_sequence, "last sequence")->check(CLI::Validator(check_number, ""))->type_name("S");
    log->add_option("--since", out_.since, "from this time on")
        ->transform(CLI::Validator(check_time, ""))
        ->type_name("TIME");
    log->add_flag("--follow", out_.follow, "goes on with what comes");
    log->add_subcommand("verify", "hash chain, signatures, gaps and digests, from the store");
  }

  void add_keys() {
    CLI::App* keys = command("keys", "the keys that backups are sealed for and signed with");
    keys->require_subcommand(1);
    keys->add_subcommand("show", "this terminal's keys, and who can open its backups");
    CLI::App* make = keys->add_subcommand("make", "a recovery key: FILE, for a safe, and FILE.pub, for the tills");
    make->add_option("--out", out_.target, "where to; it must not exist")->type_name("FILE")->required();
    keys->add_subcommand("rotate", "new keys for this terminal, from the agent's next start on");
    CLI::App* exported = keys->add_subcommand("export", "the key of --key in another form");
    auto* words = exported->add_flag("--words", out_.words, "24 words to be printed; else PEM");
    exported->add_flag("--public", out_.public_half, "its public half, for [keys] recovery")->excludes(words);
    exported->add_option("--out", out_.target, "into this new file, for you alone; else to standard output")
        ->type_name("FILE");
  }

  void add_others() {
    CLI::App* verify = command("verify", "checks manifests and packs in the store");
    verify->add_option("--snapshot", out_.snapshot, "this one only")
        ->transform(CLI::Validator(check_uuid, ""))
        ->type_name("UUID");
    verify->add_flag("--data", out_.data, "reads everything back and proves the digests");
    database(verify);
    command("cancel", "ends a workflow at the next safe point; what it made is cleaned up")
        ->add_option("uuid", out_.workflow, "of the workflow, as `tillsync workflows` shows it")
        ->required()
        ->transform(CLI::Validator(check_uuid, ""))
        ->type_name("UUID");
    CLI::App* prune = command("prune", "removes from the store what [retention] does not keep");
    prune->add_flag("--dry-run", out_.dry_run, "only say what would go, and why");
    database(prune);
    command("workflows", "workflows and their steps, retries and errors")
        ->add_option("--id", out_.workflow, "this one only")
        ->transform(CLI::Validator(check_uuid, ""))
        ->type_name("UUID");
    CLI::App* demo =
        command("demo", "sells, backs up, kills the agent midway, restores and proves; needs no configuration");
    demo->add_option("--seconds", out_.seconds, "how long to sell, 4 to 600; 15 if not given")
        ->check(CLI::Range(4, 600))
        ->type_name("N");
    demo->add_flag("--keep", out_.keep, "keep the temporary folder");
    CLI::App* shop = command("demo-shop", "");
    shop->group("");  // hidden: demo starts it
    shop->add_option("folder", out_.shop_folder)->required();
  }

  Arguments& out_;
  CLI::App app_{"tillsync: backs up and restores the databases of a till", "tillsync"};
  std::string timeout_, pause_length_;
};

}  // namespace

std::optional<int> parse_arguments(const std::vector<std::string>& words, Arguments& out, std::ostream& output,
                                   std::ostream& err) {
  Definition definition(out);
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
  try {
    definition.app().parse(reversed);
  } catch (const CLI::ParseError& error) {
    return definition.app().exit(error, output, err) == 0 ? 0 : 2;
  }
  definition.finish();
  return std::nullopt;
}

void with_command_line(const std::function<void(const CLI::App&)>& use) {
  Arguments arguments;
  use(Definition(arguments).app());
}

}  // namespace tillsync
