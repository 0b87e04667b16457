#include "agent/daemon/epoch_documents.h"

#include "crypto/signed_document.h"

namespace tillsync {

namespace {
constexpr uint64_t kDocumentMax = 64 << 10;
}

std::string encode_document(const Services& services, Json document, std::string_view what) {
  std::vector<const SigningKey*> signers;
  if (services.terminal.keys && services.terminal.keys->signer) signers.push_back(&*services.terminal.keys->signer);
  return sign_document(std::move(document), what, signers);
}

Result<std::optional<Json>> read_document(const Services& services, ObjectStore& store, const std::string& key,
                                          std::string_view what) {
  auto bytes = read_object(store, key, kDocumentMax);
  if (!bytes && bytes.error().kind != ErrorKind::corrupt) return std::move(bytes).error();
  if (!bytes) return std::optional<Json>();
  Json document = parse_json(as_text(*bytes));
  if (!document.is_object()) return std::optional<Json>();
  if (!services.terminal.keys) return std::optional<Json>(std::move(document));
  for (auto& signer : services.terminal.keys->signers)
    if (is_signed_by(document, what, signer)) return std::optional<Json>(std::move(document));
  return std::optional<Json>();
}

}  // namespace tillsync
