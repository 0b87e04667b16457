#include "dbfile/page.h"

namespace tillsync {

Result<DatabaseHeader> DatabaseHeader::parse(ByteView page) {
  auto bad = [](const char* why) { return Error{ErrorKind::corrupt, 0, why}; };
  if (page.size() < 100) return bad("shorter than an SQLite header (100 bytes)");
  if (std::memcmp(page.data(), "SQLite format 3\0", 16) != 0)
    return bad("not an SQLite database: it does not begin with 'SQLite format 3' (another kind of file, or encrypted)");
  const uint8_t* p = page.data();
  DatabaseHeader h;
  h.page_size = be16(p + 16) == 1 ? 65536 : be16(p + 16);
  if (h.page_size < 512 || (h.page_size & (h.page_size - 1))) return bad("database header: impossible page size");
  h.usable = h.page_size - p[20];
  if (h.usable < kUsableMin) return bad("database header: more reserved bytes than a page can spare");
  h.wal_mode = p[18] == 2 || p[19] == 2;
  h.change_counter = be32(p + 24);
  h.page_count = be32(p + 28);
  h.first_freelist_trunk = be32(p + 32);
  h.freelist_count = be32(p + 36);
  h.schema_cookie = be32(p + 40);
  h.text_encoding = be32(p + 56);
  if (h.text_encoding == 0) h.text_encoding = 1;  // a database without a table yet
  if (h.text_encoding > 3) return bad("database header: unknown text encoding");
  h.user_version = be32(p + 60);
  h.sqlite_version = be32(p + 96);
  return h;
}

std::string sqlite_version_text(uint32_t number) {
  return std::to_string(number / 1000000) + "." + std::to_string(number / 1000 % 1000) + "." +
         std::to_string(number % 1000);
}

}  // namespace tillsync
