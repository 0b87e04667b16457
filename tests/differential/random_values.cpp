// The values of the random application: every storage class, sizes around every border.
#include "differential/random_database.h"

#include <iterator>

namespace tillsync::test {

namespace {
std::string one_of(SeededRandom& random, std::initializer_list<const char*> all) {
  return all.begin()[random.below(all.size())];
}
}  // namespace

std::string RandomDatabase::file_pragmas(SeededRandom& random) {
  return "PRAGMA page_size=" +
         one_of(random, {"512", "512", "512", "512", "1024", "1024", "1024", "1024", "1024", "2048", "2048", "4096",
                         "4096", "4096", "8192", "16384", "32768", "65536"}) +
         "; PRAGMA encoding='" + one_of(random, {"UTF-8", "UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be"}) +
         "'; PRAGMA auto_vacuum=" + one_of(random, {"NONE", "NONE", "FULL", "INCREMENTAL"}) + "; PRAGMA journal_mode=" +
         one_of(random, {"WAL", "WAL", "WAL", "WAL", "WAL", "WAL", "WAL", "DELETE", "PERSIST", "TRUNCATE"}) + ";";
}

std::string RandomDatabase::connection_pragmas(SeededRandom& random) {
  return "PRAGMA synchronous=OFF; PRAGMA secure_delete=" + one_of(random, {"OFF", "ON", "FAST"}) +
         "; PRAGMA foreign_keys=" + one_of(random, {"ON", "OFF"}) +
         // A small cache spills frames before the commit.
         "; PRAGMA cache_size=" + one_of(random, {"10", "2000"}) +
         "; PRAGMA wal_autocheckpoint=" + one_of(random, {"0", "20", "1000"}) + ";";
}

std::string RandomDatabase::bytes(uint64_t size) {
  Bytes raw(size);
  random_.fill(raw);
  return "x'" + to_hex(raw) + "'";
}

std::string RandomDatabase::integer() {
  static const char* borders[] = {"0",
                                  "1",
                                  "-1",
                                  "127",
                                  "128",
                                  "-128",
                                  "-129",
                                  "32767",
                                  "32768",
                                  "-32769",
                                  "8388607",
                                  "8388608",
                                  "-8388609",
                                  "2147483647",
                                  "2147483648",
                                  "-2147483649",
                                  "140737488355327",
                                  "140737488355328",
                                  "-140737488355329",
                                  "9223372036854775807",
                                  "-9223372036854775807-1"};
  return one_in(3) ? borders[below(std::size(borders))] : std::to_string(below(200));
}

std::string RandomDatabase::value() {
  static const uint64_t sizes[] = {0, 1, 7, 30, 120, 450, 450, 1100, 5000};
  switch (below(14)) {
    case 0: return "NULL";
    case 1:
    case 2:
    case 3: return integer();
    case 4: return std::to_string(below(1000)) + "." + std::to_string(below(100));
    case 5: {
      static const char* odd[] = {"9e999", "-9e999", "9e999-9e999", "0.0",
                                  "-0.0",  "3.0",    "1e300",       "4611686018427387904.0"};
      return odd[below(std::size(odd))];
    }
    case 6:
    case 7: return "'k" + std::to_string(below(120)) + "'";
    case 8: return "'" + std::string(sizes[below(std::size(sizes))], static_cast<char>('a' + below(26))) + "'";
    case 9: {
      static const char* odd[] = {"''",
                                  "'12'",
                                  "' 5 '",
                                  "'1e3'",
                                  "'0x10'",
                                  "'Äpfel €'",
                                  "'A'",
                                  "'a'",
                                  "'a  '",
                                  "CAST(x'ff4180' AS TEXT)",
                                  "CAST(x'00d841' AS TEXT)",
                                  "x''",
                                  "'x' || char(0) || 'y'"};
      return odd[below(std::size(odd))];
    }
    case 10: return "zeroblob(" + std::to_string(sizes[below(std::size(sizes))]) + ")";
    case 11: return one_in(200) ? bytes(100000) : bytes(sizes[below(std::size(sizes))]);
    default: return bytes(sizes[below(5)]);
  }
}

}  // namespace tillsync::test
