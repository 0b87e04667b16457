// Where everything is in the store: one function per key of the layout.
//
// Layout:
//   terminals/<id>/terminal.json
//   terminals/<id>/epochs/<n>.json  keys/<n>.json (from 2)  probe/<n>
//   terminals/<id>/starts/<epoch>-<n>.json                    (n as 16 hex digits)
//   terminals/<id>/<database>/<epoch>/snapshots/<uuidv7>.manifest  .verified
//   terminals/<id>/<database>/<epoch>/packs/<sha256>.pack
//   terminals/<id>/<database>/<epoch>/log/<first>-<last>.seg      (16 hex digits each, so that byte order is log order)
//   terminals/<id>/<database>/<epoch>/log/<first>-<last>.merged   (likewise)
//   terminals/<id>/assets/<sha256>.chunk  .tree
//   terminals/<id>/<database>/<epoch>/log/<first>.anchor          (16 hex digits: where a pruned log begins)
//   terminals/<id>/inbox/<n>.json  outbox/<n>.json
//   fleet/status/<id>.json  fleet/names/<name>.json  fleet/policy/<group>.json
// Names of databases, terminals and groups: every byte but A-Z a-z 0-9 _ - and '.' (not as the first) is %XX.
// Errors: the parse functions answer nullopt for a key of another form.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/ids.h"

namespace tillsync::keys {

std::string escaped(std::string_view name);
std::optional<std::string> unescaped(std::string_view part);

std::string terminal_prefix(const Uuid& terminal);  // ends in '/', as every prefix
std::string terminal_json(const Uuid& terminal);
std::string terminal_keys(const Uuid& terminal, uint64_t number);
std::string probe(const Uuid& terminal, uint64_t number);
std::string epochs_prefix(const Uuid& terminal);
std::string epoch(const Uuid& terminal, uint64_t number);
std::string starts_prefix(const Uuid& terminal, uint64_t epoch);  // ends in '-'
std::string start(const Uuid& terminal, uint64_t epoch, uint64_t number);
std::string inbox(const Uuid& terminal, uint64_t number);
std::string outbox(const Uuid& terminal, uint64_t number);

std::string assets_prefix(const Uuid& terminal);
std::string asset_chunk(const Uuid& terminal, const Digest& sha256);
std::string asset_tree(const Uuid& terminal, const Digest& sha256);

std::string database_prefix(const Uuid& terminal, std::string_view database, uint64_t epoch);

// Below a database_prefix():
std::string snapshots_prefix(const std::string& prefix);
std::string manifest(const std::string& prefix, const Uuid& snapshot);
std::string verified(const std::string& prefix, const Uuid& snapshot);
std::string packs_prefix(const std::string& prefix);
std::string pack(const std::string& prefix, const Digest& sha256);
std::string log_prefix(const std::string& prefix);
std::string segment(const std::string& prefix, Sequence first, Sequence last);
std::string segments_from(const std::string& prefix,
                          Sequence first);  // what the key of one that begins there begins with
std::string merged_segment(const std::string& prefix, Sequence first, Sequence last);
std::string anchor(const std::string& prefix, Sequence first);

std::string status(const Uuid& terminal);
std::string terminal_name(std::string_view name);
std::string policy(std::string_view group);

std::optional<uint64_t> epoch_of_folder(std::string_view folder);  // <epoch> of a database_prefix()
std::optional<uint64_t> number_of_epoch(std::string_view key);
std::optional<uint64_t> number_of_start(std::string_view key);
std::optional<Uuid> snapshot_of_manifest(std::string_view key);
std::optional<Uuid> snapshot_of_verified(std::string_view key);
std::optional<Digest> sha256_of_pack(std::string_view key);
std::optional<Digest> sha256_of_asset(std::string_view key);                          // of a chunk or a tree
std::optional<std::pair<Sequence, Sequence>> range_of_segment(std::string_view key);  // merged or not
bool is_merged_segment(std::string_view key);
std::optional<Sequence> first_of_anchor(std::string_view key);

}  // namespace tillsync::keys
