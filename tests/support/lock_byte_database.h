// A database with rows on both sides of the page that SQLite never uses, the one at offset 2^30, made in a moment: what
// lies between is a freelist over a hole in the file.
#pragma once

#include "platform/this_system.h"
#include "sqlite/connection.h"
#include "support/log_bytes.h"

namespace tillsync::test {

constexpr uint64_t kLockByte = uint64_t{1} << 30;

// Tables low(id, v) and high(id, v): the rows of high lie behind the page, on it would be its first one. In WAL mode.
inline void make_lock_byte_database(const std::string& path, uint32_t page_size) {
  const auto lock_page = static_cast<uint32_t>(kLockByte / page_size + 1);
  auto open = [&] { return must(Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)); };
  uint32_t first_free = 0;
  {
    auto made = open();
    must(made.execute("PRAGMA page_size=" + std::to_string(page_size) +
                      "; CREATE TABLE low(id INTEGER PRIMARY KEY, v); CREATE TABLE high(id INTEGER PRIMARY KEY, v);"
                      "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<50) INSERT INTO low SELECT "
                      "n, zeroblob(n*97) FROM g"));
    first_free = static_cast<uint32_t>(must(made.query_integer("PRAGMA page_count"))) + 1;
  }
  const uint32_t last_free = lock_page - 3;
  const auto file = must(SystemFiles().open(path, OpenMode::read_write));
  auto write_at = [&](uint64_t offset, const Bytes& bytes) { must(file->write(offset, bytes)); };
  auto number = [](uint32_t value) {
    Bytes bytes(4);
    put_be32(bytes.data(), value);
    return bytes;
  };
  must(file->truncate(uint64_t{last_free} * page_size));
  write_at(28, number(last_free));
  {
    // Whatever is new now comes at the end, over the page in question.
    auto grown = open();
    must(grown.execute(
        "PRAGMA synchronous=OFF; WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<400) INSERT INTO "
        "high SELECT n, zeroblob(" +
        std::to_string(page_size / 20) + ") FROM g"));
    REQUIRE(must(grown.query_integer("PRAGMA page_count")) > lock_page + 3);
  }
  const uint32_t leaves_max = page_size / 4 - 8;
  uint32_t count = 0, trunk = first_free;
  for (uint32_t page = first_free; page <= last_free;) {
    trunk = page++;
    const uint32_t leaves = std::min(leaves_max, last_free - page + 1);
    const uint32_t next = page + leaves;
    Bytes content = number(next <= last_free ? next : 0);
    append(content, number(leaves));
    for (uint32_t i = 0; i < leaves; i++) append(content, number(page++));
    write_at(uint64_t{trunk - 1} * page_size, content);
    count += leaves + 1;
  }
  write_at(32, number(first_free));
  write_at(36, number(count));
  auto ready = open();
  REQUIRE(must(ready.query_text("PRAGMA quick_check")) == "ok");
  REQUIRE(must(ready.query_text("PRAGMA journal_mode=WAL")) == "wal");
}

}  // namespace tillsync::test
