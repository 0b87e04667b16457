#include "store/open_store.h"

#include "store/directory_store.h"

namespace tillsync {

namespace {

Result<std::string> percent_decoded(std::string_view text, const std::string& url) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    Bytes byte;
    if (i + 3 > text.size() || !from_hex(text.substr(i + 1, 2), byte) || byte[0] == 0)
      return Error{ErrorKind::usage, 0, "store URL '" + url + "': '%' must be followed by two hex digits"};
    out += static_cast<char>(byte[0]);
    i += 2;
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> make_store(const std::string& url, FileSystem& files, Random& random) {
  constexpr std::string_view kFile = "file://";
  if (!url.starts_with(kFile))
    return Error{ErrorKind::usage, 0, "store URL '" + url + "' is not supported: give a folder as file:///path"};
  std::string_view path = std::string_view(url).substr(kFile.size());
  if (path.starts_with("localhost/")) path.remove_prefix(std::string_view("localhost").size());
  if (!path.starts_with('/'))
    return Error{ErrorKind::usage, 0,
                 "store URL '" + url + "' names another host: give an absolute path with three slashes, file:///path"};
  if (path.find_first_of("?#") != std::string_view::npos)
    return Error{ErrorKind::usage, 0, "store URL '" + url + "': write ? as %3F and # as %23"};
  TILLSYNC_LET(std::string root, percent_decoded(path, url));
  return std::unique_ptr<ObjectStore>(new DirectoryStore(files, random, std::move(root)));
}

}  // namespace tillsync
