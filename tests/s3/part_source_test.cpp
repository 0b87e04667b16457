#include "store/s3/part_source.h"

#include <doctest/doctest.h>

#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::s3;
using namespace tillsync::test;

namespace {

constexpr uint64_t kSize = 300'000, kOffset = 1000, kPart = 200'001;

struct Part {
  Bytes bytes = [] {
    Bytes out(kSize);
    SeededRandom(3).fill(out);
    return out;
  }();
  BytesSource source{bytes};
  SharedSource shared{source};
  Digest signed_as = must(digests_of(shared, kOffset, kPart)).sha256;
  PartBody body{shared, kOffset, kPart, signed_as};

  ByteView wanted() const { return ByteView(bytes).subspan(kOffset, kPart); }
  // As a connection does; so many bytes came before it ended.
  Bytes take(PartBody& from, uint64_t most = kPart) {
    from.rewind();
    Bytes out, piece(16'384);
    while (out.size() < std::min<uint64_t>(most, from.size())) {
      const MutableBytes room = MutableBytes(piece).first(std::min<uint64_t>(piece.size(), from.size() - out.size()));
      if (!from.next(room)) break;
      append(out, room);
    }
    return out;
  }
};

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 part: its digests are those of its bytes, and of nothing beside them") {
  Part p;
  CHECK(p.signed_as == sha256(p.wanted()));
  CHECK(must(digests_of(p.shared, kOffset, kPart)).md5 == content_md5(p.wanted()));
  // RFC 1321.
  CHECK(content_md5(as_bytes("abc")) == "kAFQmDzST7DWlj99KOF/cg==");
  CHECK(must(digests_of(p.shared, kSize, 0)).sha256 == sha256({}));
  const auto error = refused(digests_of(p.shared, kSize - 10, 11));
  CHECK(error.kind == ErrorKind::corrupt);
  CHECK(contains(error.context, "the source ends after 300000 of 300000 bytes"));
}

TEST_CASE("s3 part: a body gives its bytes, and all of them again after each start") {
  Part p;
  CHECK(equal(p.take(p.body), p.wanted()));
  CHECK(p.take(p.body, 100'000).size() < kPart);
  CHECK(equal(p.take(p.body), p.wanted()));
  must(p.body.outcome());
}

TEST_CASE("s3 part: where other bytes come than were signed the last ones are kept back, also when it starts again") {
  for (const uint64_t at : {uint64_t{0}, kPart / 2, kPart - 1}) {
    CAPTURE(at);
    Part p;
    p.bytes[kOffset + at] ^= 1;
    CHECK(p.take(p.body).size() < kPart);
    const auto error = refused(p.body.outcome());
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, "other bytes from 1000 to 201001"));
    p.bytes[kOffset + at] ^= 1;
    CHECK(p.take(p.body).empty());
    // What changed beside it is nothing to it.
    PartBody again(p.shared, kOffset, kPart, p.signed_as);
    p.bytes[kOffset - 1] ^= 1;
    p.bytes[kOffset + kPart] ^= 1;
    CHECK(equal(p.take(again), p.wanted()));
    must(again.outcome());
  }
}

TEST_CASE("s3 part: a source that fails or throws while it is sent ends the request, and is heard by the caller") {
  struct Broken : BytesSource {
    using BytesSource::BytesSource;
    bool throws = false;
    Result<size_t> read(uint64_t offset, MutableBytes out) override {
      if (offset + out.size() <= kOffset + kPart / 2) return BytesSource::read(offset, out);
      if (throws) throw std::runtime_error("a bug");
      return Error{ErrorKind::no_space, 5, "spool"};
    }
  };
  Part p;
  Broken broken(p.bytes);
  SharedSource shared(broken);
  PartBody body(shared, kOffset, kPart, p.signed_as);
  CHECK(p.take(body).size() < kPart);
  CHECK(refused(body.outcome()).kind == ErrorKind::no_space);
  broken.throws = true;
  PartBody throwing(shared, kOffset, kPart, p.signed_as);
  CHECK(p.take(throwing).size() < kPart);
  CHECK_THROWS_WITH(throwing.outcome(), "a bug");
}

TEST_SUITE_END();
