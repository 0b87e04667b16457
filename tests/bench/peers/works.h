// The works that are compared, each as a function that adds its rounds to the report.
//
// Rounds: every tool once, in turn, in each; round 0 warms up and is not kept. Threads: one.
#pragma once

#include <string>
#include <vector>

#include "report.h"
#include "till.h"

namespace tillsync::test {

struct PeerOptions {
  int64_t megabytes = 500;
  int rounds = 5;          // kept ones
  double seconds = 30;     // of a window in which the till sells
  std::string litestream;  // its binary; empty: it is left out
};

struct Bench {
  PeerOptions options;
  Databases databases;
  Report report;
};

// FULL, INCREMENTAL after 2,000 sales, and restores of the newest moment: against zstd, .backup, restic, borg and
// Litestream's first snapshot.
void compare_snapshots(Bench& bench);
// Restore to a moment with 20,000 sales after the snapshot: row changes replayed per second, beside Litestream.
void compare_replay(Bench& bench);
// At 5 sales/s: bytes sent per sale, resident memory and CPU, beside Litestream.
void compare_following(Bench& bench);
// Sales per second of a till that sells as fast as it can: alone, and with each kind of capture.
void compare_sales(Bench& bench);
// From the commit of a sale to its being durable in an S3 server (Ceph RGW), at 5 sales/s, flushed each 1 s and 50 ms.
void measure_durability(Bench& bench);
// Cost against size (each of `sizes`, in MB) and against the number of sales between two backups.
void measure_scaling(Bench& bench, const std::vector<int64_t>& sizes, const std::vector<int64_t>& sales);
// Draws what measure_scaling() found: an SVG at `path`.
void plot_scaling(const Report& report, const std::string& path);

}  // namespace tillsync::test
