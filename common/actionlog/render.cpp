#include "actionlog/render.h"

#include <cmath>
#include <map>

#include "crypto/hash.h"
#include "dbfile/record.h"
#include "schema/row_identity.h"

namespace tillsync {

using json = Json;

json render_value(const Value& v, uint32_t encoding) {
  switch (v.type) {
    case ValueType::null: return nullptr;
    case ValueType::integer:
      if (v.integer > (int64_t{1} << 53) || v.integer < -(int64_t{1} << 53))
        return {{"$int", std::to_string(v.integer)}};
      return v.integer;
    case ValueType::real:
      if (std::isnan(v.real)) return {{"$real", "nan"}};
      if (std::isinf(v.real)) return {{"$real", v.real > 0 ? "inf" : "-inf"}};
      return v.real;
    case ValueType::text: {
      bool valid;
      std::string text = text_to_utf8(v.bytes, encoding, &valid);
      if (!valid) return {{"$text_hex", to_hex(v.bytes)}};
      return text;
    }
    case ValueType::blob: return {{"$blob", to_base64(v.bytes)}};
  }
  return nullptr;
}

json render_record(ByteView record, int64_t rowid, const Table& table, uint32_t encoding) {
  RowIdentity identity(table);
  auto canonical = identity.canonical(record);
  if (!canonical) return nullptr;
  auto values = decode_record(*canonical);
  if (!values) return nullptr;
  json object = json::object();
  for (size_t field = 0; field < table.record_columns.size() && field < values->size(); field++) {
    int column = table.record_columns[field];
    const std::string& name = table.columns[static_cast<size_t>(column)].name;
    object[name] = column == table.rowid_alias ? render_value({ValueType::integer, rowid, 0, {}}, encoding)
                                               : render_value((*values)[field], encoding);
  }
  return object;
}

std::string render_entity_id(ByteView key, uint32_t encoding) {
  if (key.empty()) return "";
  if (key[0] == 'r') return std::to_string(rowid_of_key(key));
  auto values = decode_record(key.subspan(1));
  if (!values) return "";
  if (values->size() == 1) {
    json one = render_value(values->front(), encoding);
    return one.is_string() ? one.get<std::string>() : one.dump();
  }
  json all = json::array();
  for (auto& v : *values) all.push_back(render_value(v, encoding));
  return all.dump();
}

namespace {
Uuid derived(const Lineage& lineage, std::string_view what, ByteView rest) {
  Bytes all;
  ByteWriter w(all);
  w.bytes(lineage.terminal.view());
  w.u64(lineage.epoch);
  w.sized(lineage.database);
  w.sized(what);
  w.bytes(rest);
  return uuid_v8(sha256(all).view());
}
}  // namespace

Uuid action_uuid(const Lineage& lineage, Sequence sequence) {
  Bytes rest;
  ByteWriter(rest).u64(sequence);
  return derived(lineage, "action", rest);
}

Uuid entity_uuid(const Lineage& lineage, const std::string& table, ByteView key, Sequence created) {
  Bytes rest;
  ByteWriter w(rest);
  w.sized(table);
  w.sized(key);
  w.u64(created);
  return derived(lineage, "entity", rest);
}

Uuid batch_uuid(const Lineage& lineage, TransactionNo transaction, const std::string& table, ActionKind kind) {
  Bytes rest;
  ByteWriter w(rest);
  w.u64(transaction);
  w.sized(table);
  w.u8(static_cast<uint8_t>(kind));
  return derived(lineage, "batch", rest);
}

json render_action(const ActionToRender& what, const RenderContext& context) {
  const SegmentAction& a = *what.action;
  uint32_t encoding = context.schema->text_encoding;
  json j;
  j["id"] = context.lineage.database + ":" + std::to_string(a.sequence);
  j["uuid"] = action_uuid(context.lineage, a.sequence).str();
  bool row = a.kind <= ActionKind::remove;
  bool batch = row && what.batch_rows > 1;
  j["action"] = (batch ? std::string("BATCH_") : std::string()) + to_string(a.kind);
  j["table"] = *what.table;
  for (const char* field : {"entity_id", "entity_uuid", "data", "previous_data"}) j[field] = nullptr;
  if (row) {
    if (const Table* table = context.schema->find(*what.table)) {
      int64_t rowid = a.rowid.value_or(0), previous = a.previous_rowid.value_or(rowid);
      RowIdentity identity(*table);
      if (auto key = identity.key(a.after.empty() ? previous : rowid,
                                  a.after.empty() ? ByteView(a.before) : ByteView(a.after))) {
        j["entity_id"] = render_entity_id(*key, encoding);
        j["entity_uuid"] = entity_uuid(context.lineage, *what.table, *key, a.entity_created).str();
      }
      if (!a.after.empty()) j["data"] = render_record(a.after, rowid, *table, encoding);
      if (!a.before.empty()) j["previous_data"] = render_record(a.before, previous, *table, encoding);
      auto user = context.user_columns.find(*what.table);
      if (user != context.user_columns.end() && user->is_string()) {
        const json& image = a.after.empty() ? j["previous_data"] : j["data"];
        if (image.is_object() && image.contains(user->get<std::string>())) {
          const json& value = image[user->get<std::string>()];
          if (!value.is_null()) j["user_id"] = value.is_string() ? value : json(value.dump());
        }
      }
    }
  } else if (a.kind == ActionKind::schema) {
    auto show = [&](ByteView record, json& into) {
      if (record.empty()) return;
      auto values = decode_record(record);
      if (!values || values->size() < 5) return;
      const char* names[] = {"type", "name", "tbl_name", "rootpage", "sql"};
      into = json::object();
      for (size_t i = 0; i < 5; i++)
        if (i != 3) into[names[i]] = render_value((*values)[i], encoding);
      j["table"] = into["tbl_name"];
      j["entity_id"] = into["name"];
    };
    show(a.before, j["previous_data"]);
    show(a.after, j["data"]);
  } else if (a.kind == ActionKind::restore) {
    auto values = decode_record(a.after);
    if (values && !values->empty() && values->front().type == ValueType::text) {
      j["data"] = json::parse(as_text(values->front().bytes), nullptr, false);
      if (j["data"].is_discarded()) j["data"] = nullptr;
    }
  }
  if (!j.contains("user_id")) j["user_id"] = nullptr;
  j["timestamp"] = to_rfc3339(what.transaction.captured_at);
  j["session_id"] = what.session.str();
  j["sequence"] = a.sequence;
  j["transaction"] = what.transaction.number;
  j["status"] = context.is_rolled_back(a.sequence)       ? "ROLLED_BACK"
                : a.sequence <= context.durable_sequence ? "COMPLETED"
                                                         : "PENDING";
  j["error"] = nullptr;
  j["retry_count"] = 0;
  j["dependencies"] = json::array();
  for (Sequence d : a.dependencies) j["dependencies"].push_back(action_uuid(context.lineage, d).str());
  j["version"] = a.version;
  j["batch_id"] =
      batch ? json(batch_uuid(context.lineage, what.transaction.number, *what.table, a.kind).str()) : json(nullptr);
  j["catch_up"] = (what.transaction.flags & kCatchUp) != 0;
  for (auto& other : what.transaction.coincident)
    j["coincident"].push_back({{"database", other.database}, {"transaction", other.transaction}});
  return j;
}

Result<void> render_segment(const Segment& segment, const RenderContext& context, Sequence from, Sequence to,
                            const std::function<bool(json)>& sink) {
  std::map<std::tuple<uint32_t, uint32_t, ActionKind>, uint64_t> batches;
  for (auto& a : segment.actions) batches[{a.transaction_index, a.table_index, a.kind}]++;
  for (auto& a : segment.actions) {
    if (a.sequence < from || a.sequence > to) continue;
    const SegmentTransaction& t = segment.transactions[a.transaction_index];
    ActionToRender what{&a, &segment.tables[a.table_index], t, segment.sessions[t.session_index],
                        batches[{a.transaction_index, a.table_index, a.kind}]};
    if (!sink(render_action(what, context))) return {};
  }
  return {};
}

}  // namespace tillsync
