#include "crypto/signed_document.h"

namespace tillsync {

namespace {

std::string text_of(const Json& document) { return document.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Members stay in the order of the document, so that it has one form.
Bytes signed_bytes(Json document, std::string_view what) {
  document.erase("signatures");
  Bytes out = to_bytes(as_bytes(what));
  out.push_back('\n');
  append(out, as_bytes(text_of(document)));
  return out;
}

}  // namespace

std::string sign_document(Json document, std::string_view what, const std::vector<const SigningKey*>& keys) {
  const Bytes message = signed_bytes(document, what);
  Json signatures = Json::array();
  for (const SigningKey* key : keys)
    signatures.push_back({{"key", key->public_key().id().hex()}, {"signature", to_hex(key->sign(message))}});
  if (!keys.empty()) document["signatures"] = std::move(signatures);
  return text_of(document);
}

bool is_signed_by(const Json& document, std::string_view what, const PublicSigningKey& key) {
  const auto signatures = document.find("signatures");
  if (signatures == document.end() || !signatures->is_array()) return false;
  const Bytes message = signed_bytes(document, what);
  for (auto& each : *signatures) {
    if (!each.is_object() || each.value("key", Json()) != key.id().hex()) continue;
    const Json& text = each.value("signature", Json());
    Bytes signature;
    if (text.is_string() && from_hex(text.get<std::string>(), signature) && key.verify(message, signature)) return true;
  }
  return false;
}

}  // namespace tillsync
