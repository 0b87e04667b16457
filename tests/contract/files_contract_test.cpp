// What ports/files.h promises, of the file system that this is built for. What only one system has is in tests/unit.
#include <doctest/doctest.h>

#include "platform/this_system.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Files {
  TemporaryDirectory folder;
  SystemFiles files;
  void write(const std::string& name, std::string_view text) {
    auto file = must(files.open(folder / name, OpenMode::create));
    must(file->write(0, as_bytes(text)));
  }
  std::string text_of(const std::string& name) { return std::string(as_text(must(read_file(files, folder / name)))); }
};

}  // namespace

TEST_SUITE("contract of files") {
  TEST_CASE_FIXTURE(Files, "files: what is written at an offset is read back, and a read past the end is short") {
    auto file = must(files.open(folder / "f", OpenMode::create_new));
    must(file->write(10, as_bytes("hello")));
    CHECK(must(file->size()) == 15);
    Bytes out(20, 0xff);
    CHECK(must(file->read(5, out)) == 10);
    CHECK(as_text(ByteView(out).subspan(5, 5)) == "hello");
    CHECK(out[0] == 0);
    CHECK(must(file->read(100, out)) == 0);
    must(file->truncate(12));
    CHECK(must(file->size()) == 12);
    must(file->sync());
    must(files.sync_directory(folder.path()));
    auto copy = must(file->duplicate());
    file.reset();
    CHECK(must(copy->read(10, MutableBytes(out).first(2))) == 2);
    CHECK(as_text(ByteView(out).first(2)) == "he");
    CHECK(must(copy->free_space()) > 0);
    CHECK(must(files.free_space(folder.path())) > 0);
  }

  TEST_CASE_FIXTURE(Files, "files: new files are 0600 and new folders 0700") {
    must(files.make_directories(folder / "a/b/c"));
    must(files.make_directories(folder / "a/b/c"));
    CHECK(must(files.stat(folder / "a/b")).mode == 0700);
    CHECK(must(files.stat(folder / "a/b")).type == FileType::directory);
    write("a/b/c/f", "text");
    const auto info = must(files.stat(folder / "a/b/c/f"));
    CHECK(info.mode == 0600);
    CHECK(info.type == FileType::regular);
    CHECK(info.size == 4);
  }

  TEST_CASE_FIXTURE(Files, "files: errors say what and where, by kind") {
    const Error missing = refused(files.open(folder / "nothing", OpenMode::read));
    CHECK(missing.kind == ErrorKind::not_found);
    // Whatever words this system has for it.
    const std::string place = "open " + (folder / "nothing") + ": ";
    CHECK(missing.context.starts_with(place));
    CHECK(missing.context.size() > place.size());
    must(files.open(folder / "f", OpenMode::create_new));
    CHECK(kind_of(files.open(folder / "f", OpenMode::create_new)) == ErrorKind::conflict);
    CHECK(kind_of(files.make_directories(folder / "f")) == ErrorKind::conflict);
    CHECK(kind_of(files.open(folder / "f/x", OpenMode::create)) == ErrorKind::not_found);
    CHECK(kind_of(files.list(folder / "gone")) == ErrorKind::not_found);
    CHECK(kind_of(files.sync_directory(folder / "gone")) == ErrorKind::not_found);
    CHECK(kind_of(files.remove(folder / "gone")) == ErrorKind::not_found);
    CHECK(kind_of(files.stat(folder / "gone")) == ErrorKind::not_found);
  }

  TEST_CASE_FIXTURE(Files, "files: a lock excludes a second open of the same file until it is closed, and no reader") {
    write("f", "text");
    auto first = must(files.open(folder / "f", OpenMode::create));
    must(first->lock());
    must(first->lock());
    auto second = must(files.open(folder / "f", OpenMode::create));
    const Error error = refused(second->lock());
    CHECK(error.kind == ErrorKind::conflict);
    CHECK(contains(error.context, folder / "f"));
    CHECK(text_of("f") == "text");
    first.reset();
    must(second->lock());
  }

  TEST_CASE_FIXTURE(Files, "files: rename_new never replaces, rename does") {
    write("a", "a");
    write("b", "b");
    CHECK(kind_of(files.rename_new(folder / "a", folder / "b")) == ErrorKind::conflict);
    CHECK(text_of("b") == "b");
    must(files.rename_new(folder / "a", folder / "c"));
    CHECK(kind_of(files.stat(folder / "a")) == ErrorKind::not_found);
    must(files.rename(folder / "c", folder / "b"));
    CHECK(text_of("b") == "a");
    must(files.remove(folder / "b"));
    CHECK(kind_of(files.remove(folder / "b")) == ErrorKind::not_found);
  }

  TEST_CASE_FIXTURE(Files, "files: link_new gives a further name, and never replaces") {
    write("a", "a");
    must(files.link_new(folder / "a", folder / "b"));
    CHECK(must(files.stat(folder / "a")).inode == must(files.stat(folder / "b")).inode);
    CHECK(kind_of(files.link_new(folder / "a", folder / "b")) == ErrorKind::conflict);
    CHECK(kind_of(files.link_new(folder / "none", folder / "c")) == ErrorKind::not_found);
    must(files.remove(folder / "a"));
    CHECK(text_of("b") == "a");
  }

  TEST_CASE_FIXTURE(Files, "files: a listing is sorted by the bytes of UTF-8 and tells files from folders") {
    write("z", "");
    write("Käse", "");
    must(files.make_directories(folder / "m/n"));
    const auto entries = must(files.list(folder.path()));
    REQUIRE(entries.size() == 3);
    CHECK(entries[0].name == "Käse");
    CHECK(entries[1].name == "m");
    CHECK(entries[1].type == FileType::directory);
    CHECK(entries[2].name == "z");
    CHECK(entries[2].type == FileType::regular);
    CHECK(must(files.list(folder / "m/n")).empty());
  }
}
