// sd-bus and sd-event in C++: owners of their handles, and messages written without looking at every return value.
//
// Errors: bus_error() for a negative errno of theirs. Threads: one, as sd-bus.
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tillsync {

template <auto release>
struct Releaser {
  template <class T>
  void operator()(T* handle) const {
    release(handle);
  }
};
using BusHandle = std::unique_ptr<sd_bus, Releaser<sd_bus_flush_close_unref>>;
using BusSlot = std::unique_ptr<sd_bus_slot, Releaser<sd_bus_slot_unref>>;
using BusMessage = std::unique_ptr<sd_bus_message, Releaser<sd_bus_message_unref>>;
using EventLoop = std::unique_ptr<sd_event, Releaser<sd_event_unref>>;
// Ends with its owner, also from within its own handler.
using EventSource = std::unique_ptr<sd_event_source, Releaser<sd_event_source_disable_unref>>;

Error bus_error(int negative_errno, const std::string& doing);

// Fills a message; the first failure stays, and is what result() gives.
class MessageWriter {
 public:
  explicit MessageWriter(sd_bus_message* message) : message_(message) {}
  MessageWriter& open(char type, const char* contents);
  MessageWriter& close();
  MessageWriter& text(const std::string& value);
  MessageWriter& path(const char* value);
  MessageWriter& integer(int32_t value);
  MessageWriter& number(uint32_t value);
  MessageWriter& flag(bool value);
  MessageWriter& bytes(const std::vector<uint8_t>& value);
  // An entry of a{sv}.
  MessageWriter& property(const char* name, const std::string& value);
  MessageWriter& property(const char* name, const char* value) { return property(name, std::string(value)); }
  MessageWriter& property(const char* name, bool value);
  MessageWriter& property(const char* name, int32_t value);
  MessageWriter& property(const char* name, uint8_t value);
  int result() const { return result_; }

 private:
  MessageWriter& keep(int result) {
    if (result_ >= 0) result_ = result;
    return *this;
  }
  MessageWriter& begin_property(const char* name, const char* type);
  MessageWriter& end_property() { return close().close(); }
  sd_bus_message* message_;
  int result_ = 0;
};

// Answers a call with what `write` puts into the reply.
template <class Write>
int reply(sd_bus_message* call, Write write) {
  sd_bus_message* raw = nullptr;
  const int made = sd_bus_message_new_method_return(call, &raw);
  if (made < 0) return made;
  const BusMessage message(raw);
  MessageWriter out(message.get());
  write(out);
  if (out.result() < 0) return out.result();
  const int sent = sd_bus_message_send(message.get());
  return sent < 0 ? sent : 1;
}

}  // namespace tillsync
