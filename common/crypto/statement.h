// What a terminal says of its keys: the first statement is its terminal.json, each rotation adds one, and each is
// signed by the key before it and by its own. Who trusts one trusts what follows from it.
//
// Layout: docs/formats.md, "Key statements". Keys in the store: terminals/<id>/terminal.json, then
// terminals/<id>/keys/2.json, 3.json, …
// Errors: corrupt, with the object's key in front, for a statement that is of another terminal or number, that does not
// follow the one before it, or whose signatures do not hold. Those of the store. Threads: any.
#pragma once

#include "crypto/object_header.h"
#include "ports/object_store.h"

namespace tillsync {

struct KeyStatement {
  Uuid terminal;
  std::string name;  // of the terminal
  Timestamp created_at;
  uint64_t number = 1;
  PublicSigningKey signing;
  PublicSealingKey sealing;
  Digest previous;  // SHA-256 of the bytes of the statement before; not in the first one

  // before: the key of the statement before; none for the first.
  std::string encode(const SigningKey& own, const SigningKey* before) const;
};

// All statements of a terminal, in order, each proven by the one before it.
class KeyHistory {
 public:
  const std::vector<KeyStatement>& statements() const { return statements_; }
  std::vector<PublicSigningKey> signers() const;
  // Proves and appends. key: for the words.
  Result<void> add(ByteView bytes, const std::string& key, const Uuid& terminal);

 private:
  std::vector<KeyStatement> statements_;
  Digest last_;  // SHA-256 of the bytes of the last one
};

std::string statement_key(const Uuid& terminal, uint64_t number);
// nullopt: the terminal has no statement: it is not sealed, or not there.
Result<std::optional<KeyHistory>> read_key_history(ObjectStore& store, const Uuid& terminal);

}  // namespace tillsync
