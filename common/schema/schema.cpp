#include "schema/schema.h"

#include <algorithm>

#include "crypto/hash.h"

namespace tillsync {

int Table::field_of(int column) const {
  for (size_t i = 0; i < record_columns.size(); i++)
    if (record_columns[i] == column) return static_cast<int>(i);
  return -1;
}

int Table::column_named(std::string_view column) const {
  auto same = [](std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
      auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
      return lower(x) == lower(y);
    });
  };
  for (size_t i = 0; i < columns.size(); i++)
    if (same(columns[i].name, column)) return static_cast<int>(i);
  return -1;
}

const Table* Schema::find(std::string_view name) const {
  for (auto& table : tables)
    if (table.name == name) return &table;
  return nullptr;
}

Bytes Schema::encode() const {
  Bytes out;
  ByteWriter w(out);
  w.u8(static_cast<uint8_t>(text_encoding));
  w.uvar(objects.size());
  for (auto& o : objects) {
    w.sized(o.type);
    w.sized(o.name);
    w.sized(o.table_name);
    w.uvar(o.root);
    w.u8(o.sql ? 1 : 0);
    if (o.sql) w.sized(*o.sql);
  }
  return out;
}

Result<Schema> Schema::decode(ByteView bytes) {
  ByteReader r(bytes);
  uint32_t encoding = r.u8();
  uint64_t n = r.uvar();
  std::vector<SchemaObject> objects;
  for (uint64_t i = 0; i < n && r.ok(); i++) {
    SchemaObject o;
    o.type = r.text();
    o.name = r.text();
    o.table_name = r.text();
    o.root = static_cast<PageNo>(r.uvar());
    if (r.u8()) o.sql = r.text();
    objects.push_back(std::move(o));
  }
  if (!r.at_end() || encoding < 1 || encoding > 3) return Error{ErrorKind::corrupt, 0, "a schema that does not parse"};
  return read_schema(std::move(objects), encoding);
}

Digest Schema::digest() const {
  Schema without_roots = *this;
  for (auto& o : without_roots.objects) o.root = 0;
  return sha256(without_roots.encode());
}

std::string text_to_utf8(ByteView text, uint32_t encoding, bool* valid) {
  if (valid) *valid = true;
  std::string out;
  auto put = [&](uint32_t c) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      out.push_back(static_cast<char>(0xc0 | c >> 6));
      out.push_back(static_cast<char>(0x80 | (c & 63)));
    } else if (c < 0x10000) {
      out.push_back(static_cast<char>(0xe0 | c >> 12));
      out.push_back(static_cast<char>(0x80 | (c >> 6 & 63)));
      out.push_back(static_cast<char>(0x80 | (c & 63)));
    } else {
      out.push_back(static_cast<char>(0xf0 | c >> 18));
      out.push_back(static_cast<char>(0x80 | (c >> 12 & 63)));
      out.push_back(static_cast<char>(0x80 | (c >> 6 & 63)));
      out.push_back(static_cast<char>(0x80 | (c & 63)));
    }
  };
  if (encoding != 1) {
    auto unit = [&](size_t i) {
      return static_cast<uint32_t>(encoding == 2 ? text[i] | text[i + 1] << 8 : text[i] << 8 | text[i + 1]);
    };
    for (size_t i = 0; i + 1 < text.size(); i += 2) {
      uint32_t c = unit(i);
      if (c >= 0xd800 && c < 0xdc00 && i + 3 < text.size() && (unit(i + 2) & 0xfc00) == 0xdc00) {
        c = 0x10000 + ((c & 0x3ff) << 10) + (unit(i + 2) & 0x3ff);
        i += 2;
      } else if (c >= 0xd800 && c < 0xe000) {
        c = 0xfffd;
        if (valid) *valid = false;
      }
      put(c);
    }
    if (text.size() % 2 && valid) *valid = false;
    return out;
  }
  if (valid) {
    // RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
    size_t i = 0;
    while (i < text.size() && *valid) {
      uint8_t b = text[i];
      size_t n = b < 0x80 ? 1 : b >= 0xc2 && b < 0xe0 ? 2 : b >= 0xe0 && b < 0xf0 ? 3 : b >= 0xf0 && b < 0xf5 ? 4 : 0;
      if (n == 0 || i + n > text.size()) {
        *valid = false;
        break;
      }
      for (size_t k = 1; k < n; k++)
        if ((text[i + k] & 0xc0) != 0x80) *valid = false;
      if (n == 3 && ((b == 0xe0 && text[i + 1] < 0xa0) || (b == 0xed && text[i + 1] >= 0xa0))) *valid = false;
      if (n == 4 && ((b == 0xf0 && text[i + 1] < 0x90) || (b == 0xf4 && text[i + 1] >= 0x90))) *valid = false;
      i += n;
    }
  }
  return std::string(as_text(text));
}

}  // namespace tillsync
