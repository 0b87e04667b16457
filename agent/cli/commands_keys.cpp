// keys make, show, rotate, export: on files alone, so that they work where no agent runs.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <ostream>

#include "agent/cli/cli.h"
#include "agent/cli/recovery_key_files.h"
#include "agent/keys/own_keys.h"
#include "crypto/words.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"

namespace tillsync {

namespace {

// For its owner alone, and never over something else.
Result<void> write_new(FileSystem& files, const std::string& path, std::string_view text) {
  TILLSYNC_LET(auto file, PendingFile::create(files, path, 0));
  TILLSYNC_TRY(file.append(as_bytes(text)));
  return file.commit_new();
}

std::string absolute(const std::string& path) {
  return path.starts_with('/') ? path : std::filesystem::absolute(path).lexically_normal().string();
}

// Which terminal's keys lie in state_dir: the first statement says it.
Result<OwnKeys> load_own(LinuxFileSystem& files, const Config& config, Uuid& terminal) {
  const std::string first = keys_folder(config) + "/1.statement.json";
  auto text = read_file(files, first, 64 << 10);
  if (!text && text.error().kind == ErrorKind::not_found)
    return Error{ErrorKind::not_found, 0,
                 first + ": this terminal has no keys yet: the agent makes them at its first start"};
  if (!text) return std::move(text).error();
  const Json document = Json::parse(text->begin(), text->end(), nullptr, false);
  TILLSYNC_LET(terminal, Uuid::parse(text_in(document, "id")).with(first));
  return KeyFiles(files, keys_folder(config), credentials_folder()).load(terminal);
}

// What root made in the folder of the agent's user is that user's.
Result<void> give_to_owner(const std::string& folder, uint64_t number) {
  struct stat info {};
  if (::geteuid() != 0 || ::stat(folder.c_str(), &info) != 0 || info.st_uid == 0) return {};
  for (const char* what : {".signing.pem", ".sealing.pem", ".statement.json"}) {
    const std::string path = folder + "/" + std::to_string(number) + what;
    if (::chown(path.c_str(), info.st_uid, info.st_gid) != 0)
      return Error{ErrorKind::denied, errno, path + ": could not be given to the owner of " + folder};
  }
  return {};
}

}  // namespace

Result<RecoveryKeyFiles> make_recovery_key(const std::string& at) {
  LinuxFileSystem files;
  SystemRandom random;
  RecoveryKeyFiles made{absolute(at), absolute(at) + ".pub", ""};
  const SealingKey key = SealingKey::make(random);
  if (files.stat(made.public_half)) return Error{ErrorKind::conflict, 0, made.public_half + ": it exists already"};
  std::string pem = to_pem(key);
  auto written = write_new(files, made.whole, pem);
  wipe({reinterpret_cast<uint8_t*>(pem.data()), pem.size()});
  TILLSYNC_TRY(std::move(written));
  TILLSYNC_TRY(write_new(files, made.public_half, to_pem(key.public_key())));
  made.id = key.public_key().id().hex();
  return made;
}

Result<void> run_keys_make(const CliContext& context) {
  TILLSYNC_LET(const RecoveryKeyFiles made, make_recovery_key(context.arguments().target));
  const Json document{{"private", made.whole}, {"public", made.public_half}, {"key_id", made.id}};
  context.print(document, [&](const Json&, const Style&) {
    return "The recovery key is in " + made.whole +
           ". It opens every backup that is sealed for it: keep it off the tills, in "
           "two places.\nPrint it with: tillsync keys export --words --key " +
           made.whole + "\nIts public half is in " + made.public_half +
           ": put it on each till and name it there in [keys] recovery.\nKey id " + made.id + "\n";
  });
  return {};
}

Result<void> run_keys_show(const CliContext& context) {
  LinuxFileSystem files;
  const Config& config = context.config();
  Uuid terminal;
  TILLSYNC_LET(const OwnKeys own, load_own(files, config, terminal));
  TILLSYNC_LET(const auto recovery, read_recovery_keys(files, config));
  Json statements = Json::array(), recipients = Json::array();
  for (auto& statement : own.history.statements())
    statements.push_back({{"number", statement.number},
                          {"created_at", to_rfc3339(statement.created_at)},
                          {"signing_key", statement.signing.hex()},
                          {"sealing_key", statement.sealing.hex()},
                          {"sealing_key_id", statement.sealing.id().hex()}});
  if (!config.keys.write_only)
    recipients.push_back({{"key_id", own.history.statements().back().sealing.id().hex()}, {"who", "this terminal"}});
  for (size_t i = 0; i < recovery.size(); i++)
    recipients.push_back({{"key_id", recovery[i].id().hex()}, {"who", config.keys.recovery[i]}});
  const Json document{{"terminal", terminal.str()},
                      {"sealed", config.keys.seal},
                      {"write_only", config.keys.write_only},
                      {"statements", statements},
                      {"recipients", recipients}};
  context.print(document, [](const Json& shown, const Style&) {
    std::string out = "terminal " + text_in(shown, "terminal") + "\n";
    for (auto& statement : member(shown, "statements"))
      out += "keys " + std::to_string(count_in(statement, "number")) + ", since " + text_in(statement, "created_at") +
             "\n  signs with   " + text_in(statement, "signing_key") + "\n  sealing key  " +
             text_in(statement, "sealing_key_id") + "\n";
    out += "backups are sealed for\n";
    for (auto& recipient : member(shown, "recipients"))
      out += "  " + text_in(recipient, "key_id") + "  " + text_in(recipient, "who") + "\n";
    if (member(shown, "recipients").size() == 1 && !flag_in(shown, "write_only"))
      out += "no recovery key: with this machine's disk the backups would be lost as well (tillsync keys make)\n";
    return out;
  });
  return {};
}

Result<void> run_keys_rotate(const CliContext& context) {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  const Config& config = context.config();
  Uuid terminal;
  TILLSYNC_LET(OwnKeys own, load_own(files, config, terminal));
  TILLSYNC_TRY(KeyFiles(files, keys_folder(config), "").add(own, terminal, config.terminal.name, clock, random));
  TILLSYNC_TRY(give_to_owner(keys_folder(config), own.keys.size()));
  const KeyStatement& fresh = own.history.statements().back();
  const Json document{
      {"number", fresh.number}, {"signing_key", fresh.signing.hex()}, {"sealing_key", fresh.sealing.hex()}};
  context.print(document, [&](const Json&, const Style&) {
    return "Keys " + std::to_string(fresh.number) +
           " are made. Restart the agent: it puts them into the store, and makes "
           "a full backup with them.\nThe keys before stay in " +
           keys_folder(config) + ": older backups are read with them.\n";
  });
  return {};
}

Result<void> run_keys_export(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  if (arguments.key.empty())
    return Error{ErrorKind::usage, 0, "keys export: say which key with --key FILE (PEM, or 24 words)"};
  LinuxFileSystem files;
  TILLSYNC_LET(const SealingKey key, read_private_key(files, absolute(arguments.key)));
  std::string text = arguments.public_half ? to_pem(key.public_key()) : to_pem(key);
  if (arguments.words) {
    text.clear();
    const std::string words = to_words(key.secret());
    size_t number = 0;
    for (size_t at = 0; at < words.size();) {
      const size_t end = std::min(words.find(' ', at), words.size());
      number++;
      text += (number < 10 ? " " : "") + std::to_string(number) + ". " + words.substr(at, end - at);
      text += number % 4 == 0 ? "\n" : std::string(12 - (end - at), ' ');
      at = end + 1;
    }
  }
  if (!arguments.target.empty()) return write_new(files, absolute(arguments.target), text);
  context.out() << text;
  return {};
}

}  // namespace tillsync
