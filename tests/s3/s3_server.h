// The S3 server of this run of the program: Ceph RGW or Swift's s3api, real ones, started on loopback with free ports.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "store/s3/s3_store.h"
#include "support/results.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

// Not bound now; nobody promises for later. Below the ports that the kernel gives to clients: a server that was killed
// finds its port free, and no client that knocks meanwhile is connected with itself.
uint16_t free_port();

class S3Server {
 public:
  // kind: "ceph_rgw" or "swift_s3api". nullptr where it is not installed.
  static std::unique_ptr<S3Server> start(const std::string& kind);
  // The one that main() started.
  static S3Server& running();
  ~S3Server();

  const std::string& kind() const { return kind_; }
  // All of its processes at once, by SIGKILL. Threads: any.
  void kill();
  // On the same ports, with what it had stored; returns when it answers.
  void start_again();

  bool is_ceph() const { return kind_ == "ceph_rgw"; }
  uint16_t port() const { return port_; }
  const std::string& endpoint() const { return endpoint_; }
  const std::string& tls_endpoint() const { return tls_endpoint_; }
  uint16_t tls_port() const { return tls_port_; }
  const std::string& ca_file() const { return ca_file_; }
  const std::string& credentials_file() const { return credentials_file_; }

  static constexpr const char* kBucket = "tillsync-test";
  // Into kBucket, below a prefix that nobody else has; parts of 5 MiB.
  s3::S3Store::Options options() const;
  void make_bucket(const std::string& name) const;

 private:
  explicit S3Server(std::string kind);
  bool launch();
  bool run_script(const std::string& output) const;
  std::string kind_, folder_, endpoint_, tls_endpoint_, ca_file_, credentials_file_, region_;
  uint16_t port_ = 0, tls_port_ = 0;
};

// [store] of a configuration, for a store that has these options.
std::string store_settings(const s3::S3Store::Options& options);

// Whatever becomes of a test that kills the server: the next one finds it running.
struct ServerIsBack {
  ~ServerIsBack() { S3Server::running().start_again(); }
};

// A store of its own for one test, and what it needs.
struct S3Bucket {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  s3::S3Store store;
  S3Bucket() : S3Bucket(S3Server::running().options()) {}
  explicit S3Bucket(s3::S3Store::Options options) : store(std::move(options), files, clock, random) {}
};

}  // namespace tillsync::test
