// libcurl, loaded when a store on S3 is made, and not with the program: with the 25 libraries that Debian's brings
// along (GnuTLS, Kerberos, LDAP, SSH) it is a fifth of the memory of an agent whose store is a folder.
//
// Errors: usage where libcurl.so.4 is missing or older than what we ask of it. Threads: any; it is loaded once, and
// stays.
#pragma once

#include <curl/curl.h>

#include "base/result.h"

namespace tillsync::s3 {

struct LibCurl {
  decltype(&::curl_global_init) global_init;
  decltype(&::curl_getdate) getdate;
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_pause) easy_pause;
  decltype(&::curl_easy_strerror) easy_strerror;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;
  decltype(&::curl_multi_init) multi_init;
  decltype(&::curl_multi_setopt) multi_setopt;
  decltype(&::curl_multi_add_handle) multi_add_handle;
  decltype(&::curl_multi_remove_handle) multi_remove_handle;
  decltype(&::curl_multi_socket_action) multi_socket_action;
  decltype(&::curl_multi_info_read) multi_info_read;
  decltype(&::curl_multi_cleanup) multi_cleanup;
};

Result<void> load_libcurl();
// Loads it where that was not done yet; that it can't be is a LogicError here.
const LibCurl& libcurl();

}  // namespace tillsync::s3
