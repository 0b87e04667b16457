// What [store] of the configuration says of the store itself.
#pragma once

#include <cstdint>
#include <string>

namespace tillsync {

struct StoreSettings {
  std::string url;  // file:///path or s3://bucket/prefix; empty: not configured
  // S3 only.
  std::string endpoint = {}, region = {}, ca_file = {}, credentials = {}, proxy = {};
  bool path_style = false;
  uint64_t upload_limit = 0;  // bytes per second
  bool operator==(const StoreSettings&) const = default;
};

}  // namespace tillsync
