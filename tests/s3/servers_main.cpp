// tillsync_s3_servers SERVER [doctest options]: all cases against one real server, started for this run.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "s3/s3_server.h"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in CMakeLists.txt
  if (argc < 2) {
    std::cerr << "which server: ceph_rgw or swift_s3api?\n";
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // the proxy's side of a connection that the other one has closed
  // Ceph's memory store, its script's default, forgets when it is killed.
  setenv("S3_STORE", "bluestore", 0);
  const auto server = tillsync::test::S3Server::start(argv[1]);
  if (!server) {
    std::cerr << argv[1] << " is not installed: tests/support/s3/install.sh does it\n";
    return kSkipped;
  }
  doctest::Context context(argc - 1, argv + 1);
  return context.run();
}
