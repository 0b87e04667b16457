// systemd's journal, in its own protocol: messages with fields of their own.
//
// Purpose: what journald shows can be filtered (journalctl TILLSYNC_DATABASE=pos). One datagram a message.
// Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL. Errors: a message that can't be sent is lost; false says so.
// Threads: any.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tillsync {

class Journal {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;  // NAME (capitals, digits, _) → value
  explicit Journal(const std::string& socket = "/run/systemd/journal/socket");
  ~Journal();
  Journal(const Journal&) = delete;
  bool send(const Fields& fields);
  // Whether what this process writes to its standard error goes into the journal ($JOURNAL_STREAM).
  static bool has_stderr();

 private:
  int socket_ = -1;
  std::string path_;
};

}  // namespace tillsync
