#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "store/open_store.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("s3");

namespace {

constexpr const char* kAlone = "TILLSYNC_TEST_ALONE";

// This case again, in a process of its own: here another case may have loaded it.
bool holds_alone(const std::string& test_case, const std::string& more = "") {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  return std::system((more + " " + kAlone + "=1 '" + self + "' --test-case='" + test_case + "' >&2").c_str()) == 0;
}
bool is_alone() { return std::getenv(kAlone) != nullptr; }

struct Opened {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  StoreSettings settings;
  Result<std::unique_ptr<ObjectStore>> open() { return make_store(settings, files, clock, random); }
  void use_bucket() {
    settings.url = "s3://bucket/prefix";
    settings.endpoint = "https://127.0.0.1:1";
  }
};

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 libcurl: a process whose store is a folder never loads it") {
  if (!is_alone()) {
    CHECK(holds_alone("s3 libcurl: a process*"));
    return;
  }
  const auto is_loaded = [] { return dlopen("libcurl.so.4", RTLD_LAZY | RTLD_NOLOAD) != nullptr; };
  Opened o;
  o.settings.url = "file:///tmp/never-made";
  must(prepare_store(o.settings));
  const auto folder = must(o.open());
  CHECK_FALSE(folder->head("k"));
  CHECK(!is_loaded());
  o.use_bucket();
  must(prepare_store(o.settings));
  CHECK(is_loaded());
  CHECK(std::getenv("GNUTLS_NO_IMPLICIT_INIT") == nullptr);
  CHECK(must(o.open())->properties().name == "s3");
}

TEST_CASE(
    "s3 libcurl: where it is missing or no library, a store on S3 is refused with what to install, a folder is not") {
  if (!is_alone()) {
    TemporaryDirectory folder;
    std::ofstream(folder / "libcurl.so.4") << "not a library";
    CHECK(holds_alone("s3 libcurl: where*", "LD_LIBRARY_PATH='" + folder.path() + "'"));
    return;
  }
  Opened o;
  o.settings.url = "file:///tmp/never-made";
  must(prepare_store(o.settings));
  must(o.open());
  o.use_bucket();
  for (const Error& error : {refused(prepare_store(o.settings)), refused(o.open())}) {
    CHECK(error.kind == ErrorKind::usage);
    CHECK(contains(error.context, "Debian: libcurl4"));
  }
}

TEST_SUITE_END();
