// Uploads in parts that break, and go on.
#include <doctest/doctest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "s3/behind_proxy.h"
#include "support/faulty_upload_journal.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;
using Kind = Fault::Kind;

namespace {

constexpr uint64_t kPart = 5 << 20;

struct Large : BehindProxy {
  Bytes bytes;
  BytesSource source;
  MemoryUploadJournal journal;

  explicit Large(uint64_t parts) : bytes(make(parts)), source(bytes) { must(this->put("first", "x")); }
  static Bytes make(uint64_t parts) {
    Bytes out((parts - 1) * kPart + 1000);
    SeededRandom(parts).fill(out);
    return out;
  }
  Result<void> upload(const std::string& key = "k") { return store->put_resumable(key, source, journal); }
  uint64_t part_bytes() const {
    uint64_t sum = 0;
    for (const auto& request : proxy.requests())
      if (request.is_part()) sum += request.body_bytes;
    return sum;
  }
  void check_whole(const std::string& key = "k") {
    CHECK(must(read_object(*store, key, 64 << 20)) == bytes);
    CHECK(must(journal.list("")).empty());
    CHECK(proxy.overwritten().empty());
  }
};

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE(
    "s3 upload: after a break and a restart only what is missing is sent, by ListParts in pages and the journal") {
  Large s(4);
  s.options.parts_a_page = 1;
  s.options.under_way_max = kPart;  // one at a time: it is certain which are through
  s.reopen();
  s.proxy.add(Fault::error(500, "InternalError").on("PUT", "partNumber=3"));
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  CHECK(must(s.journal.load("k"))->parts.size() == 2);
  s.reopen();
  s.proxy.forget_requests();
  must(s.upload());
  CHECK(s.part_bytes() == s.bytes.size() - 2 * kPart);
  CHECK(s.proxy.count("GET", "max-parts=1") >= 2);
  s.check_whole();
}

TEST_CASE("s3 upload: a part that the journal does not know, or whose bytes changed since, is sent again") {
  Large s(3);
  FaultyUploadJournal forgetful(s.journal);
  forgetful.forget_parts(true);
  s.proxy.add(Fault::error(500, "InternalError").on("POST", "uploadId="));
  CHECK(kind_of(s.store->put_resumable("k", s.source, forgetful)) == ErrorKind::transient);
  s.proxy.forget_requests();
  s.proxy.add(Fault::error(500, "InternalError").on("POST", "uploadId="));
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  CHECK(s.part_bytes() == s.bytes.size());
  s.bytes[kPart + 7] ^= 1;
  s.proxy.forget_requests();
  must(s.upload());
  CHECK(s.part_bytes() == kPart);
  s.check_whole();
}

TEST_CASE("s3 upload: Complete that fails, fails inside a 200, or whose answer is lost, is told from what HEAD shows") {
  Large s(2);
  auto inside = Fault::error(200, "InternalError").on("POST", "uploadId=");
  s.proxy.add(inside);
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  s.proxy.add(Fault::error(503, "SlowDown").on("POST", "uploadId="));
  CHECK(kind_of(s.upload()) == ErrorKind::throttled);
  s.proxy.add(Fault::error(200, "").on("POST", "uploadId="));
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  s.proxy.forget_requests();
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "POST", .target = "uploadId="});
  must(s.upload());
  CHECK(s.part_bytes() == 0);
  s.check_whole();
  // It was carried out, and the HEAD after it was lost as well: known from the journal's token.
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "POST", .target = "uploadId="});
  s.proxy.add(Fault::error(500, "").on("HEAD").letting(1).so_often(2));
  CHECK(kind_of(s.upload("other")) == ErrorKind::transient);
  s.proxy.clear_faults();
  s.reopen();
  s.proxy.forget_requests();
  must(s.upload("other"));
  CHECK(s.part_bytes() == 0);
  s.check_whole("other");
}

TEST_CASE("s3 upload: an object that HEAD shows and no listing does is completed once more") {
  Large s(2);
  // Twice: on a connection that was kept the client tries again by itself.
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "POST", .target = "uploadId=", .times = 2});
  s.proxy.add(Fault::nothing_listed());
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  CHECK(must(s.journal.load("k")));
  s.proxy.clear_faults();
  s.reopen();
  s.proxy.add(Fault::nothing_listed());
  s.proxy.forget_requests();
  must(s.upload());
  CHECK(s.proxy.count("POST", "uploadId=") == 1);
  CHECK(s.part_bytes() == 0);
  s.check_whole();
  // A key that may not list can't know.
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "POST", .target = "uploadId=", .times = 2});
  s.proxy.add(Fault::error(403, "AccessDenied").on("GET", "list-type=2"));
  must(s.upload("other"));
  s.check_whole("other");
}

TEST_CASE("s3 put: the same bytes that HEAD shows and no listing does are put again, where create-only does not work") {
  BehindProxy s;
  must(s.put("first", "x"));  // it is known what the server can do
  const size_t again = S3Server::running().is_ceph() ? 0 : 1;
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "PUT", .target = "/k", .times = 2});
  CHECK(kind_of(s.put("k", "bytes")) == ErrorKind::transient);
  s.proxy.clear_faults();
  s.proxy.add(Fault::nothing_listed());
  s.proxy.forget_requests();
  must(s.put("k", "bytes"));
  CHECK(s.proxy.count("GET", "list-type=2") == again);
  CHECK(s.proxy.count("PUT", "/k") == 1);
  // By another process, which can't know the token. On Swift the first of both puts tells that create-only does not
  // work.
  if (again == 1) {
    s.reopen();
    s.proxy.add(Fault::nothing_listed().so_often(2));
    s.proxy.forget_requests();
    must(s.put("k", "bytes"));
    CHECK(s.proxy.count("PUT", "/k") == 2);
  }
  s.proxy.clear_faults();
  CHECK(kind_of(s.put("k", "bytes")) == ErrorKind::conflict);
  CHECK(kind_of(s.put("k", "other")) == ErrorKind::conflict);
  CHECK(s.get("k") == "bytes");
  CHECK(s.proxy.overwritten().empty());
}

TEST_CASE("s3 upload: one that the server gave up begins anew, one that another won is a conflict and leaves nothing") {
  Large s(2);
  s.proxy.add(Fault::error(500, "InternalError").on("POST", "uploadId="));
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  MemoryUploadJournal copy;
  must(copy.begin(*must(s.journal.load("k"))));
  must(s.store->abandon("k", copy));  // behind the journal's back
  must(s.upload());
  s.check_whole();

  s.proxy.add(Fault::error(500, "InternalError").on("POST", "uploadId="));
  CHECK(kind_of(s.upload("other")) == ErrorKind::transient);
  must(s.put("other", "another's"));
  CHECK(kind_of(s.upload("other")) == ErrorKind::conflict);
  CHECK(s.get("other") == "another's");
  CHECK(must(s.journal.list("")).empty());
  CHECK(s.proxy.overwritten().empty());
}

TEST_CASE("s3 upload: a corrupted part is sent once more, a throttled one halves the parts at a time") {
  Large s(4);
  s.proxy.add(Fault{.kind = Kind::corrupt_body, .method = "PUT", .target = "partNumber=2"});
  must(s.upload());
  CHECK(s.part_bytes() == s.bytes.size() + kPart);
  s.check_whole();
  s.proxy.add(Fault{.kind = Kind::corrupt_body, .method = "PUT", .target = "partNumber=2", .times = 2});
  CHECK(kind_of(s.upload("twice")) == ErrorKind::corrupt);
  CHECK(kind_of(s.store->head("twice")) == ErrorKind::not_found);
  s.proxy.add(Fault::error(503, "SlowDown").on("PUT", "partNumber=1"));
  CHECK(kind_of(s.upload("slow")) == ErrorKind::throttled);
  must(s.upload("slow"));
}

TEST_CASE("s3 upload: a connection that dies within a part costs that part") {
  Large s(3);
  s.options.under_way_max = kPart;
  s.reopen();
  s.proxy.add(Fault{.kind = Kind::drop, .method = "PUT", .target = "partNumber=2", .times = 9, .at_byte = 1 << 20});
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  s.proxy.clear_faults();
  s.proxy.forget_requests();
  must(s.upload());
  CHECK(s.part_bytes() == s.bytes.size() - kPart);
  s.check_whole();
}

TEST_CASE("s3 upload: its source is read in small pieces, for the digest and for the connection, and no part is held") {
  struct Counted : BytesSource {
    using BytesSource::BytesSource;
    std::atomic<uint64_t> bytes = 0, most = 0;
    Result<size_t> read(uint64_t offset, MutableBytes out) override {
      bytes += out.size();
      most = std::max<uint64_t>(most, out.size());
      return BytesSource::read(offset, out);
    }
  };
  Large s(3);
  Counted source(s.bytes);
  must(s.store->put_resumable("k", source, s.journal));
  s.check_whole();
  CHECK(source.most <= (64 << 10));
  CHECK(source.bytes == 2 * s.bytes.size());
}

TEST_CASE("s3 upload: bytes that changed after they were signed never arrive whole, of a part or of a small object") {
  Large s(2);
  // The very last byte, from its second reading on.
  struct Changing : BytesSource {
    using BytesSource::BytesSource;
    std::atomic<int> readings = 0;
    Result<size_t> read(uint64_t offset, MutableBytes out) override {
      auto got = BytesSource::read(offset, out);
      if (got && offset + *got == size() && ++readings > 1) out[*got - 1] ^= 1;
      return got;
    }
  };
  const Bytes small(10'000, 7);
  for (const ByteView bytes : {ByteView(s.bytes), ByteView(small)}) {
    const std::string key = "changing/" + std::to_string(bytes.size());
    s.proxy.forget_requests();
    Changing source(bytes);
    const auto error = refused(s.store->put_resumable(key, source, s.journal));
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, key));
    CHECK(contains(error.context, "gives other bytes"));
    // The first part of both, if there are two, and of the last not all.
    uint64_t whole = 0;
    for (const auto& request : s.proxy.requests())
      if (request.method == "PUT" && request.is_passed_on) whole += request.body_bytes;
    CHECK(whole == (bytes.size() > kPart ? kPart : 0));
    CHECK(kind_of(s.store->head(key)) == ErrorKind::not_found);
    // What it is now is what goes up: what was there has to be the same again, and is.
    BytesSource steady(bytes);
    must(s.store->put_resumable(key, steady, s.journal));
    CHECK(must(read_object(*s.store, key, 64 << 20)) == Bytes(bytes.begin(), bytes.end()));
  }
  CHECK(must(s.journal.list("")).empty());
  CHECK(s.proxy.overwritten().empty());
}

TEST_CASE("s3 upload: one whose begin nobody could write down is given up before the next, by exactly its key") {
  Large s(2);
  // As a kill between the store's answer and the journal leaves it. Twice: on a connection that was kept the client
  // tries again by itself.
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "POST", .target = "uploads=", .times = 2});
  CHECK(kind_of(s.upload()) == ErrorKind::transient);
  CHECK(must(s.journal.load("k"))->id.empty());
  s.proxy.add(Fault::error(500, "InternalError").on("POST", "uploadId="));
  CHECK(kind_of(s.upload("k2")) == ErrorKind::transient);  // of another key that begins alike: it stays
  CHECK(unfinished_on_the_server(s.options) >= 2);
  s.reopen();
  must(s.upload());
  CHECK(unfinished_on_the_server(s.options) == 1);
  s.proxy.forget_requests();
  must(s.upload("k2"));
  CHECK(s.part_bytes() == 0);
  CHECK(unfinished_on_the_server(s.options) == 0);
  s.check_whole();
  s.check_whole("k2");
  // A key that may not look for them goes on.
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "POST", .target = "uploads=", .times = 2});
  CHECK(kind_of(s.upload("other")) == ErrorKind::transient);
  s.proxy.add(Fault::error(403, "AccessDenied").on("GET", "uploads="));
  must(s.upload("other"));
  s.check_whole("other");
}

TEST_CASE("s3 upload: what was begun long ago is given up, by the journal and by nothing else") {
  Large s(2);
  s.proxy.add(Fault::error(500, "InternalError").on("POST", "uploadId=").so_often(2));
  CHECK(kind_of(s.upload("old/k")) == ErrorKind::transient);
  CHECK(kind_of(s.upload("other")) == ErrorKind::transient);
  const auto upload = *must(s.journal.load("old/k"));
  must(s.store->abandon_unfinished("old/", upload.began_at, s.journal));
  CHECK(must(s.journal.list("")).size() == 2);
  must(s.store->abandon_unfinished("old/", upload.began_at + 1ms, s.journal));
  CHECK(must(s.journal.list("")).size() == 1);
  CHECK(s.proxy.count("DELETE", "uploadId=") == 1);
  CHECK(s.proxy.count("GET", "uploads") == 0);
}

TEST_CASE("s3 upload: two at once share what may be under way") {
  Large s(3);
  s.options.under_way_max = 2 * kPart;
  s.reopen();
  std::mutex mutex;
  std::condition_variable changed;
  int begun = 0, most = 0;
  Fault counted{.kind = Kind::call, .method = "PUT", .target = "partNumber=", .times = 100, .at_byte = 1};
  counted.then = [&] {
    std::unique_lock lock(mutex);
    const int which = ++begun;
    const auto requests = s.proxy.requests();
    const auto ended = std::count_if(requests.begin(), requests.end(), [](auto& r) { return r.is_part(); });
    most = std::max(most, begun - static_cast<int>(ended));
    changed.notify_all();
    // The first goes alone: how many at a time is found out from one on. The second waits for a third.
    while (s.proxy.count("POST", "uploads=") < 2 || (which == 2 && begun < 3)) changed.wait_for(lock, 10ms);
  };
  s.proxy.add(std::move(counted));
  BytesSource second(s.bytes);
  MemoryUploadJournal second_journal;
  std::thread other([&] { must(s.store->put_resumable("other", second, second_journal)); });
  must(s.upload());
  other.join();
  CHECK(begun == 6);
  CHECK(most == 2);
  s.check_whole();
  s.check_whole("other");
}

TEST_CASE("s3 upload: a small object that is put goes before the parts of a large one") {
  Large s(3);
  // Slower than loopback by far: whatever moves, moves by the limit.
  s.store->set_upload_limit(1 << 20);
  constexpr uint64_t kSmall = 512 << 10;
  std::atomic<uint64_t> large_sent = 0;
  std::atomic<bool> is_enough = false;
  std::thread large([&] {
    (void)s.store->put_resumable("k", s.source, s.journal, [&](uint64_t sent) {
      large_sent = sent;
      return !is_enough;
    });
  });
  while (large_sent < (256 << 10)) std::this_thread::yield();
  const Bytes bytes(kSmall, 7);
  BytesSource small(bytes);
  std::optional<uint64_t> before;
  const auto put = s.store->put("small", small, [&](uint64_t sent) {
    if (sent > 0 && !before) before = large_sent;
    return true;
  });
  const uint64_t after = large_sent;
  is_enough = true;
  large.join();
  must(put);
  REQUIRE(before);
  // Turn by turn it would be about as much as the small one. What was under way already is told a tenth of a second
  // later.
  CAPTURE(after - *before);
  CHECK(after - *before < kSmall / 2);
}

TEST_SUITE_END();
