// Reads one table of the TOML file, key by key.
//
// Purpose: each read names a key, says what it expects and leaves the default alone when the key is absent. The first
// thing that is wrong is kept with its place; later reads do nothing. finish() refuses keys that nobody read.
// Errors: usage, `file:line: section.key: what was expected`.
#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tillsync {

class ConfigErrors {
 public:
  explicit ConfigErrors(std::string file) : file_(std::move(file)) {}
  void add(const toml::source_region& where, std::string_view key, std::string_view what);
  bool any() const { return first_.has_value(); }
  // What finish() of each table was told to read: section → keys.
  using KeysRead = std::map<std::string, std::set<std::string>>;
  void add_keys(const std::string& section, const std::set<std::string, std::less<>>& keys) {
    keys_read_[section].insert(keys.begin(), keys.end());
  }
  const KeysRead& keys_read() const { return keys_read_; }
  Result<void> result() const { return first_ ? Result<void>(*first_) : Result<void>(); }

 private:
  std::string file_;
  std::optional<Error> first_;
  KeysRead keys_read_;
};

class TableReader {
 public:
  // name: the section as a person writes it, "store" or "database".
  TableReader(ConfigErrors& errors, const toml::table& table, std::string name);

  // A value that `parse` turns from text into T; its error's context is "expected …".
  template <class T>
  void parsed(std::string_view key, T& out, const std::function<Result<T>(std::string_view)>& parse) {
    if (const auto text = text_of(key)) accept(key, parse(*text), out);
  }
  void text(std::string_view key, std::string& out);
  // Text that is_good() accepts; expected: "a name of letters …".
  void text(std::string_view key, std::string& out, const std::function<bool(std::string_view)>& is_good,
            std::string_view expected);
  void absolute_path(std::string_view key, std::string& out);  // may be empty where the default is
  void required_path(std::string_view key, std::string& out);
  void boolean(std::string_view key, bool& out);
  void integer(std::string_view key, int& out, int low, int high);
  void duration(std::string_view key, Milliseconds& out, Milliseconds low, Milliseconds high);
  void size(std::string_view key, uint64_t& out, uint64_t low, uint64_t high);
  void texts(std::string_view key, std::vector<std::string>& out, bool one_is_fine = false);
  void text_map(std::string_view key, std::map<std::string, std::string>& out);

  // A list of texts that `parse` turns into T one by one.
  template <class T>
  void parsed_list(std::string_view key, std::vector<T>& out, const std::function<Result<T>(std::string_view)>& parse) {
    std::vector<std::string> all;
    texts(key, all);
    for (const auto& one : all) {
      auto value = parse(one);
      if (!value) return refuse(key, value.error().context);
      out.push_back(std::move(*value));
    }
  }

  void require(std::string_view key);
  void refuse(std::string_view key, std::string_view what);
  void finish();

 private:
  const toml::node* find(std::string_view key);
  std::optional<std::string> text_of(std::string_view key);
  template <class T>
  void accept(std::string_view key, Result<T> value, T& out) {
    if (value)
      out = std::move(*value);
    else
      refuse(key, value.error().context);
  }
  ConfigErrors& errors_;
  const toml::table& table_;
  std::string name_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace tillsync
