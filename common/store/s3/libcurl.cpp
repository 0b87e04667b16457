#include "store/s3/libcurl.h"

#ifndef _WIN32
#include <dlfcn.h>
#endif

#include <type_traits>

#include "base/checks.h"

namespace tillsync::s3 {

namespace {

#ifdef _WIN32
// There it is in the program.
Result<LibCurl> found() {
  LibCurl curl{};
  curl.global_init = &::curl_global_init;
  curl.getdate = &::curl_getdate;
  curl.easy_init = &::curl_easy_init;
  curl.easy_setopt = &::curl_easy_setopt;
  curl.easy_getinfo = &::curl_easy_getinfo;
  curl.easy_pause = &::curl_easy_pause;
  curl.easy_strerror = &::curl_easy_strerror;
  curl.easy_cleanup = &::curl_easy_cleanup;
  curl.slist_append = &::curl_slist_append;
  curl.slist_free_all = &::curl_slist_free_all;
  curl.multi_init = &::curl_multi_init;
  curl.multi_setopt = &::curl_multi_setopt;
  curl.multi_add_handle = &::curl_multi_add_handle;
  curl.multi_remove_handle = &::curl_multi_remove_handle;
  curl.multi_socket_action = &::curl_multi_socket_action;
  curl.multi_info_read = &::curl_multi_info_read;
  curl.multi_cleanup = &::curl_multi_cleanup;
  return curl;
}
#else
Result<LibCurl> found() {
  const auto refused = [] {
    return Error{ErrorKind::usage, 0, "a store on S3 needs libcurl (Debian: libcurl4): " + std::string(dlerror())};
  };
  // Never closed: it has threads' exit handlers and atexit() of its own.
  void* library = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return refused();
  LibCurl curl{};
  bool is_whole = true;
  const auto find = [&](auto& function, const char* name) {
    if (!is_whole) return;
    using Function = std::remove_reference_t<decltype(function)>;
    function = reinterpret_cast<Function>(dlsym(library, name));
    is_whole = function != nullptr;
  };
  find(curl.global_init, "curl_global_init");
  find(curl.getdate, "curl_getdate");
  find(curl.easy_init, "curl_easy_init");
  find(curl.easy_setopt, "curl_easy_setopt");
  find(curl.easy_getinfo, "curl_easy_getinfo");
  find(curl.easy_pause, "curl_easy_pause");
  find(curl.easy_strerror, "curl_easy_strerror");
  find(curl.easy_cleanup, "curl_easy_cleanup");
  find(curl.slist_append, "curl_slist_append");
  find(curl.slist_free_all, "curl_slist_free_all");
  find(curl.multi_init, "curl_multi_init");
  find(curl.multi_setopt, "curl_multi_setopt");
  find(curl.multi_add_handle, "curl_multi_add_handle");
  find(curl.multi_remove_handle, "curl_multi_remove_handle");
  find(curl.multi_socket_action, "curl_multi_socket_action");
  find(curl.multi_info_read, "curl_multi_info_read");
  find(curl.multi_cleanup, "curl_multi_cleanup");
  if (!is_whole) return refused();
  return curl;
}
#endif

Result<LibCurl> loaded() {
  TILLSYNC_LET(LibCurl curl, found());
  if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return Error{ErrorKind::internal, 0, "libcurl can't make itself ready"};
  return curl;
}

const Result<LibCurl>& once() {
  static const Result<LibCurl> curl = loaded();
  return curl;
}

}  // namespace

Result<void> load_libcurl() {
  if (!once()) return once().error();
  return {};
}

const LibCurl& libcurl() {
  TILLSYNC_CHECK(once());
  return *once();
}

}  // namespace tillsync::s3
