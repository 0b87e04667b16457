#include "agent/control/message.h"

namespace tillsync {

namespace {

constexpr int kApplicationError = -32000;

std::optional<Json> parse_object(std::string_view line) {
  Json document = parse_json(line);
  if (!document.is_object()) return std::nullopt;
  return document;
}

std::string line_of(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Error decode_error(const Json& error) {
  Error out{ErrorKind::internal, 0, "the agent answered with an error of unknown shape"};
  if (!error.is_object()) return out;
  const auto message = error.find("message");
  if (message != error.end() && message->is_string()) out.context = message->get<std::string>();
  const auto code = error.find("code");
  // What JSON-RPC itself refuses is a fault of who asked.
  if (code != error.end() && code->is_number_integer() && code->get<int>() <= -32600) out.kind = ErrorKind::usage;
  const auto data = error.find("data");
  if (data == error.end() || !data->is_object()) return out;
  const auto kind = data->find("kind");
  if (kind != data->end() && kind->is_string())
    out.kind = error_kind_from(kind->get_ref<const std::string&>()).value_or(ErrorKind::internal);
  const auto number = data->find("code");
  if (number != data->end() && number->is_number_integer()) out.code = number->get<int>();
  return out;
}

}  // namespace

std::variant<RequestMessage, BadRequest> decode_request(std::string_view line) {
  auto document = parse_object(line);
  if (!document) return BadRequest{nullptr, -32700, "expected one JSON object on one line"};
  Json& object = *document;
  Json id = nullptr;
  if (const auto found = object.find("id"); found != object.end() && (found->is_number() || found->is_string()))
    id = *found;
  if (object.value("jsonrpc", Json()) != "2.0") return BadRequest{id, -32600, "expected \"jsonrpc\":\"2.0\""};
  if (id.is_null()) return BadRequest{id, -32600, "expected an id, a number or text"};
  const auto method = object.find("method");
  if (method == object.end() || !method->is_string()) return BadRequest{id, -32600, "expected a method"};
  RequestMessage request{std::move(id), method->get<std::string>(), Json::object()};
  if (const auto params = object.find("params"); params != object.end() && !params->is_null()) {
    if (!params->is_object()) return BadRequest{request.id, -32600, "expected params to be an object"};
    request.params = std::move(*params);
  }
  return request;
}

Result<std::variant<ReplyMessage, NotificationMessage>> decode_reply(std::string_view line) {
  auto document = parse_object(line);
  if (!document) return Error{ErrorKind::usage, 0, "expected one JSON object on one line"};
  Json& object = *document;
  using Reply = std::variant<ReplyMessage, NotificationMessage>;
  Json params = Json::object();
  if (const auto found = object.find("params"); found != object.end()) params = std::move(*found);
  if (const auto method = object.find("method"); method != object.end() && method->is_string())
    return Reply(NotificationMessage{method->get<std::string>(), std::move(params)});
  Json id = object.contains("id") ? object["id"] : Json(nullptr);
  if (object.contains("error")) return Reply(ReplyMessage{std::move(id), decode_error(object["error"])});
  if (!object.contains("result")) return Error{ErrorKind::usage, 0, "expected a result or an error"};
  return Reply(ReplyMessage{std::move(id), Result<Json>(std::move(object["result"]))});
}

std::string encode_request(int64_t id, std::string_view method, const Json& params) {
  return line_of(Json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}});
}

std::string encode_result(const Json& id, const Json& result) {
  return line_of(Json{{"jsonrpc", "2.0"}, {"id", id}, {"result", result}});
}

std::string encode_error(const Json& id, const Error& error) {
  const Json data{{"kind", to_string(error.kind)}, {"code", error.code}};
  const Json body{{"code", kApplicationError}, {"message", error.context}, {"data", data}};
  return line_of(Json{{"jsonrpc", "2.0"}, {"id", id}, {"error", body}});
}

std::string encode_error(const BadRequest& bad) {
  const Json data{{"kind", to_string(ErrorKind::usage)}, {"code", 0}};
  const Json body{{"code", bad.code}, {"message", bad.message}, {"data", data}};
  return line_of(Json{{"jsonrpc", "2.0"}, {"id", bad.id}, {"error", body}});
}

std::string encode_notification(std::string_view method, const Json& params) {
  return line_of(Json{{"jsonrpc", "2.0"}, {"method", method}, {"params", params}});
}

}  // namespace tillsync
