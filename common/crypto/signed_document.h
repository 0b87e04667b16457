// A JSON document with signatures over itself, for what everybody may read: key statements, epochs, starts.
//
// Layout: docs/formats.md, "Key statements". Signed is `what`, a line feed, and the document without `signatures`, its
// members in their order, without spaces. `what` keeps a document of one kind from being taken for another.
// Threads: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "crypto/keys.h"

namespace tillsync {

// The bytes to store: with one signature of each key, in their order; without keys, without the member.
std::string sign_document(Json document, std::string_view what, const std::vector<const SigningKey*>& keys);
bool is_signed_by(const Json& document, std::string_view what, const PublicSigningKey& key);

}  // namespace tillsync
