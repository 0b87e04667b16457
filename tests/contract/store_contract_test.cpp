// The contract over the stores that need no server; tests/s3 has it over those that do.
#include <doctest/doctest.h>

#include "platform/this_system.h"
#include "store/directory_store.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/temporary_directory.h"

namespace tillsync::test {
struct DirectoryOnDisk {
  TemporaryDirectory folder;
  SystemFiles files;
  SeededRandom random{1};
  DirectoryStore store{files, random, folder.path()};
};
struct DirectoryInMemory {
  MemoryFileSystem files;
  SeededRandom random{1};
  DirectoryStore store{files, random, "/store/"};
  DirectoryInMemory() { files.add_directory("/store"); }
};
struct InMemory {
  MemoryObjectStore store;
};

}  // namespace tillsync::test

using tillsync::test::DirectoryInMemory, tillsync::test::DirectoryOnDisk, tillsync::test::InMemory;
TYPE_TO_STRING(DirectoryOnDisk);
TYPE_TO_STRING(DirectoryInMemory);
TYPE_TO_STRING(InMemory);
#define STORES DirectoryOnDisk, DirectoryInMemory, InMemory

#include "contract/object_store_contract.h"
