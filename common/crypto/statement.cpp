#include "crypto/statement.h"

#include "base/checks.h"
#include "crypto/signed_document.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr uint64_t kStatementMax = 64 << 10, kStatementsMax = 1000;
constexpr std::string_view kSigned = "tillsync key statement";

std::string text_of(const Json& document, const char* field) {
  const auto found = document.find(field);
  return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string statement_key(const Uuid& terminal, uint64_t number) {
  return number == 1 ? keys::terminal_json(terminal) : keys::terminal_keys(terminal, number);
}

std::string KeyStatement::encode(const SigningKey& own, const SigningKey* before) const {
  TILLSYNC_CHECK(own.public_key() == signing && (before != nullptr) == (number > 1));
  Json document{{"id", terminal.str()},
                {"name", name},
                {"created_at", to_rfc3339(created_at)},
                {"number", number},
                {"signing_key", signing.hex()},
                {"sealing_key", sealing.hex()}};
  if (number > 1) document["previous"] = previous.hex();
  std::vector<const SigningKey*> signers{&own};
  if (before) signers.push_back(before);
  return sign_document(std::move(document), kSigned, signers);
}

std::vector<PublicSigningKey> KeyHistory::signers() const {
  std::vector<PublicSigningKey> all;
  for (auto& statement : statements_) all.push_back(statement.signing);
  return all;
}

Result<void> KeyHistory::add(ByteView bytes, const std::string& key, const Uuid& terminal) {
  auto corrupt = [&](const std::string& why) { return Error{ErrorKind::corrupt, 0, key + ": " + why}; };
  const Json document = parse_json(as_text(bytes));
  if (!document.is_object()) return corrupt("it is not a JSON object");
  KeyStatement statement;
  const auto id = Uuid::parse(text_of(document, "id"));
  const auto created_at = parse_rfc3339(text_of(document, "created_at"));
  const Json number = document.value("number", Json());
  if (!id || !created_at || !number.is_number_unsigned())
    return corrupt("a field of it is missing, or of another form");
  statement.terminal = *id;
  statement.name = text_of(document, "name");
  statement.created_at = *created_at;
  statement.number = number.get<uint64_t>();
  TILLSYNC_LET(statement.signing, PublicSigningKey::parse(text_of(document, "signing_key")).with(key));
  TILLSYNC_LET(statement.sealing, PublicSealingKey::parse(text_of(document, "sealing_key")).with(key));
  if (statement.terminal != terminal) return corrupt("it is of terminal " + statement.terminal.str());
  if (statement.number != statements_.size() + 1)
    return corrupt("it is number " + std::to_string(statement.number) + " and not " +
                   std::to_string(statements_.size() + 1));
  if (!is_signed_by(document, kSigned, statement.signing)) return corrupt("its own key did not sign it");
  if (!statements_.empty()) {
    const auto previous = Digest::parse(text_of(document, "previous"));
    if (!previous || *previous != last_) return corrupt("it does not follow the statement before it");
    statement.previous = *previous;
    if (!is_signed_by(document, kSigned, statements_.back().signing))
      return corrupt("the key before it did not sign it");
  }
  statements_.push_back(std::move(statement));
  last_ = sha256(bytes);
  return {};
}

Result<std::optional<KeyHistory>> read_key_history(ObjectStore& store, const Uuid& terminal) {
  KeyHistory history;
  for (uint64_t number = 1; number <= kStatementsMax; number++) {
    const std::string key = statement_key(terminal, number);
    auto bytes = read_object(store, key, kStatementMax);
    if (!bytes && bytes.error().kind == ErrorKind::not_found) break;
    if (!bytes) return std::move(bytes).error();
    if (number == 1) {
      const Json document = parse_json(as_text(*bytes));
      // A terminal that is not sealed has no keys to state.
      if (document.is_object() && !document.contains("signing_key") && !document.contains("signatures"))
        return std::optional<KeyHistory>();
    }
    TILLSYNC_TRY(history.add(*bytes, key, terminal));
  }
  if (history.statements().empty()) return std::optional<KeyHistory>();
  return std::optional<KeyHistory>(std::move(history));
}

}  // namespace tillsync
