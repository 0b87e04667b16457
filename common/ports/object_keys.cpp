#include "ports/object_keys.h"

#include <charconv>
#include <cstdio>

namespace tillsync::keys {

namespace {

std::string hex16(uint64_t n) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(n));
  return text;
}

std::optional<uint64_t> from_hex16(std::string_view text) {
  Bytes raw;
  if (text.size() != 16 || !from_hex(text, raw)) return std::nullopt;
  return be64(raw.data());
}

// Counted from 1, in its one form.
std::optional<uint64_t> decimal(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number == 0 || std::to_string(number) != text) return std::nullopt;
  return number;
}

// ".../<folder>/<name><suffix>" → name
std::optional<std::string_view> name_in(std::string_view key, std::string_view folder, std::string_view suffix) {
  if (!key.ends_with(suffix)) return std::nullopt;
  key.remove_suffix(suffix.size());
  auto slash = key.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto parent = key.substr(0, slash);
  if (parent != folder && !(parent.ends_with(folder) && parent[parent.size() - folder.size() - 1] == '/'))
    return std::nullopt;
  return key.substr(slash + 1);
}

std::optional<Uuid> uuid_in(std::string_view key, std::string_view suffix) {
  auto name = name_in(key, "snapshots", suffix);
  if (!name) return std::nullopt;
  auto uuid = Uuid::parse(*name);
  return uuid ? std::optional<Uuid>(*uuid) : std::nullopt;
}

}  // namespace

std::string escaped(std::string_view name) {
  std::string out;
  for (char c : name) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                 (c == '.' && !out.empty());
    if (plain) {
      out += c;
    } else {
      char text[4];
      std::snprintf(text, sizeof text, "%%%02X", static_cast<unsigned char>(c));
      out += text;
    }
  }
  return out;
}

std::optional<std::string> unescaped(std::string_view part) {
  std::string out;
  for (size_t i = 0; i < part.size(); i++) {
    if (part[i] != '%') {
      out += part[i];
      continue;
    }
    Bytes byte;
    if (i + 3 > part.size() || !from_hex(part.substr(i + 1, 2), byte)) return std::nullopt;
    out += static_cast<char>(byte[0]);
    i += 2;
  }
  return out;
}

std::string terminal_prefix(const Uuid& terminal) { return "terminals/" + terminal.str() + "/"; }
std::string terminal_json(const Uuid& terminal) { return terminal_prefix(terminal) + "terminal.json"; }
std::string terminal_keys(const Uuid& terminal, uint64_t number) {
  return terminal_prefix(terminal) + "keys/" + std::to_string(number) + ".json";
}
std::string probe(const Uuid& terminal, uint64_t number) {
  return terminal_prefix(terminal) + "probe/" + std::to_string(number);
}
std::string epochs_prefix(const Uuid& terminal) { return terminal_prefix(terminal) + "epochs/"; }
std::string epoch(const Uuid& terminal, uint64_t number) {
  return epochs_prefix(terminal) + std::to_string(number) + ".json";
}
std::string starts_prefix(const Uuid& terminal, uint64_t epoch) {
  return terminal_prefix(terminal) + "starts/" + std::to_string(epoch) + "-";
}
std::string start(const Uuid& terminal, uint64_t epoch, uint64_t number) {
  return starts_prefix(terminal, epoch) + hex16(number) + ".json";
}
std::string inbox(const Uuid& terminal, uint64_t number) {
  return terminal_prefix(terminal) + "inbox/" + std::to_string(number) + ".json";
}
std::string outbox(const Uuid& terminal, uint64_t number) {
  return terminal_prefix(terminal) + "outbox/" + std::to_string(number) + ".json";
}

std::string assets_prefix(const Uuid& terminal) { return terminal_prefix(terminal) + "assets/"; }
std::string asset_chunk(const Uuid& terminal, const Digest& sha256) {
  return assets_prefix(terminal) + sha256.hex() + ".chunk";
}
std::string asset_tree(const Uuid& terminal, const Digest& sha256) {
  return assets_prefix(terminal) + sha256.hex() + ".tree";
}

std::string database_prefix(const Uuid& terminal, std::string_view database, uint64_t epoch) {
  return terminal_prefix(terminal) + escaped(database) + "/" + std::to_string(epoch) + "/";
}

std::string snapshots_prefix(const std::string& prefix) { return prefix + "snapshots/"; }
std::string manifest(const std::string& prefix, const Uuid& snapshot) {
  return snapshots_prefix(prefix) + snapshot.str() + ".manifest";
}
std::string verified(const std::string& prefix, const Uuid& snapshot) {
  return snapshots_prefix(prefix) + snapshot.str() + ".verified";
}
std::string packs_prefix(const std::string& prefix) { return prefix + "packs/"; }
std::string pack(const std::string& prefix, const Digest& sha256) {
  return packs_prefix(prefix) + sha256.hex() + ".pack";
}
std::string log_prefix(const std::string& prefix) { return prefix + "log/"; }
std::string segment(const std::string& prefix, Sequence first, Sequence last) {
  return segments_from(prefix, first) + hex16(last) + ".seg";
}
std::string segments_from(const std::string& prefix, Sequence first) { return log_prefix(prefix) + hex16(first) + "-"; }
std::string merged_segment(const std::string& prefix, Sequence first, Sequence last) {
  return segments_from(prefix, first) + hex16(last) + ".merged";
}
std::string anchor(const std::string& prefix, Sequence first) { return log_prefix(prefix) + hex16(first) + ".anchor"; }

std::string status(const Uuid& terminal) { return "fleet/status/" + terminal.str() + ".json"; }
std::string terminal_name(std::string_view name) { return "fleet/names/" + escaped(name) + ".json"; }
std::string policy(std::string_view group) { return "fleet/policy/" + escaped(group) + ".json"; }

std::optional<uint64_t> epoch_of_folder(std::string_view folder) { return decimal(folder); }

std::optional<uint64_t> number_of_epoch(std::string_view key) {
  const auto name = name_in(key, "epochs", ".json");
  return name ? decimal(*name) : std::nullopt;
}

std::optional<uint64_t> number_of_start(std::string_view key) {
  const auto name = name_in(key, "starts", ".json");
  const auto dash = name ? name->find('-') : std::string_view::npos;
  if (dash == std::string_view::npos || !decimal(name->substr(0, dash))) return std::nullopt;
  return from_hex16(name->substr(dash + 1));
}

std::optional<Uuid> snapshot_of_manifest(std::string_view key) { return uuid_in(key, ".manifest"); }
std::optional<Uuid> snapshot_of_verified(std::string_view key) { return uuid_in(key, ".verified"); }

std::optional<Digest> sha256_of_pack(std::string_view key) {
  auto name = name_in(key, "packs", ".pack");
  if (!name) return std::nullopt;
  auto digest = Digest::parse(*name);
  return digest ? std::optional<Digest>(*digest) : std::nullopt;
}

std::optional<Digest> sha256_of_asset(std::string_view key) {
  auto name = name_in(key, "assets", ".chunk");
  if (!name) name = name_in(key, "assets", ".tree");
  if (!name) return std::nullopt;
  auto digest = Digest::parse(*name);
  return digest ? std::optional<Digest>(*digest) : std::nullopt;
}

std::optional<std::pair<Sequence, Sequence>> range_of_segment(std::string_view key) {
  auto name = name_in(key, "log", ".seg");
  if (!name) name = name_in(key, "log", ".merged");
  if (!name || name->size() != 33 || (*name)[16] != '-') return std::nullopt;
  auto first = from_hex16(name->substr(0, 16)), last = from_hex16(name->substr(17));
  if (!first || !last || *first > *last) return std::nullopt;
  return std::pair(*first, *last);
}

bool is_merged_segment(std::string_view key) { return key.ends_with(".merged") && range_of_segment(key); }

std::optional<Sequence> first_of_anchor(std::string_view key) {
  auto name = name_in(key, "log", ".anchor");
  return name ? from_hex16(*name) : std::nullopt;
}

}  // namespace tillsync::keys
