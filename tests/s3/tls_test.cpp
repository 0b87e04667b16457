// Whose certificate is taken: real servers with a private authority, and servers of our own that are wrong.
#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <fstream>
#include <thread>

#include "s3/s3_server.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// A self-signed certificate for a name, and a server that greets with it.
class WrongServer {
 public:
  WrongServer(const std::string& name, long valid_from_s, long valid_to_s) {
    key_ = EVP_EC_gen("P-256");
    certificate_ = X509_new();
    X509_set_version(certificate_, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), valid_from_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), valid_to_s);
    X509_set_pubkey(certificate_, key_);
    X509_NAME* subject = X509_get_subject_name(certificate_);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(certificate_, subject);
    for (const auto& [id, value] : {std::pair<int, std::string>{NID_subject_alt_name, name},
                                    std::pair<int, std::string>{NID_basic_constraints, "critical,CA:TRUE"}}) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, id, value.c_str());
      X509_add_ext(certificate_, extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(certificate_, key_, EVP_sha256());
    FILE* file = std::fopen(ca_file().c_str(), "w");
    PEM_write_X509(file, certificate_);
    std::fclose(file);
    context_ = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context_, certificate_);
    SSL_CTX_use_PrivateKey(context_, key_);
    thread_ = std::thread([this] {
      boost::system::error_code error;
      while (true) {
        boost::asio::ip::tcp::socket client(io_);
        acceptor_.accept(client, error);
        if (error) return;
        SSL* tls = SSL_new(context_);
        SSL_set_fd(tls, client.native_handle());
        char byte = 0;
        if (SSL_accept(tls) == 1 && SSL_read(tls, &byte, 1) == 1) was_asked_ = true;
        SSL_free(tls);
      }
    });
  }
  ~WrongServer() {
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    thread_.join();
    SSL_CTX_free(context_);
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  std::string ca_file() const { return folder_ / "ca.pem"; }
  std::string endpoint() const { return "https://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()); }
  bool was_asked() const { return was_asked_; }

 private:
  TemporaryDirectory folder_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_{io_, {boost::asio::ip::address_v4::loopback(), 0}};
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
  SSL_CTX* context_ = nullptr;
  std::atomic<bool> was_asked_{false};
  std::thread thread_;
};

Error head_at(const std::string& endpoint, const std::string& ca_file) {
  auto options = S3Server::running().options();
  options.address.endpoint = endpoint;
  options.http.ca_file = ca_file;
  S3Bucket bucket(options);
  return refused(bucket.store.head("k"));
}

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 tls: a private authority is taken from ca_file, and only from there") {
  const auto& server = S3Server::running();
  auto options = server.options();
  options.address.endpoint = server.tls_endpoint();
  options.http.ca_file = server.ca_file();
  S3Bucket bucket(options);
  BytesSource source(as_bytes("content"));
  must(bucket.store.put("k", source));
  CHECK(must(bucket.store.head("k")).size == 7);
  const auto error = head_at(server.tls_endpoint(), "");
  CHECK(error.kind == ErrorKind::denied);
  CHECK(std::string(error.cause) == "certificate");
  CHECK(contains(error.context, "store.ca_file"));
  CHECK(std::string(head_at(server.tls_endpoint(), "/nonexistent/ca.pem").cause) == "certificate");
}

TEST_CASE("s3 tls: a certificate that is over, not yet valid, or of another name is refused before a request is sent") {
  constexpr long kDay = 86'400;
  const std::tuple<const char*, long, long> cases[] = {
      {"IP:127.0.0.1", -2 * kDay, -kDay}, {"IP:127.0.0.1", kDay, 2 * kDay}, {"DNS:s3.example.com", -kDay, kDay}};
  for (const auto& [name, from, to] : cases) {
    WrongServer server(name, from, to);
    const auto error = head_at(server.endpoint(), server.ca_file());
    CAPTURE(error.context);
    CHECK(error.kind == ErrorKind::denied);
    CHECK(std::string(error.cause) == "certificate");
    CHECK(contains(error.context, "clock of this machine"));
    CHECK(!server.was_asked());
  }
}

TEST_SUITE_END();
