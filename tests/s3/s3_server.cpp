#include "s3/s3_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <vector>

namespace tillsync::test {

namespace {

S3Server* running_server = nullptr;

std::string in_quotes(const std::string& text) { return "'" + text + "'"; }
// Not another process that got the number of one that ended.
bool is_started_with(pid_t pid, const std::string& folder) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline");
  const std::string line{std::istreambuf_iterator<char>(in), {}};
  return line.find(folder + "/") != line.npos;
}
std::string script(const std::string& kind) {
  return in_quotes(std::string(TILLSYNC_SOURCE_DIR) + "/tests/support/s3/" + kind + ".sh");
}

}  // namespace

uint16_t free_port() {
  SystemRandom random;
  for (int i = 0; i < 200; i++) {
    std::array<uint8_t, 2> bytes;
    random.fill(bytes);
    const auto port = static_cast<uint16_t>(10000 + (bytes[0] << 8 | bytes[1]) % 10000);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool is_free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (is_free) return port;
  }
  throw std::runtime_error("no free port");
}

S3Server::S3Server(std::string kind) : kind_(std::move(kind)) {
  folder_ = std::string(TILLSYNC_BINARY_DIR) + "/s3-servers/" + kind_ + "-" + std::to_string(getpid());
  std::filesystem::create_directories(folder_);
  // Also when this process is killed: its servers would run for ever.
  const std::string guard = "while kill -0 " + std::to_string(getpid()) + "; do sleep 0.3; done; " + script(kind_) +
                            " stop " + in_quotes(folder_) + "; rm -rf " + in_quotes(folder_);
  const std::string detached = "setsid sh -c \"" + guard + "\" </dev/null >/dev/null 2>&1 &";
  if (std::system(detached.c_str()) != 0) throw std::runtime_error("no guard for the S3 server");
}

bool S3Server::run_script(const std::string& output) const {
  const std::string command = "S3_TLS_PORT=" + std::to_string(tls_port_) + " " + script(kind_) + " start " +
                              in_quotes(folder_) + " " + std::to_string(port_) + " >" + in_quotes(output) +
                              " </dev/null";
  return std::system(command.c_str()) == 0;
}

bool S3Server::launch() {
  port_ = free_port();
  tls_port_ = free_port();
  const std::string out = folder_ + "/started";
  if (!run_script(out)) return false;
  std::ifstream in(out);
  std::map<std::string, std::string> said;
  for (std::string line; std::getline(in, line);)
    if (const auto equals = line.find('='); equals != line.npos) said[line.substr(0, equals)] = line.substr(equals + 1);
  endpoint_ = said["endpoint"];
  tls_endpoint_ = said["tls_endpoint"];
  ca_file_ = said["ca_file"];
  region_ = said["region"];
  credentials_file_ = folder_ + "/s3.credentials";
  std::ofstream(credentials_file_) << "[default]\naws_access_key_id = " << said["access_key"]
                                   << "\naws_secret_access_key = " << said["secret_key"] << "\n";
  std::filesystem::permissions(credentials_file_, std::filesystem::perms(0600));
  return !endpoint_.empty();
}

std::unique_ptr<S3Server> S3Server::start(const std::string& kind) {
  const std::string program = kind == "ceph_rgw" ? "radosgw" : "swift-proxy-server";
  if (std::system(("command -v " + program + " >/dev/null").c_str()) != 0) return nullptr;
  std::unique_ptr<S3Server> server(new S3Server(kind));
  // Someone else may have taken the port meanwhile.
  for (int i = 0; i < 3; i++) {
    if (!server->launch()) continue;
    running_server = server.get();
    server->make_bucket(kBucket);
    return server;
  }
  throw std::runtime_error(kind + " did not start");
}

void S3Server::kill() {
  // Readable when the last thread has ended: then its ports are free.
  std::vector<pollfd> processes;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/run")) {
    pid_t pid = 0;
    if (entry.path().extension() != ".pid" || !(std::ifstream(entry.path()) >> pid)) continue;
    const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (fd < 0) continue;
    if (is_started_with(pid, folder_))
      processes.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    else
      close(fd);
  }
  if (processes.empty()) throw std::runtime_error("no process of the S3 server to kill");
  for (const auto& process : processes) syscall(SYS_pidfd_send_signal, process.fd, SIGKILL, nullptr, 0);
  for (auto& process : processes) {
    const bool has_ended = poll(&process, 1, 60'000) == 1;
    close(process.fd);
    if (!has_ended) throw std::runtime_error("a process of the S3 server does not end");
  }
}

void S3Server::start_again() {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  // Each try says by itself that a port is taken, or waits until the server answers.
  while (!run_script(folder_ + "/started-again"))
    if (std::chrono::steady_clock::now() > patience) throw std::runtime_error(kind_ + " did not start again");
}

S3Server& S3Server::running() { return *running_server; }

S3Server::~S3Server() {
  running_server = nullptr;
  (void)!std::system((script(kind_) + " stop " + in_quotes(folder_)).c_str());
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

s3::S3Store::Options S3Server::options() const {
  SystemRandom random;
  std::array<uint8_t, 6> bytes;
  random.fill(bytes);
  s3::S3Store::Options options;
  options.address = {kBucket, endpoint_, region_, true};
  options.prefix = "t/" + to_hex(bytes);
  options.credentials_file = credentials_file_;
  options.part_size = 5 << 20;
  return options;
}

void S3Server::make_bucket(const std::string& name) const {
  LinuxFileSystem files;
  SystemClock clock;
  s3::S3Client client({name, endpoint_, region_, true}, {}, files, credentials_file_, clock);
  const auto outcome = client.perform({.method = "PUT"});
  if (outcome.failure && outcome.failure->code != "BucketAlreadyOwnedByYou")
    throw std::runtime_error("make a bucket: " + to_error(*outcome.failure, name, "make").context);
}

std::string store_settings(const s3::S3Store::Options& options) {
  return "url = \"s3://" + options.address.bucket + "/" + options.prefix + "\"\nendpoint = \"" +
         options.address.endpoint + "\"\nregion = \"" + options.address.region +
         "\"\npath_style = true\ncredentials = \"" + options.credentials_file + "\"\n";
}

}  // namespace tillsync::test
