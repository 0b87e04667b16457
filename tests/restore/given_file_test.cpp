#include "restore/given_file.h"

#include <doctest/doctest.h>

#include "support/results.h"
#include "support/temporary_directory.h"
#include "support/unnamed_file.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_CASE("given file: one path is it, every other is the file system's") {
  TemporaryDirectory folder;
  SystemFiles real;
  const std::string path = folder / "staged.db";
  WithGivenFile files(real, path, unnamed_file());

  CHECK(kind_of(files.remove(path)) == ErrorKind::not_found);
  must(must(files.open(path, OpenMode::create_new))->write(0, as_bytes("content")));
  CHECK(kind_of(files.open(path, OpenMode::create_new)) == ErrorKind::conflict);
  CHECK(must(files.stat(path)).size == 7);
  CHECK(must(files.free_space(path)) > 0);
  // Two at a time, as the proof reads.
  auto one = must(files.open(path, OpenMode::read)), two = must(files.open(path, OpenMode::read));
  Bytes text(7);
  CHECK(must(one->read(0, text)) == 7);
  one.reset();
  CHECK(must(two->read(3, text)) == 4);
  CHECK(kind_of(real.stat(path)) == ErrorKind::not_found);

  must(must(files.open(path + "-wal", OpenMode::create_new))->write(0, as_bytes("log")));
  CHECK(must(real.stat(path + "-wal")).size == 3);
  CHECK(kind_of(files.rename(path + "-wal", path)) == ErrorKind::usage);
  CHECK(kind_of(files.link_new(path, path + "-other")) == ErrorKind::usage);
  must(files.remove(path + "-wal"));
  must(files.remove(path));
  CHECK(must(files.stat(path)).size == 0);
}
