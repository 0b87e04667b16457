#include "agent/tray/linux/sd_bus_linux.h"

#include <cerrno>
#include <system_error>

namespace tillsync {

Error bus_error(int negative_errno, const std::string& doing) {
  const int code = -negative_errno;
  const ErrorKind kind = code == EACCES || code == EPERM ? ErrorKind::denied : ErrorKind::internal;
  return {kind, code, doing + ": " + std::generic_category().message(code)};
}

MessageWriter& MessageWriter::open(char type, const char* contents) {
  return keep(sd_bus_message_open_container(message_, type, contents));
}
MessageWriter& MessageWriter::close() { return keep(sd_bus_message_close_container(message_)); }
MessageWriter& MessageWriter::text(const std::string& value) {
  return keep(sd_bus_message_append_basic(message_, 's', value.c_str()));
}
MessageWriter& MessageWriter::path(const char* value) {
  return keep(sd_bus_message_append_basic(message_, 'o', value));
}
MessageWriter& MessageWriter::integer(int32_t value) {
  return keep(sd_bus_message_append_basic(message_, 'i', &value));
}
MessageWriter& MessageWriter::number(uint32_t value) {
  return keep(sd_bus_message_append_basic(message_, 'u', &value));
}
MessageWriter& MessageWriter::flag(bool value) {
  const int as_int = value ? 1 : 0;
  return keep(sd_bus_message_append_basic(message_, 'b', &as_int));
}
MessageWriter& MessageWriter::bytes(const std::vector<uint8_t>& value) {
  return keep(sd_bus_message_append_array(message_, 'y', value.data(), value.size()));
}

MessageWriter& MessageWriter::begin_property(const char* name, const char* type) {
  return open('e', "sv").text(name).open('v', type);
}
MessageWriter& MessageWriter::property(const char* name, const std::string& value) {
  return begin_property(name, "s").text(value).end_property();
}
MessageWriter& MessageWriter::property(const char* name, bool value) {
  return begin_property(name, "b").flag(value).end_property();
}
MessageWriter& MessageWriter::property(const char* name, int32_t value) {
  return begin_property(name, "i").integer(value).end_property();
}
MessageWriter& MessageWriter::property(const char* name, uint8_t value) {
  begin_property(name, "y").keep(sd_bus_message_append_basic(message_, 'y', &value));
  return end_property();
}

}  // namespace tillsync
