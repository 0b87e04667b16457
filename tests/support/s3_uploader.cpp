// s3_uploader ENDPOINT BUCKET CREDENTIALS FILE KEY JOURNAL: puts a file, resumably; goes on with what JOURNAL says.
// Prints the peak of its memory. A program of its own so that it can be killed.
#include <cstdlib>
#include <iostream>

#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "store/open_store.h"
#include "support/file_upload_journal.h"

using namespace tillsync;

namespace {

struct FileSource : ObjectSource {
  std::unique_ptr<File> file;
  uint64_t bytes = 0;
  uint64_t size() const override { return bytes; }
  Result<size_t> read(uint64_t offset, MutableBytes out) override { return file->read(offset, out); }
};

Result<void> upload(char** argv) {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  StoreSettings settings{.url = "s3://" + std::string(argv[2])};
  settings.endpoint = argv[1];
  settings.credentials = argv[3];
  settings.path_style = true;
  if (const char* limit = std::getenv("UPLOAD_LIMIT")) settings.upload_limit = std::strtoull(limit, nullptr, 10);
  TILLSYNC_LET(auto store, make_store(settings, files, clock, random));
  FileSource source;
  TILLSYNC_LET(source.file, files.open(argv[4], OpenMode::read));
  TILLSYNC_LET(source.bytes, source.file->size());
  test::FileUploadJournal journal(files, random, argv[6]);
  return store->put_resumable(argv[5], source, journal);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  if (const auto done = upload(argv); !done) {
    std::cerr << to_string(done.error().kind) << ": " << done.error().context << "\n";
    return 1;
  }
  return 0;
}
