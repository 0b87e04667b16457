// A folder of the real file system that is gone, with all it holds, at the end of a test; or one that stays.
#pragma once

#include <string>

namespace tillsync::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  // Made if it is missing, and left as it is at the end.
  static TemporaryDirectory kept(const std::string& path) { return TemporaryDirectory(path); }
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit TemporaryDirectory(const std::string& kept);
  std::string path_;
  bool is_kept_ = false;
};

}  // namespace tillsync::test
