// A TLS server of our own, whose certificate nobody has signed but itself.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <string>
#include <thread>

#include "support/temporary_directory.h"

namespace tillsync::test {

// A self-signed certificate for a name, and a server that greets with it.
class WrongServer {
 public:
  // On a port that is free, or on this one.
  WrongServer(const std::string& name, long valid_from_s, long valid_to_s, uint16_t port = 0)
      : acceptor_(io_, {boost::asio::ip::address_v4::loopback(), port}) {
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
        greetings_++;
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
  int greetings() const { return greetings_; }
  // A byte came from somebody who had taken the certificate.
  bool was_asked() const { return was_asked_; }

 private:
  TemporaryDirectory folder_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
  SSL_CTX* context_ = nullptr;
  std::atomic<int> greetings_{0};
  std::atomic<bool> was_asked_{false};
  std::thread thread_;
};

}  // namespace tillsync::test
