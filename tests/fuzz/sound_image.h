// An account of a database image that owes nothing to the row diff: whether it is sound, its rows, and which page is
// above which.
//
// Sound: every tree has the pages of its kind, no page has two places, cells do not overlap, rowids ascend, keys are
// distinct, every record parses. For two sound images the row diff has one right answer, for others it only has to end.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "capture/owner_map.h"
#include "capture/tree_walk.h"
#include "schema/row_identity.h"

namespace tillsync::fuzz {

using RowsByKey = std::map<Bytes, Bytes>;

// What names a row within its b-tree: the rowid, or the bytes of the leading fields.
Bytes tree_key(const Table& table, int64_t rowid, ByteView record);

struct SoundImage {
  std::map<std::string, RowsByKey> tables;
  OwnerMap owners;
};
std::optional<SoundImage> sound_image(const Image& image, const Schema& schema);

}  // namespace tillsync::fuzz
