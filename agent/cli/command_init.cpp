// init: from nothing to a till that can be started.
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <ostream>
#include <system_error>

#include "agent/cli/cli.h"
#include "agent/cli/recovery_key_files.h"
#include "agent/cli/render.h"
#include "agent/cli/setup.h"
#include "agent/keys/own_keys.h"
#include "crypto/secret.h"
#include "platform/linux/errno_linux.h"
#include "platform/linux/file_system_linux.h"
#include "store/open_store.h"

namespace tillsync {

namespace fs = std::filesystem;

namespace {

constexpr const char* kDropIn = "/etc/systemd/system/tillsync.service.d/10-till.conf";
constexpr const char* kUnits[] = {"/etc/systemd/system/tillsync.service", "/lib/systemd/system/tillsync.service",
                                  "/usr/lib/systemd/system/tillsync.service"};

std::string absolute(const std::string& path) { return fs::absolute(path).lexically_normal().string(); }

// Letters, digits and what else a name may have; the rest becomes '-'.
std::string name_from(const std::string& text, const std::string& otherwise) {
  std::string name;
  for (const char c : text.substr(0, 64)) name += is_database_name(std::string(1, c)) || c == '.' ? c : '-';
  return is_database_name(name) ? name : otherwise;
}

// A path is as good as the URL of a folder.
std::string url_of(const std::string& answer) {
  if (answer.empty() || answer.find("://") != answer.npos) return answer;
  std::string url = "file://";
  for (const char c : absolute(answer)) {
    if (c == '%' || c == '?' || c == '#')
      url += c == '%' ? "%25" : c == '?' ? "%3F" : "%23";
    else
      url += c;
  }
  while (url.size() > 8 && url.ends_with('/')) url.pop_back();
  return url;
}

struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
  ServiceUser names;
};

Result<Owner> user_named(const std::string& name) {
  const passwd* user = ::getpwnam(name.c_str());
  if (!user) return Error{ErrorKind::usage, 0, "there is no user " + name + " on this machine"};
  const group* primary = ::getgrgid(user->pw_gid);
  return Owner{user->pw_uid, user->pw_gid, {name, primary ? primary->gr_name : std::to_string(user->pw_gid)}};
}

// Of the database, or of the folder it will lie in. SQLite's -wal and -shm beside it belong to whoever makes them.
Result<Owner> owner_of(const std::string& database) {
  struct stat info {};
  if (::stat(database.c_str(), &info) != 0 && ::stat(fs::path(database).parent_path().c_str(), &info) != 0)
    return errno_error(errno, "neither it nor its folder is there:", database);
  const passwd* user = ::getpwuid(info.st_uid);
  const group* its_group = ::getgrgid(info.st_gid);
  return Owner{info.st_uid,
               info.st_gid,
               {user ? user->pw_name : std::to_string(info.st_uid),
                its_group ? its_group->gr_name : std::to_string(info.st_gid)}};
}

class Init {
 public:
  explicit Init(const CliContext& context)
      : context_(context), arguments_(context.arguments()), path_(config_path(arguments_.config)) {
    path_ = absolute(path_);
    folder_ = fs::path(path_).parent_path();
    is_service_ = path_ == kDefaultConfigPath && ::geteuid() == 0 && has_unit();
  }

  Result<void> run() {
    if (arguments_.init.unit_only) return renew_unit();
    if (files_.stat(path_) && !arguments_.force)
      return Error{ErrorKind::denied, 0,
                   path_ + ": there is a configuration already; change it with an editor, or replace it with --force"};
    // Before anybody is asked anything.
    std::string existing = folder_;
    std::error_code ignored;
    while (existing.size() > 1 && !fs::exists(existing, ignored)) existing = fs::path(existing).parent_path();
    if (::access(existing.c_str(), W_OK | X_OK) != 0)
      return Error{ErrorKind::denied, errno,
                   existing +
                       ": this user can't write there: run it as root (sudo tillsync init), or say where the "
                       "configuration goes, with --config FILE in a folder of your own"};
    TILLSYNC_TRY(ask());
    TILLSYNC_TRY(check());
    TILLSYNC_TRY(make_folder(folder_, 0755, std::nullopt));
    TILLSYNC_TRY(recovery_key());
    TILLSYNC_TRY(credentials());
    TILLSYNC_TRY(write_configuration());
    TILLSYNC_LET(const Config config, load_config(path_));
    TILLSYNC_TRY(make_folder(config.terminal.state_dir, 0700, owner_));
    if (auto store = folder_of_url(config.store.url)) TILLSYNC_TRY(make_folder(*store, 0700, owner_));
    if (is_service_) TILLSYNC_TRY(write_unit(config));
    return report();
  }

 private:
  static bool has_unit() {
    std::error_code ignored;
    for (const char* unit : kUnits)
      if (fs::exists(unit, ignored)) return true;
    return false;
  }

  std::string answer(const std::string& question, const std::string& otherwise = "") {
    if (!context_.environment().ask) return otherwise;
    const std::string text =
        context_.environment().ask(question + (otherwise.empty() ? "" : " [" + otherwise + "]") + ": ");
    return text.empty() ? otherwise : text;
  }

  Result<void> ask() {
    const Arguments::Init& in = arguments_.init;
    const bool asks = static_cast<bool>(context_.environment().ask);
    auto needed = [&](const std::string& given, const char* option,
                      const std::string& question) -> Result<std::string> {
      std::string text = given.empty() ? answer(question) : given;
      if (text.empty()) return Error{ErrorKind::usage, 0, std::string("say ") + option};
      return text;
    };
    TILLSYNC_LET(const std::string database,
                 needed(arguments_.database, "--database FILE", "The application's database (path)"));
    setup_.database_path = absolute(database);
    setup_.database_name = in.database_name;
    if (setup_.database_name.empty()) setup_.database_name = name_from(fs::path(setup_.database_path).stem(), "pos");
    TILLSYNC_LET(const std::string store,
                 needed(arguments_.store, "--store URL", "Where backups go (a folder, or s3://bucket/prefix)"));
    setup_.store_url = url_of(store);
    setup_.terminal = arguments_.terminal;
    if (setup_.terminal.empty())
      setup_.terminal = answer("The name of this till, such as store-042/till-3", default_config().terminal.name);
    setup_.endpoint = in.endpoint;
    setup_.region = in.region;
    setup_.path_style = in.path_style;
    if (!in.ca_file.empty()) setup_.ca_file = absolute(in.ca_file);
    if (setup_.store_url.starts_with("s3://") && asks) {
      if (setup_.endpoint.empty()) setup_.endpoint = answer("The S3 server's URL (empty: AWS)");
      if (setup_.region.empty()) setup_.region = answer("Its region", "us-east-1");
      if (in.credentials.empty()) access_key_ = answer("The access key's id");
      if (!access_key_.empty()) secret_key_ = context_.environment().ask_secret("The secret access key: ");
    }
    if (!is_service_ && !arguments_.config.empty()) {
      // Of a person who tries it: all in one folder.
      setup_.state_dir = folder_ + "/state";
      setup_.control = folder_ + "/control.sock";
    }
    if (!in.state_dir.empty()) setup_.state_dir = absolute(in.state_dir);
    return {};
  }

  // As far as it can be told before anything is written.
  Result<void> check() {
    if (setup_.store_url.starts_with("s3://") && arguments_.init.credentials.empty() && access_key_.empty())
      return Error{ErrorKind::usage, 0, "say --credentials FILE: a bucket needs an access key"};
    if (arguments_.init.user.empty()) {
      TILLSYNC_LET(owner_, owner_of(setup_.database_path));
    } else {
      TILLSYNC_LET(owner_, user_named(arguments_.init.user));
    }
    TILLSYNC_LET(const Config config, parse_config(configuration_text(setup_), path_));
    return check_agent_config(config);
  }

  // What is made for the agent belongs to it.
  Result<void> make_folder(const std::string& folder, mode_t mode, const std::optional<Owner>& owner) {
    std::error_code failed;
    if (fs::exists(folder, failed)) return {};
    const auto parent = fs::path(folder).parent_path();
    fs::create_directories(parent, failed);
    if (::mkdir(folder.c_str(), mode) != 0) return errno_error(errno, "make", folder);
    if (owner && ::geteuid() == 0 && ::chown(folder.c_str(), owner->uid, owner->gid) != 0)
      return errno_error(errno, "give to " + owner->names.user, folder);
    return {};
  }

  Result<void> write_file(const std::string& path, std::string_view text, mode_t mode,
                          const std::optional<Owner>& owner, bool replaces) {
    TILLSYNC_LET(auto file, PendingFile::create(files_, path, 0));
    TILLSYNC_TRY(file.append(as_bytes(text)));
    TILLSYNC_TRY(replaces ? file.commit() : file.commit_new());
    if (::chmod(path.c_str(), mode) != 0) return errno_error(errno, "chmod", path);
    if (owner && ::geteuid() == 0 && ::chown(path.c_str(), owner->uid, owner->gid) != 0)
      return errno_error(errno, "give to " + owner->names.user, path);
    return {};
  }

  Result<void> recovery_key() {
    const Arguments::Init& in = arguments_.init;
    if (in.no_recovery) return {};
    std::string given = in.recovery, made_at = in.make_recovery;
    if (given.empty() && made_at.empty())
      given = answer("The public half of your recovery key (path; empty: one is made now)");
    setup_.recovery = folder_ + "/recovery.pub";
    if (given.empty()) {
      const char* home = ::getenv("HOME");
      if (made_at.empty()) made_at = std::string(home && *home ? home : folder_) + "/tillsync-recovery.pem";
      auto made = make_recovery_key(made_at);
      if (!made)
        return std::move(made).error().with(
            "a recovery key (give yours with --recovery FILE, or another place with "
            "--make-recovery FILE)");
      made_recovery_ = made->whole;
      given = made->public_half;
    }
    // One that can't be read is found before it is needed.
    given = absolute(given);
    TILLSYNC_LET(const Bytes pem, read_file(files_, given, 64 << 10));
    TILLSYNC_LET(const PublicSealingKey key, public_sealing_key_from(as_text(pem)).with(given));
    if (given == setup_.recovery) return {};
    return write_file(setup_.recovery, to_pem(key), 0644, std::nullopt, true);
  }

  Result<void> credentials() {
    const std::string& given = arguments_.init.credentials;
    if (given.empty() && access_key_.empty()) return {};
    setup_.credentials = folder_ + "/s3.credentials";
    if (!given.empty() && absolute(given) == setup_.credentials) return {};
    std::string text =
        "[default]\naws_access_key_id = " + access_key_ + "\naws_secret_access_key = " + secret_key_ + "\n";
    if (!given.empty()) {
      TILLSYNC_LET(const Bytes file, read_file(files_, absolute(given), 64 << 10));
      text = as_text(file);
    }
    auto written = write_file(setup_.credentials, text, 0600, owner_, true);
    for (std::string* secret : {&text, &secret_key_})
      wipe({reinterpret_cast<uint8_t*>(secret->data()), secret->size()});
    return written;
  }

  Result<void> write_configuration() {
    if (files_.stat(path_)) {
      kept_ = path_ + ".before";
      std::error_code failed;
      fs::rename(path_, kept_, failed);
      if (failed) return Error{ErrorKind::denied, failed.value(), "move " + path_ + " away: " + failed.message()};
    }
    return write_file(path_, configuration_text(setup_), 0644, std::nullopt, false);
  }

  Result<void> write_unit(const Config& config) {
    TILLSYNC_TRY(make_folder(fs::path(kDropIn).parent_path(), 0755, std::nullopt));
    TILLSYNC_TRY(write_file(kDropIn, service_drop_in(config, owner_.names), 0644, std::nullopt, true));
    if (fs::exists("/run/systemd/system")) {
      TILLSYNC_LET(const Ran reloaded, run_as(std::nullopt, {"/bin/systemctl", "daemon-reload"}));
      if (reloaded.status != 0)
        return Error{ErrorKind::internal, reloaded.status, "systemctl daemon-reload failed: run it once more"};
    }
    return {};
  }

  Result<void> renew_unit() {
    if (!is_service_)
      return Error{ErrorKind::denied, 0,
                   "init --unit writes " + std::string(kDropIn) + ": as root, where the service is installed, for " +
                       std::string(kDefaultConfigPath)};
    TILLSYNC_LET(const Config config, load_config(path_));
    TILLSYNC_TRY(check_agent_config(config));
    if (arguments_.init.user.empty()) {
      TILLSYNC_LET(owner_, owner_of(config.databases.front().path));
    } else {
      TILLSYNC_LET(owner_, user_named(arguments_.init.user));
    }
    TILLSYNC_TRY(write_unit(config));
    const Json document{{"drop_in", kDropIn}, {"user", owner_.names.user}};
    context_.print(document, [&](const Json&, const Style&) {
      return std::string(kDropIn) + " is written; the service runs as " + owner_.names.user +
             "\nTake it into use: systemctl restart tillsync\n";
    });
    return {};
  }

  struct Ran {
    int status = 0;
    std::string out;
  };
  // A program of its own, as another user where one is given, and what it printed.
  Result<Ran> run_as(const std::optional<Owner>& user, const std::vector<std::string>& words) {
    std::vector<char*> list;
    for (const auto& word : words) list.push_back(const_cast<char*>(word.c_str()));
    list.push_back(nullptr);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(errno, "make a pipe for", words[0]);
    const pid_t child = ::fork();
    if (child < 0) return errno_error(errno, "start", words[0]);
    if (child == 0) {
      const bool becomes = !user || (::initgroups(user->names.user.c_str(), user->gid) == 0 &&
                                     ::setgid(user->gid) == 0 && ::setuid(user->uid) == 0);
      const int nowhere = ::open("/dev/null", O_WRONLY);
      if (!becomes || ::dup2(ends[1], 1) < 0 || ::dup2(nowhere, 2) < 0) ::_exit(127);
      ::execv(list[0], list.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    Ran ran;
    char bytes[4096];
    ssize_t n = 0;
    while ((n = ::read(ends[0], bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR))
      if (n > 0) ran.out.append(bytes, static_cast<size_t>(n));
    ::close(ends[0]);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return ran;
  }

  // What the agent will find, with the agent's eyes.
  Result<Json> examine_as_owner() {
    const bool becomes = ::geteuid() == 0 && owner_.uid != 0;
    TILLSYNC_LET(const Ran ran, run_as(becomes ? std::optional(owner_) : std::nullopt,
                                       {context_.environment().program, "--config", path_, "--json", "doctor"}));
    Json document = Json::parse(ran.out, nullptr, false);
    if (!document.is_object() || !document.contains("checks"))
      return Error{ErrorKind::internal, ran.status, "doctor could not be run as " + owner_.names.user};
    // It is not to run yet.
    Json checks = Json::array();
    bool ok = true;
    for (auto& check : document["checks"]) {
      if (check["check"] == "agent") continue;
      ok &= check["state"] != "problem";
      checks.push_back(check);
    }
    return Json{{"ok", ok}, {"checks", checks}};
  }

  Result<void> report() {
    const std::string start = is_service_ ? "systemctl enable --now tillsync" : "tillsyncd --config " + path_;
    Json document{{"config", path_}, {"user", owner_.names.user}, {"start", start}};
    if (!kept_.empty()) document["replaced"] = kept_;
    if (is_service_) document["drop_in"] = kDropIn;
    if (!made_recovery_.empty()) document["recovery_key"] = made_recovery_;
    TILLSYNC_LET(document["doctor"], examine_as_owner());
    context_.print(document, [&](const Json& shown, const Style& style) {
      std::string out = "Written: " + path_ + (kept_.empty() ? "" : "  (the old one: " + kept_ + ")") + "\n";
      if (is_service_)
        out += "Written: " + std::string(kDropIn) + "  (the service runs as " + owner_.names.user + ")\n";
      if (!made_recovery_.empty())
        out += "\n" + toned(style, Tone::warning, "The recovery key is in " + made_recovery_) +
               "\nWithout it, what this till stored is lost with the till. Print it:\n"
               "    tillsync keys export --words --key " +
               made_recovery_ + "\nthen keep it off this machine, in two places, and remove the file here.\n";
      out += "\n" + render_doctor(shown.at("doctor"), style);
      const std::string config_option = path_ == kDefaultConfigPath ? "" : " --config " + path_;
      out +=
          "\nStart it:  " + toned(style, Tone::strong, start) + "\nThen look: tillsync" + config_option + " status\n";
      return out;
    });
    if (document["doctor"]["ok"] == true) return {};
    return Error{ErrorKind::internal, 0,
                 "the configuration is written, but not all is well yet: see what doctor says above"};
  }

  const CliContext& context_;
  const Arguments& arguments_;
  LinuxFileSystem files_;
  std::string path_, folder_, kept_, made_recovery_, access_key_, secret_key_;
  bool is_service_ = false;
  Setup setup_;
  Owner owner_;
};

}  // namespace

Result<void> run_init(const CliContext& context) { return Init(context).run(); }

}  // namespace tillsync
