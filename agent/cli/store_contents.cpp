#include "agent/cli/store_contents.h"

#include <algorithm>

#include "base/json.h"
#include "ports/object_keys.h"
#include "snapshot/epochs.h"

namespace tillsync {

namespace {

constexpr uint64_t kSmallObjectMax = 1 << 20;

// nullopt: there is no such object.
Result<std::optional<Json>> read_document(ObjectStore& store, const std::string& key) {
  auto bytes = read_object(store, key, kSmallObjectMax);
  if (!bytes && bytes.error().kind == ErrorKind::not_found) return std::optional<Json>();
  if (!bytes) return std::move(bytes).error();
  Json document = parse_json(as_text(*bytes));
  if (!document.is_object()) return Error{ErrorKind::corrupt, 0, key + ": it is not a JSON object"};
  return std::optional<Json>(std::move(document));
}

std::string text_of(const Json& document, const char* field) {
  const auto found = document.find(field);
  return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<std::optional<Uuid>> terminal_named(ObjectStore& store, const std::string& name) {
  const std::string key = keys::terminal_name(name);
  TILLSYNC_LET(const auto document, read_document(store, key));
  if (!document) return std::optional<Uuid>();
  const auto id = Uuid::parse(text_of(*document, "id"));
  if (!id) return Error{ErrorKind::corrupt, 0, key + ": its field 'id' is not a uuid"};
  return std::optional<Uuid>(*id);
}

std::string listed(const std::vector<FoundTerminal>& terminals) {
  std::string out;
  for (const auto& terminal : terminals) {
    out += (out.empty() ? "" : ", ") + terminal.id.str();
    if (!terminal.name.empty()) out += " (" + terminal.name + ")";
  }
  return out;
}

std::string listed(const std::vector<Lineage>& databases) {
  std::string out;
  for (const auto& database : databases) out += (out.empty() ? "" : ", ") + database.database;
  return out;
}

}  // namespace

Result<std::vector<FoundTerminal>> list_terminals(ObjectStore& store) {
  std::vector<FoundTerminal> terminals;
  TILLSYNC_LET(const auto folders, list_folders(store, "terminals/"));
  for (const auto& folder : folders) {
    const auto id = Uuid::parse(folder);
    if (!id) continue;
    FoundTerminal terminal{*id, ""};
    // A terminal whose document is damaged is still there.
    auto document = read_document(store, keys::terminal_json(*id));
    if (!document && document.error().kind != ErrorKind::corrupt) return std::move(document).error();
    if (document && *document) terminal.name = text_of(**document, "name");
    terminals.push_back(std::move(terminal));
  }
  return terminals;
}

Result<Uuid> find_terminal(ObjectStore& store, const std::string& asked, const std::string& own) {
  if (const auto id = Uuid::parse(asked)) {
    TILLSYNC_LET(const auto page, store.list(keys::terminal_prefix(*id), "", 1));
    if (!page.objects.empty()) return *id;
  }
  const std::string& name = asked.empty() ? own : asked;
  if (!name.empty()) {
    TILLSYNC_LET(const auto named, terminal_named(store, name));
    if (named) return *named;
  }
  TILLSYNC_LET(const auto terminals, list_terminals(store));
  if (terminals.empty()) return Error{ErrorKind::not_found, 0, "the store holds no terminal yet"};
  // The name may be written in its own document only: a copy of a part of a store has no fleet/.
  const FoundTerminal* match = nullptr;
  size_t matches = 0;
  for (const auto& terminal : terminals) {
    if (name.empty() || terminal.name != name) continue;
    match = &terminal;
    matches++;
  }
  if (matches == 1) return match->id;
  if (!asked.empty())
    return Error{matches > 1 ? ErrorKind::usage : ErrorKind::not_found, 0,
                 (matches > 1 ? "several terminals are called '" : "the store knows no terminal '") + asked +
                     "'; it holds " + listed(terminals)};
  if (terminals.size() == 1) return terminals.front().id;
  return Error{ErrorKind::usage, 0,
               "the store holds several terminals: choose one with --terminal: " + listed(terminals)};
}

Result<std::vector<Lineage>> list_databases(ObjectStore& store, const TerminalRef& terminal) {
  std::vector<Lineage> databases;
  const std::string prefix = keys::terminal_prefix(terminal);
  TILLSYNC_LET(const auto folders, list_folders(store, prefix));
  for (const auto& folder : folders) {
    const auto name = keys::unescaped(folder);
    if (!name) continue;
    TILLSYNC_LET(auto epochs, list_epochs(store, terminal, *name));
    if (!epochs.empty()) databases.push_back(std::move(epochs.back()));
  }
  return databases;
}

Result<std::vector<Lineage>> find_databases(ObjectStore& store, const TerminalRef& terminal, const std::string& name) {
  TILLSYNC_LET(auto databases, list_databases(store, terminal));
  if (databases.empty())
    return Error{ErrorKind::not_found, 0, "the store holds no database of terminal " + terminal.str() + " yet"};
  if (name.empty()) return databases;
  const auto found =
      std::find_if(databases.begin(), databases.end(), [&](const Lineage& d) { return d.database == name; });
  if (found == databases.end())
    return Error{
        ErrorKind::not_found, 0,
        "terminal " + terminal.str() + " has no database '" + name + "' in the store; it has " + listed(databases)};
  return std::vector<Lineage>{*found};
}

Result<Lineage> find_database(ObjectStore& store, const TerminalRef& terminal, const std::string& name) {
  TILLSYNC_LET(const auto databases, find_databases(store, terminal, name));
  if (databases.size() == 1) return databases.front();
  return Error{ErrorKind::usage, 0,
               "the terminal has several databases: choose one with --database: " + listed(databases)};
}

}  // namespace tillsync
