#include "crypto/words.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "crypto/hash.h"
#include "crypto/wordlist.h"

namespace tillsync {

namespace {

constexpr size_t kWords = 24, kBitsPerWord = 11, kLettersThatCount = 4;

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  auto end = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (c >= 'a' && c <= 'z')
      word += c;
    else
      end();
  }
  end();
  return words;
}

std::optional<uint32_t> number_of_word(std::string_view word) {
  if (word.size() < 3) return std::nullopt;
  auto found = std::lower_bound(kWordlist.begin(), kWordlist.end(), word);
  if (found == kWordlist.end()) return std::nullopt;
  if (*found != word && (word.size() < kLettersThatCount || !found->starts_with(word))) return std::nullopt;
  return static_cast<uint32_t>(found - kWordlist.begin());
}

}  // namespace

std::string to_words(const Secret& secret) {
  Bytes bits = to_bytes(secret.view());
  bits.push_back(sha256(secret.view()).bytes[0]);
  std::string out;
  for (size_t i = 0; i < kWords; i++) {
    uint32_t number = 0;
    for (size_t b = i * kBitsPerWord; b < (i + 1) * kBitsPerWord; b++)
      number = number << 1 | (bits[b / 8] >> (7 - b % 8) & 1u);
    out += (i ? " " : "") + std::string(kWordlist[number]);
  }
  wipe(bits);
  return out;
}

Result<Secret> secret_from_words(std::string_view text) {
  const std::vector<std::string> words = split(text);
  if (words.size() != kWords)
    return Error{ErrorKind::usage, 0,
                 "a key has 24 words, or is PEM that begins with -----BEGIN; here are " + std::to_string(words.size()) +
                     " words"};
  Bytes bits(Secret::kSize + 1);
  for (size_t i = 0; i < kWords; i++) {
    const auto number = number_of_word(words[i]);
    if (!number)
      return Error{ErrorKind::usage, 0,
                   "word " + std::to_string(i + 1) + ", '" + words[i] + "', is not in the list of words"};
    for (size_t b = 0; b < kBitsPerWord; b++) {
      const size_t at = i * kBitsPerWord + b;
      if (*number >> (kBitsPerWord - 1 - b) & 1u) bits[at / 8] |= static_cast<uint8_t>(0x80 >> at % 8);
    }
  }
  Secret secret(ByteView(bits).first(Secret::kSize));
  const uint8_t check = bits[Secret::kSize];
  wipe(bits);
  if (sha256(secret.view()).bytes[0] != check)
    return Error{ErrorKind::usage, 0, "the words do not belong together: one is another, or their order is"};
  return secret;
}

}  // namespace tillsync
