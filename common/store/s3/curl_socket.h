// A socket of libcurl's, as Asio waits for it: readable, writable. It stays libcurl's, which closes it by
// close_socket(). Threads: one at a time.
#pragma once

#include <curl/curl.h>

#include <boost/asio/io_context.hpp>
#ifdef _WIN32
#include <boost/asio/ip/tcp.hpp>
#else
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#endif

namespace tillsync::s3 {

#ifdef _WIN32
using CurlSocket = boost::asio::ip::tcp::socket;
inline CurlSocket watched(boost::asio::io_context& io, curl_socket_t number) {
  // The protocol is only remembered, and asked for by nobody.
  return {io, boost::asio::ip::tcp::v4(), number};
}
inline int close_socket(curl_socket_t number) { return ::closesocket(number); }
#else
using CurlSocket = boost::asio::posix::stream_descriptor;
inline CurlSocket watched(boost::asio::io_context& io, curl_socket_t number) { return {io, number}; }
inline int close_socket(curl_socket_t number) { return ::close(number); }
#endif

}  // namespace tillsync::s3
