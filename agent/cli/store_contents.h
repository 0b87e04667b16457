// What a store holds: terminals, their databases, and the newest epoch of each, found by listing.
//
// Layout: ports/object_keys.h. A terminal is a folder below terminals/; a database is a folder of it with a numbered
// folder, its epoch. Listing jumps over what lies below a folder that is known already, so that a long log costs
// nothing. Errors: those of the store; usage when it has to be said which terminal or database is meant, with those
// there are; not_found when a named one is not there; corrupt with the key for a name or terminal.json that does not
// parse. Threads: any.
#pragma once

#include "crypto/object_header.h"
#include "ports/object_store.h"

namespace tillsync {

struct FoundTerminal {
  Uuid id;
  std::string name;  // from its terminal.json; empty: it has none
};
Result<std::vector<FoundTerminal>> list_terminals(ObjectStore& store);
// asked: id or name; empty: the one called `own` if the store knows it, else the only one there is.
Result<Uuid> find_terminal(ObjectStore& store, const std::string& asked, const std::string& own);

// Every database of the terminal in its newest epoch, by name.
Result<std::vector<Lineage>> list_databases(ObjectStore& store, const TerminalRef& terminal);
// name empty: all of them.
Result<std::vector<Lineage>> find_databases(ObjectStore& store, const TerminalRef& terminal, const std::string& name);
// name empty: the only one there is.
Result<Lineage> find_database(ObjectStore& store, const TerminalRef& terminal, const std::string& name);

}  // namespace tillsync
