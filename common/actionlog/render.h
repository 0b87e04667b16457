// Actions as JSON, as `tillsync log --json` shows them.
//
// Values: INTEGER and REAL as numbers (integers beyond ±2^53 as {"$int": "…"}, REAL that is not finite as {"$real":
// "inf"}), TEXT as string (not valid UTF-8: {"$text_hex": "…"}), BLOB as {"$blob": "base64"}, NULL as null. Threads:
// any.
#pragma once

#include <functional>
#include "base/json.h"

#include "actionlog/activations.h"
#include "actionlog/segment.h"
#include "dbfile/record.h"
#include "state/state_db.h"

namespace tillsync {

Json render_value(const Value& value, uint32_t text_encoding);
// A record as an object by column name.
Json render_record(ByteView record, int64_t rowid, const Table& table, uint32_t text_encoding);
// One value as plain text, several as a JSON array.
std::string render_entity_id(ByteView key, uint32_t text_encoding);

Uuid action_uuid(const Lineage& lineage, Sequence sequence);
Uuid entity_uuid(const Lineage& lineage, const std::string& table, ByteView key, Sequence created);
Uuid batch_uuid(const Lineage& lineage, TransactionNo transaction, const std::string& table, ActionKind kind);

// What the rendering of one segment's actions needs besides the action.
struct RenderContext {
  Lineage lineage;
  std::shared_ptr<const Schema> schema;
  Json user_columns = Json::object();
  Sequence durable_sequence = 0;  // later actions are PENDING
  std::vector<RolledBack> rolled_back;

  bool is_rolled_back(Sequence sequence) const {
    for (auto& range : rolled_back)
      if (sequence >= range.first && sequence <= range.last) return true;
    return false;
  }
};

struct ActionToRender {
  const SegmentAction* action = nullptr;
  const std::string* table = nullptr;
  SegmentTransaction transaction;
  Uuid session;
  uint64_t batch_rows = 1;  // rows of the same table and kind in the transaction
};

Json render_action(const ActionToRender& action, const RenderContext& context);
// All actions of a segment whose sequence lies in [from, to]; false from sink stops.
Result<void> render_segment(const Segment& segment, const RenderContext& context, Sequence from, Sequence to,
                            const std::function<bool(Json)>& sink);

}  // namespace tillsync
