// AES-256-GCM and HKDF-SHA256, as sealing uses them.
//
// Units: a sealed text is 16 bytes (the tag) longer than the plain one. Nonces are the caller's: never the same twice
// under one key. Errors: open() answers false for anything but what seal() made under the same key, nonce and
// associated data. Threads: any.
// Source: NIST SP 800-38D, RFC 5869.
#pragma once

#include <initializer_list>

#include "base/bytes.h"
#include "crypto/secret.h"

namespace tillsync::aead {

inline constexpr size_t kTagSize = 16, kNonceSize = 12;
using Nonce = std::array<uint8_t, kNonceSize>;

// Puts the sealed text behind what is in out.
void seal(const Secret& key, const Nonce& nonce, ByteView associated, ByteView plain, Bytes& out);
// out becomes the plain text; empty when false.
bool open(const Secret& key, const Nonce& nonce, ByteView associated, ByteView sealed, Bytes& out);

Secret hkdf(const Secret& input, ByteView salt, std::initializer_list<ByteView> info);

}  // namespace tillsync::aead
