// What ports/folder.h promises, of the folders of the system that this is built for. Links are in tests/assets: not
// every system that runs these tests can make them.
#include <doctest/doctest.h>

#include "platform/this_system.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Opened {
  TemporaryDirectory directory;
  SystemFolders folders;
  std::unique_ptr<Folder> folder = must(folders.open(directory.path()));
  void write(const std::string& name, std::string_view text) {
    must(must(folder->make_file(name))->write(0, as_bytes(text)));
  }
  void set(const std::string& name, uint32_t mode, int64_t mtime_ns) {
    NodeAttributes attributes;
    attributes.mode = mode;
    attributes.mtime_ns = mtime_ns;
    must(folder->set_attributes(name, attributes));
  }
  std::string text_of(const std::string& name) {
    auto opened = must(folder->open_file(name));
    Bytes bytes(static_cast<size_t>(must(opened.file->size())));
    CHECK(must(opened.file->read(0, bytes)) == bytes.size());
    return std::string(as_text(bytes));
  }
};

}  // namespace

TEST_SUITE("contract of folders") {
  TEST_CASE_FIXTURE(Opened, "folders: what is made is found, sorted by its bytes, and told by its type") {
    CHECK(must(folder->names()).empty());
    write("b", "text");
    write("Käse", "");
    auto inner = must(folder->make_folder("a"));
    must(must(inner->make_file("deep"))->write(0, as_bytes("deep")));
    CHECK(must(folder->names()) == std::vector<std::string>{"Käse", "a", "b"});
    must(folder->make_file("c"));
    CHECK(must(folder->names()).size() == 4);
    must(folder->remove("c"));
    CHECK(must(folder->names()).size() == 3);
    CHECK(must(folder->stat("a")).type == FileType::directory);
    const NodeInfo info = must(folder->stat("b"));
    CHECK(info.type == FileType::regular);
    CHECK(info.size == 4);
    CHECK(info.mode == 0600);
    CHECK(text_of("b") == "text");
    CHECK(must(must(folder->open_folder("a"))->names()) == std::vector<std::string>{"deep"});
    CHECK(must(inner->info()).inode == must(folder->stat("a")).inode);
    CHECK(must(must(folder->open_file("b")).file->size()) == 4);
  }

  TEST_CASE_FIXTURE(Opened, "folders: a name is one part, whatever else it looks like") {
    const std::vector<std::string> names{"", ".", "..", "a/b", "../a", "/a", std::string("a\0b", 3)};
    for (const auto& name : names) {
      INFO(name);
      CHECK(kind_of(folder->stat(name)) == ErrorKind::usage);
      CHECK(kind_of(folder->open_file(name)) == ErrorKind::usage);
      CHECK(kind_of(folder->open_folder(name)) == ErrorKind::usage);
      CHECK(kind_of(folder->make_file(name)) == ErrorKind::usage);
      CHECK(kind_of(folder->make_folder(name)) == ErrorKind::usage);
      CHECK(kind_of(folder->make_link(name, "b")) == ErrorKind::usage);
      CHECK(kind_of(folder->remove(name)) == ErrorKind::usage);
      CHECK(kind_of(folder->rename(name, *folder, "b", Folder::Rename::to_free_name)) == ErrorKind::usage);
      CHECK(kind_of(folder->rename("b", *folder, name, Folder::Rename::to_free_name)) == ErrorKind::usage);
      CHECK(kind_of(folder->add_name("b", *folder, name)) == ErrorKind::usage);
    }
    CHECK(must(folder->names()).empty());
  }

  TEST_CASE_FIXTURE(Opened, "folders: what is not there is not found, what is taken or of another type a conflict") {
    write("file", "text");
    must(folder->make_folder("inner"));
    CHECK(kind_of(folders.open(directory / "gone")) == ErrorKind::not_found);
    CHECK(kind_of(folder->open_file("gone")) == ErrorKind::not_found);
    CHECK(kind_of(folder->remove("gone")) == ErrorKind::not_found);
    CHECK(kind_of(folder->make_file("file")) == ErrorKind::conflict);
    CHECK(kind_of(folder->make_folder("inner")) == ErrorKind::conflict);
    CHECK(kind_of(folder->open_file("inner")) == ErrorKind::conflict);
    CHECK(kind_of(folder->open_folder("file")) == ErrorKind::conflict);
    const Error error = refused(folder->make_file("file"));
    CHECK(contains(error.context, directory / "file"));
  }

  TEST_CASE_FIXTURE(Opened, "folders: a rename takes a free name only, also in another folder") {
    write("a", "a");
    write("b", "b");
    auto inner = must(folder->make_folder("inner"));
    CHECK(kind_of(folder->rename("a", *folder, "b", Folder::Rename::to_free_name)) == ErrorKind::conflict);
    CHECK(text_of("b") == "b");
    must(folder->rename("a", *inner, "c", Folder::Rename::to_free_name));
    CHECK(kind_of(folder->stat("a")) == ErrorKind::not_found);
    CHECK(must(inner->stat("c")).size == 1);
    inner.reset();
    must(folder->rename("inner", *folder, "moved", Folder::Rename::to_free_name));
    CHECK(must(must(folder->open_folder("moved"))->names()) == std::vector<std::string>{"c"});
    must(must(folder->open_folder("moved"))->rename("c", *folder, "back", Folder::Rename::to_free_name));
    CHECK(text_of("back") == "a");
  }

  TEST_CASE_FIXTURE(Opened, "folders: names change places, or the system says that they can't") {
    write("a", "a");
    write("b", "b");
    const auto changed = folder->rename("a", *folder, "b", Folder::Rename::exchange);
    if (!changed) CHECK(changed.error().kind == ErrorKind::usage);
    CHECK(text_of("a") == (changed ? "b" : "a"));
    CHECK(text_of("b") == (changed ? "a" : "b"));
  }

  TEST_CASE_FIXTURE(Opened, "folders: a second name is the same file, and never replaces") {
    write("a", "a");
    write("b", "b");
    auto inner = must(folder->make_folder("inner"));
    must(folder->add_name("a", *inner, "again"));
    CHECK(must(inner->stat("again")).inode == must(folder->stat("a")).inode);
    CHECK(kind_of(folder->add_name("a", *folder, "b")) == ErrorKind::conflict);
    must(folder->remove("a"));
    CHECK(must(inner->stat("again")).size == 1);
  }

  TEST_CASE_FIXTURE(Opened, "folders: time and mode are as they were set, and a change moves the time of change") {
    write("f", "text");
    constexpr int64_t kThen = 1'500'000'000'123'456'700;
    set("f", 0400, kThen);
    const NodeInfo info = must(folder->stat("f"));
    CHECK(info.mtime_ns == kThen);
    CHECK(info.mode == 0400);
    CHECK(info.ctime_ns > kThen);
    set("f", 0600, -1'000'000'000);
    CHECK(must(folder->stat("f")).mode == 0600);
    CHECK(must(folder->stat("f")).mtime_ns == -1'000'000'000);
    must(folder->make_folder("inner"));
    set("inner", 0700, kThen);
    CHECK(must(folder->stat("inner")).mtime_ns == kThen);
    CHECK(must(folder->stat("inner")).mode == 0700);
  }

  TEST_CASE_FIXTURE(Opened, "folders: a file, and an empty folder, are removed, also what is read-only") {
    write("f", "text");
    set("f", 0400, 0);
    must(folder->remove("f"));
    auto inner = must(folder->make_folder("inner"));
    must(inner->make_file("x"));
    CHECK(kind_of(folder->remove("inner")) == ErrorKind::conflict);
    inner.reset();  // a name that is open may stay as long as that
    must(remove_tree(*folder, "inner"));
    CHECK(must(folder->names()).empty());
    must(folder->sync());
    must(folder->sync_all());
  }
}
