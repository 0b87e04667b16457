#include "agent/keys/known_terminals.h"

#include <cstdlib>

#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr uint64_t kFileMax = 16 << 20;

Result<std::string> read_known(FileSystem& files, const std::string& path) {
  if (path.empty()) return std::string();
  auto bytes = read_file(files, path, kFileMax);
  if (!bytes && bytes.error().kind == ErrorKind::not_found) return std::string();
  if (!bytes) return std::move(bytes).error();
  return std::string(as_text(*bytes));
}

// The key of the terminal; empty: it was not seen yet.
std::string known_key(const std::string& text, const Uuid& terminal) {
  const std::string begin = terminal.str() + " ";
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (line.starts_with(begin)) return line.substr(begin.size());
    at = end + 1;
  }
  return "";
}

}  // namespace

std::string known_terminals_file() {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value && value[0] == '/' ? value : "");
  };
  std::string folder = variable("XDG_STATE_HOME");
  if (folder.empty() && !variable("HOME").empty()) folder = variable("HOME") + "/.local/state";
  return folder.empty() ? "" : folder + "/tillsync/known_terminals";
}

Result<void> pin_terminal(FileSystem& files, const std::string& path, const Uuid& terminal, const KeyHistory& history) {
  TILLSYNC_LET(std::string text, read_known(files, path));
  const std::string now = history.statements().front().signing.hex(), before = known_key(text, terminal);
  if (before == now || path.empty()) return {};
  if (!before.empty())
    return Error{ErrorKind::corrupt, 0,
                 keys::terminal_json(terminal) +
                     ": it states another signing key than when this terminal was first seen here: somebody may have "
                     "replaced it. Nothing was read. If you know why, remove the line of the terminal from " +
                     path};
  text += terminal.str() + " " + now + "\n";
  auto write = [&]() -> Result<void> {
    TILLSYNC_TRY(files.make_directories(directory_of(path)));
    TILLSYNC_LET(auto file, PendingFile::create(files, path, le32(terminal.bytes.data() + 12)));
    TILLSYNC_TRY(file.append(as_bytes(text)));
    return file.commit();
  };
  (void)write().has_value();  // who restores in an emergency, from a medium that can't be written, still restores
  return {};
}

Result<void> check_unsealed(FileSystem& files, const std::string& path, const Uuid& terminal) {
  TILLSYNC_LET(const std::string text, read_known(files, path));
  if (known_key(text, terminal).empty()) return {};
  return Error{ErrorKind::corrupt, 0,
               keys::terminal_json(terminal) +
                   ": it states no keys, and the terminal had some when it was first seen here: somebody may have "
                   "replaced it. Nothing was read. If you know why, remove the line of the terminal from " +
                   path};
}

}  // namespace tillsync
