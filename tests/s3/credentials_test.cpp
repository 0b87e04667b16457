#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "platform/linux/file_system_linux.h"
#include "store/s3/credentials.h"
#include "store/s3/upload_limit.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::s3;
using namespace tillsync::test;

namespace {

// The environment of this process, as a test wants it.
struct Environment {
  static constexpr const char* kNames[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                           "AWS_PROFILE", "CREDENTIALS_DIRECTORY"};
  Environment() { clear(); }
  ~Environment() { clear(); }
  static void clear() {
    for (const char* name : kNames) unsetenv(name);
  }
  static void set(const char* name, const std::string& value) { setenv(name, value.c_str(), 1); }
};

void write(const std::string& path, const std::string& text, mode_t mode = 0600) {
  std::ofstream(path) << text;
  chmod(path.c_str(), mode);
}

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("credentials: the shared-credentials format, with comments, blanks and other profiles") {
  const std::string text =
      "# keys\r\n[other]\naws_access_key_id = O\naws_secret_access_key = P\n\n[default]\r\n ; us\n"
      "aws_access_key_id=test:tester\naws_secret_access_key = a/b+c=d \nregion = x\naws_session_token=t";
  const auto found = must(parse_credentials(text, "", "f"));
  CHECK(found.access_key == "test:tester");
  CHECK(found.secret_key.view() == "a/b+c=d");
  CHECK(found.session_token.view() == "t");
  CHECK(must(parse_credentials(text, "other", "f")).secret_key.view() == "P");
  CHECK(must(parse_credentials(text, "other", "f")).session_token.empty());
  for (const char* bad :
       {"", "aws_access_key_id = a", "[default]", "[default]\naws_access_key_id = a", "[default\naws_access_key_id = a",
        "[default]\naws_access_key_id = a\naws_secret_access_key = top secret"}) {
    CAPTURE(bad);
    const auto error = refused(parse_credentials(bad, "", "/etc/f"));
    CHECK(error.kind == ErrorKind::denied);
    CHECK(std::string(error.cause) == "credentials");
    CHECK(contains(error.context, "/etc/f"));
    CHECK(!contains(error.context, "top"));
  }
}

TEST_CASE("credentials: the configured file goes before the environment, that before systemd's") {
  Environment environment;
  TemporaryDirectory folder;
  LinuxFileSystem files;
  const auto key = [&](const std::string& file) { return must(CredentialSource(files, file).current())->access_key; };
  auto none = refused(CredentialSource(files, "").current());
  CHECK(none.kind == ErrorKind::denied);
  CHECK(contains(none.context, "store.credentials"));
  write(folder / "s3.credentials", "[default]\naws_access_key_id = systemd\naws_secret_access_key = s\n", 0440);
  environment.set("CREDENTIALS_DIRECTORY", folder.path());
  CHECK(key("") == "systemd");
  environment.set("AWS_ACCESS_KEY_ID", "environment");
  CHECK(contains(refused(CredentialSource(files, "").current()).context, "AWS_SECRET_ACCESS_KEY"));
  environment.set("AWS_SECRET_ACCESS_KEY", "s");
  CHECK(key("") == "environment");
  write(folder / "file", "[default]\naws_access_key_id = file\naws_secret_access_key = s\n");
  CHECK(key(folder / "file") == "file");
}

TEST_CASE("credentials: a file that others can read is refused, and how to mend it is said") {
  Environment environment;
  TemporaryDirectory folder;
  LinuxFileSystem files;
  write(folder / "file", "[default]\naws_access_key_id = a\naws_secret_access_key = topsecret\n", 0640);
  CredentialSource source(files, folder / "file");
  const auto error = refused(source.current());
  CHECK(error.kind == ErrorKind::denied);
  CHECK(contains(error.context, "chmod 600"));
  CHECK(!contains(error.context, "topsecret"));
  chmod((folder / "file").c_str(), 0400);
  must(source.current());
  CHECK(contains(refused(CredentialSource(files, folder / "none").current()).context, folder / "none"));
}

TEST_CASE("credentials: a file that changed is read again") {
  Environment environment;
  TemporaryDirectory folder;
  LinuxFileSystem files;
  write(folder / "file", "[default]\naws_access_key_id = first\naws_secret_access_key = s\n");
  CredentialSource source(files, folder / "file");
  const auto first = must(source.current());
  CHECK(must(source.current()) == first);
  CHECK(!source.has_newer(first));
  write(folder / "new", "[default]\naws_access_key_id = second\naws_secret_access_key = s\n");
  rename((folder / "new").c_str(), (folder / "file").c_str());
  CHECK(source.has_newer(first));
  CHECK(must(source.current())->access_key == "second");
  CHECK(first->access_key == "first");
}

TEST_CASE("secrets: they lie in pages that core dumps leave out") {
  const SecretText secret("topsecret");
  std::ifstream maps("/proc/self/smaps");
  const auto at = reinterpret_cast<uintptr_t>(secret.view().data());
  bool is_ours = false, is_left_out = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) is_ours = from <= at && at < to;
    if (is_ours && line.starts_with("VmFlags:")) is_left_out = contains(line, " dd");
  }
  CHECK(is_left_out);
}

TEST_CASE("upload limit: over ten seconds the rate holds, whatever the steps and the size of pieces") {
  using namespace std::chrono_literals;
  for (const uint64_t rate : {uint64_t{10'000}, uint64_t{1} << 20, uint64_t{50} << 20})
    for (const auto step : {1ms, 7ms, 40ms, 100ms})
      for (const uint64_t piece : {uint64_t{1000}, uint64_t{65'536}}) {
        CAPTURE(rate);
        CAPTURE(step.count());
        CAPTURE(piece);
        UploadLimit limit;
        auto now = UploadLimit::Time(1s);
        limit.set_rate(rate, now);
        uint64_t sent = 0;
        for (const auto end = now + 10s; now < end; now += step)
          while (const uint64_t some = limit.take(piece, now)) sent += some;
        CHECK(static_cast<double>(sent) == doctest::Approx(10.0 * static_cast<double>(rate)).epsilon(0.05));
      }
  UploadLimit none;
  CHECK(none.take(123, UploadLimit::Time(1s)) == 123);
}

TEST_SUITE_END();
