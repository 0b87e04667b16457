// A till with a history of so many MB, followed by tillsync or by Litestream, or by nobody.
//
// Purpose: what every comparison starts from: the same database for each side, made once. Errors: as World: a failed
// command ends the bench with what it said. Threads: one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/measured.h"
#include "integration/world.h"
#include "support/process_figures.h"

namespace tillsync::test {

// Databases of sales, by pos_writer: orders, items, payments, stock movements, receipts.
class Databases {
 public:
  // Made at the first call for a size; closed, with an empty log.
  const std::string& of(int64_t megabytes);

 private:
  TemporaryDirectory folder_;
  std::map<int64_t, std::string> paths_;
};

// Adds `sales` sales to the database at `path`, or sells for `seconds` at `rate`; what pos_writer printed.
Json sell(const World& world, const std::string& path, const std::vector<std::string>& options);

// tillsync on a copy of a database: sealed, to a folder.
class FollowedTill : public World {
 public:
  static constexpr const char* kSettings = "zstd with one search (sizes below), sealed and signed, synced to disk";

  // flush: [schedule] log_flush.
  explicit FollowedTill(const std::string& database, const std::string& flush = "1s", const std::string& more = "");

  void follow();  // starts the agent; returns when the first copy is made and its log durable
  // `tillsync backup --wait`: the time is the command's, CPU and peak are the agent's and the command's.
  Took back_up(const std::string& type);
  // `tillsync restore --to`, of the newest moment, or by `which`; `proven` by its own digests.
  Took restore(const std::string& to, const std::vector<std::string>& which = {});
  double stored_bytes() const { return bytes_below(store); }
  // Bytes of objects that were sent since the start of the agent.
  double sent_bytes() const;
  Json json_of(std::vector<std::string> words);

 private:
  // The command's time, and CPU and peak of both.
  Took with_agent(const std::vector<std::string>& words);
};

}  // namespace tillsync::test
