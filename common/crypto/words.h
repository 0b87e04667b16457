// A private key as words that a person can print, read out and type: 24 of a list of 2048.
//
// Layout: docs/formats.md, "Words". Upper and lower case, line breaks and numbers in front of the words ("7. ocean")
// are all the same; a word may be cut after its fourth letter, because no two begin alike.
// Errors: usage, with the word or the count that is wrong; a wrong check is found for 255 of 256 mistakes, the rest
// when the key does not open anything. Threads: any.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "crypto/secret.h"

namespace tillsync {

std::string to_words(const Secret& secret);  // separated by spaces
Result<Secret> secret_from_words(std::string_view text);

}  // namespace tillsync
