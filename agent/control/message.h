// JSON-RPC 2.0 documents, one per line: what goes over the control socket.
//
// Purpose: both ends read and write the same few shapes; docs/control-protocol.md describes them.
// Errors: decode_* give usage for what is not of that shape; an Error travels as {code, message, data: {kind, code}}
// and arrives as the same Error. Threads: values; no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include "base/json.h"

#include "base/result.h"

namespace tillsync {

struct RequestMessage {
  Json id;  // number or text
  std::string method;
  Json params;  // an object
};
struct ReplyMessage {
  Json id;
  Result<Json> result;
};
struct NotificationMessage {
  std::string method;
  Json params;
};

// What a server could not read: answered with the request's id where that much was there.
struct BadRequest {
  Json id;
  int code = 0;  // of JSON-RPC: -32700 does not parse, -32600 not a request
  std::string message;
};

std::variant<RequestMessage, BadRequest> decode_request(std::string_view line);
Result<std::variant<ReplyMessage, NotificationMessage>> decode_reply(std::string_view line);

// Each ends with a newline. Text that is not UTF-8 has its bad bytes replaced.
std::string encode_request(int64_t id, std::string_view method, const Json& params);
std::string encode_result(const Json& id, const Json& result);
std::string encode_error(const Json& id, const Error& error);
std::string encode_error(const BadRequest& bad);
std::string encode_notification(std::string_view method, const Json& params);

}  // namespace tillsync
