// Changes a JSON document and leaves it one: changes of bytes seldom do.
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace tillsync::fuzz {

inline void values_in(Json& value, std::vector<Json*>& out) {
  out.push_back(&value);
  if (value.is_structured())
    for (auto& each : value) values_in(each, out);
}

// One value becomes another of the document, one that readers trip over, or its text is changed.
inline void change(Json& document, std::minstd_rand& random) {
  static const Json kOdd = Json::parse(
      R"([null, true, 0, -1, 1, 64, 65536, 4294967295, 4294967296, 18446744073709551615, -9223372036854775808, 1.5, 1e300, "",
          "x", [], {}, [[]], "FULL", "INCREMENTAL", "DIFFERENTIAL", "9999-12-31T23:59:59-01:00", "-001-01-01T00:00:00Z"])");
  std::vector<Json*> values;
  values_in(document, values);
  Json& value = *values[random() % values.size()];
  switch (random() % 5) {
    case 0: value = kOdd[random() % kOdd.size()]; return;
    case 1: value = Json(*values[random() % values.size()]); return;
    case 2:
      if (value.is_array() && !value.empty()) value.push_back(Json(value[random() % value.size()]));
      return;
    case 3:
      if (value.is_structured() && !value.empty()) {
        auto at = value.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(random() % value.size()));
        value.erase(at);
      }
      return;
    default:
      if (!value.is_string()) return;
      auto text = value.get<std::string>();
      const size_t n = text.size();
      text.resize(n + 8);
      text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), n, text.size()));
      value = text;
  }
}

// What begins at `at` is the document, if it is one; else bytes of all are changed. Answers the new size.
inline size_t change_json(uint8_t* data, size_t at, size_t size, size_t max_size, std::minstd_rand& random) {
  Json document = parse_json({reinterpret_cast<const char*>(data) + at, size - at});
  if (document.is_discarded()) return LLVMFuzzerMutate(data, size, max_size);
  change(document, random);
  const std::string text = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (at + text.size() > max_size) return size;
  std::copy(text.begin(), text.end(), data + at);
  return at + text.size();
}

}  // namespace tillsync::fuzz
