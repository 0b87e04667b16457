// Keys, words, statements and sealed objects; the worked examples are those of docs/formats.md.
#include <doctest/doctest.h>

#include "actionlog/log_anchor.h"
#include "compression/zstd.h"
#include "crypto/key_files.h"
#include "crypto/sealed_store.h"
#include "crypto/words.h"
#include "ports/object_keys.h"
#include "ports/upload_journal.h"
#include "snapshot/pack_reader.h"
#include "snapshot/pack_writer.h"
#include "support/documented_examples.h"
#include "support/fake_clock.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

Secret filled(uint8_t byte) { return Secret(Bytes(32, byte)); }

// The keys of the examples: signing 11…, recipients 22… (the terminal) and 33… (recovery).
Keys example_keys(uint8_t opener) {
  auto ring = std::make_shared<Keyring>();
  ring->signer = SigningKey(filled(0x11));
  ring->recipients = {SealingKey(filled(0x22)).public_key(), SealingKey(filled(0x33)).public_key()};
  ring->openers = {SealingKey(filled(opener))};
  ring->signers = {ring->signer->public_key()};
  return ring;
}

Lineage example_lineage(uint8_t opener = 0x22) {
  return {Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "till", 3, example_keys(opener)};
}

LogAnchor example_anchor() {
  LogAnchor anchor;
  anchor.first_sequence = 3;
  anchor.last_transaction = 2;
  anchor.last_captured_at = from_ms(1767225600000);
  anchor.pruned_at = from_ms(1775001600000);
  anchor.previous.bytes.fill(0xbb);
  anchor.schema_sequence = 1;
  anchor.schema = {1, 0};
  return anchor;
}

Bytes sealed_pack(const Lineage& lineage, Random& random) {
  Compressor compressor;
  MemoryFileSystem files;
  files.add_directory("/spool");
  auto writer = must(PackWriter::create(files, "/spool", lineage, 512, random));
  Bytes raw(1024, 'A');
  std::fill(raw.begin() + 512, raw.end(), 'B');
  must(writer.add_list(compressor.compress(raw), raw.size(), sha256(raw), {2, 5}));
  return must(read_file(files, must(writer.finish()).path));
}

std::string anchor_key(const Lineage& lineage) {
  return keys::anchor(keys::database_prefix(lineage.terminal, lineage.database, lineage.epoch), 3);
}

// The pack as a reader of ranges sees it, under the name the manifest gives: not what the bytes hash to.
Result<Bytes> read_pack(ByteView object, const Lineage& lineage) {
  MemoryObjectStore store;
  const std::string key = keys::pack("p/", Digest{});
  store.set(key, to_bytes(object));
  TILLSYNC_LET(auto pack, PackReader::open(store, key, lineage, object.size()));
  Bytes all;
  for (uint32_t i = 0; i < pack.index().blocks.size(); i++) {
    TILLSYNC_LET(ByteView raw, pack.block(i));
    append(all, raw);
  }
  return all;
}

}  // namespace

TEST_SUITE("sealing") {
  TEST_CASE("keys: the raw keys and ids in the document are those that are used") {
    CHECK(SigningKey(filled(0x11)).public_key().hex() == example_text("signing-key"));
    CHECK(SealingKey(filled(0x22)).public_key().hex() == example_text("sealing-key"));
    CHECK(SigningKey(filled(0x11)).public_key().id().hex() == example_text("signing-id"));
    CHECK(SealingKey(filled(0x22)).public_key().id().hex() == example_text("sealing-id"));
  }

  TEST_CASE("words: those in the document are those of the key, however they are typed") {
    CountingRandom counting;
    const Secret key = Secret::make(counting);
    const std::string words = to_words(key);
    CHECK(words == example_text("words"));
    CHECK(must(secret_from_words(words)) == key);
    std::string typed;
    size_t number = 0;
    for (size_t at = 0; at < words.size();) {
      const size_t end = std::min(words.find(' ', at), words.size());
      std::string word = words.substr(at, std::min<size_t>(4, end - at));
      word[0] = static_cast<char>(word[0] - 32);
      number++;
      typed += std::to_string(number) + ". " + word + (number % 6 == 0 ? "\n" : "  ");
      at = end + 1;
    }
    CHECK(must(secret_from_words(typed)) == key);
    SeededRandom random(5);
    for (int i = 0; i < 50; i++) {
      const Secret secret = Secret::make(random);
      CHECK(must(secret_from_words(to_words(secret))) == secret);
    }
  }

  TEST_CASE("words: a wrong word, a missing one and two that are swapped are said") {
    CountingRandom counting;
    const std::string words = to_words(Secret::make(counting));
    CHECK(contains(refused(secret_from_words("zebra " + words)).context, "here are 25 words"));
    CHECK(
        contains(refused(secret_from_words("tillsync" + words.substr(words.find(' ')))).context, "word 1, 'tillsync'"));
    const size_t first = words.find(' '), second = words.find(' ', first + 1);
    const std::string swapped = words.substr(first + 1, second - first) + words.substr(0, first) + words.substr(second);
    CHECK(contains(refused(secret_from_words(swapped)).context, "do not belong together"));
    CHECK(kind_of(secret_from_words("")) == ErrorKind::usage);
  }

  TEST_CASE("keys: PEM comes back as the same key, and another kind of key is refused") {
    const SealingKey sealing(filled(0x33));
    const SigningKey signing(filled(0x11));
    CHECK(must(sealing_key_from(to_pem(sealing))).public_key() == sealing.public_key());
    CHECK(must(sealing_key_from(to_words(sealing.secret()))).public_key() == sealing.public_key());
    CHECK(must(signing_key_from_pem(to_pem(signing))).public_key() == signing.public_key());
    CHECK(must(public_sealing_key_from(to_pem(sealing.public_key()))) == sealing.public_key());
    CHECK(must(public_sealing_key_from(to_pem(sealing))) == sealing.public_key());
    CHECK(kind_of(sealing_key_from(to_pem(signing))) == ErrorKind::usage);
    CHECK(kind_of(signing_key_from_pem(to_pem(sealing))) == ErrorKind::usage);
    CHECK(kind_of(sealing_key_from(to_pem(sealing.public_key()))) == ErrorKind::usage);
    CHECK(kind_of(public_sealing_key_from("nonsense")) == ErrorKind::usage);
  }

  TEST_CASE("formats: the sealed anchor in the document is what is written, and both recipients read it") {
    CountingRandom random;
    const Bytes written = example_anchor().encode(example_lineage(), random);
    const Bytes documented = example("sealed-anchor");
    CHECK_MESSAGE(written == documented, shown(written));
    for (uint8_t opener : {0x22, 0x33}) {
      const Lineage lineage = example_lineage(opener);
      const LogAnchor anchor = must(LogAnchor::decode(documented, anchor_key(lineage), lineage));
      CHECK(anchor.first_sequence == 3);
      CHECK(anchor.schema == Bytes{1, 0});
    }
  }

  TEST_CASE("formats: the sealed pack in the document is read as the document says") {
    CountingRandom random;
    const Bytes written = sealed_pack(example_lineage(), random);
    const Bytes documented = example("sealed-pack");
    // How well zstd compresses is its own matter: the document's is read, what is written has its form.
    CHECK_MESSAGE(written.size() / 64 == documented.size() / 64, shown(written));
    CHECK(as_text(must(read_pack(documented, example_lineage(0x33)))) == std::string(512, 'A') + std::string(512, 'B'));
    CHECK(documented[72] == 1);
    CHECK(documented[74] == 1);
    CHECK(le32(documented.data() + 76) == 168);
    CHECK(documented[128] == 2);
  }

  TEST_CASE("sealed objects: any bit that is changed is found") {
    SeededRandom random(7);
    const Lineage lineage = example_lineage();
    const Bytes anchor = example_anchor().encode(lineage, random), pack = sealed_pack(lineage, random);
    for (size_t bit = 0; bit < anchor.size() * 8; bit++) {
      Bytes changed = anchor;
      changed[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      const auto read = LogAnchor::decode(changed, anchor_key(lineage), lineage);
      REQUIRE_MESSAGE(!read, "bit ", bit, " of the anchor");
      REQUIRE(read.error().context.starts_with(anchor_key(lineage)));
    }
    for (size_t bit = 0; bit < pack.size() * 8; bit++) {
      Bytes changed = pack;
      changed[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      // The trailer's SHA-256 is of the whole object, which a reader of ranges does not see; the signature is over it.
      const auto read = read_pack(changed, lineage);
      REQUIRE_MESSAGE(!read, "bit ", bit, " of the pack");
      REQUIRE(contains(read.error().context, ".pack: "));
    }
  }

  TEST_CASE("sealed objects: a block in another place or another object is refused") {
    SeededRandom random(8);
    const Lineage lineage = example_lineage();
    auto two_blocks = [&](uint8_t first, uint8_t second) {
      Compressor compressor;
      MemoryFileSystem files;
      files.add_directory("/spool");
      auto writer = must(PackWriter::create(files, "/spool", lineage, 512, random));
      PageNo number = 1;
      for (const uint8_t byte : {first, second}) {
        const Bytes page(512, byte);
        must(writer.add_list(compressor.compress(page), page.size(), sha256(page), {number++}));
      }
      auto pack = must(writer.finish());
      return std::pair(must(read_file(files, pack.path)), pack.index);
    };
    auto [a, index] = two_blocks('A', 'B');
    auto [b, other] = two_blocks('A', 'B');
    REQUIRE(index.blocks[0].stored_length == index.blocks[1].stored_length);
    const size_t n = index.blocks[0].stored_length, at = index.blocks[0].offset;
    must(read_pack(a, lineage));
    SUBCASE("two blocks of a pack change places") {
      std::swap_ranges(a.begin() + at, a.begin() + at + n, a.begin() + at + n);
      CHECK(kind_of(read_pack(a, lineage)) == ErrorKind::corrupt);
    }
    SUBCASE("a block comes from another pack") {
      std::copy_n(b.begin() + at, n, a.begin() + at);
      CHECK(kind_of(read_pack(a, lineage)) == ErrorKind::corrupt);
    }
    SUBCASE("everything between header and trailer comes from another pack") {
      std::copy(b.begin() + 128, b.end() - 128, a.begin() + 128);
      CHECK(kind_of(read_pack(a, lineage)) == ErrorKind::corrupt);
    }
    SUBCASE("the ciphers alone refuse it, without the checks of the index") {
      auto opener = must(ObjectOpener::open(a, ObjectKind::pack, lineage));
      must(opener.unseal(at, ByteView(a).subspan(at, n)));
      CHECK(kind_of(opener.unseal(at + n, ByteView(a).subspan(at, n))) == ErrorKind::corrupt);
      CHECK(kind_of(opener.unseal(at, ByteView(b).subspan(at, n))) == ErrorKind::corrupt);
    }
  }

  TEST_CASE("sealed objects: another key, another signer, and what is not sealed are refused") {
    SeededRandom random(9);
    const Lineage lineage = example_lineage();
    const std::string key = anchor_key(lineage);
    const Bytes sealed = example_anchor().encode(lineage, random);
    SUBCASE("a key it is not sealed for") {
      const auto read = LogAnchor::decode(sealed, key, example_lineage(0x44));
      CHECK(kind_of(read) == ErrorKind::denied);
      CHECK(contains(read.error().context, "--key"));
    }
    SUBCASE("no key at all") {
      CHECK(kind_of(LogAnchor::decode(sealed, key, {lineage.terminal, "till", 3})) == ErrorKind::denied);
    }
    SUBCASE("sealed for the right keys, and signed by somebody else") {
      auto forged = std::make_shared<Keyring>(*lineage.keys);
      forged->signer = SigningKey(filled(0x55));
      const Bytes object = example_anchor().encode({lineage.terminal, "till", 3, forged}, random);
      const auto read = LogAnchor::decode(object, key, lineage);
      CHECK(kind_of(read) == ErrorKind::corrupt);
      CHECK(contains(read.error().context, "none of this terminal's"));
    }
    SUBCASE("in the clear") {
      const Bytes plain = example_anchor().encode({lineage.terminal, "till", 3}, random);
      const auto read = LogAnchor::decode(plain, key, lineage);
      CHECK(kind_of(read) == ErrorKind::corrupt);
      CHECK(contains(read.error().context, "not sealed"));
    }
  }

  TEST_CASE("sealed objects: equal contents are not equal when they are stored") {
    SeededRandom random(10);
    const Bytes a = sealed_pack(example_lineage(), random), b = sealed_pack(example_lineage(), random);
    CHECK(a.size() == b.size());
    CHECK(a != b);
    const std::string name = sha256(Bytes(512, 'A')).hex();
    CHECK_FALSE(contains(to_hex(a), name));
  }

  TEST_CASE("statements: the one in the document holds, and each follows from the one before it") {
    const Lineage lineage = example_lineage();
    KeyHistory documented;
    must(documented.add(as_bytes(example_text("statement")), "terminal.json", lineage.terminal));
    CHECK(documented.signers().at(0) == SigningKey(filled(0x11)).public_key());
    CHECK(documented.statements().at(0).sealing == SealingKey(filled(0x22)).public_key());

    MemoryFileSystem files;
    files.add_directory("/state");
    FakeClock clock;
    SeededRandom random(3);
    KeyFiles folder(files, "/state/keys", "");
    OwnKeys own = must(folder.load(lineage.terminal));
    CHECK(own.keys.empty());
    for (int i = 0; i < 3; i++) must(folder.add(own, lineage.terminal, "till-3", clock, random));
    const OwnKeys loaded = must(folder.load(lineage.terminal));
    REQUIRE(loaded.keys.size() == 3);
    CHECK(loaded.history.signers() == own.history.signers());
    MemoryObjectStore store;
    CHECK_FALSE(must(read_key_history(store, lineage.terminal)).has_value());
    for (uint64_t n = 1; n <= 3; n++) store.set(statement_key(lineage.terminal, n), loaded.statements[n - 1]);
    CHECK(must(read_key_history(store, lineage.terminal))->signers() == own.history.signers());

    SUBCASE("a changed statement, one of another terminal, and one that another key made") {
      for (uint64_t n = 1; n <= 3; n++) {
        Bytes changed = loaded.statements[n - 1];
        auto at = std::search(changed.begin(), changed.end(), "till-3", "till-3" + 6);
        *at = 'T';
        store.set(statement_key(lineage.terminal, n), changed);
        CHECK(kind_of(read_key_history(store, lineage.terminal)) == ErrorKind::corrupt);
        store.set(statement_key(lineage.terminal, n), loaded.statements[n - 1]);
      }
      KeyHistory other;
      CHECK(kind_of(other.add(loaded.statements[0], "k", database_id(lineage.terminal, "x"))) == ErrorKind::corrupt);
      KeyStatement stolen = loaded.history.statements()[1];
      const SigningKey thief(filled(0x66));
      stolen.signing = thief.public_key();
      store.set(statement_key(lineage.terminal, 2), to_bytes(as_bytes(stolen.encode(thief, &thief))));
      CHECK(contains(refused(read_key_history(store, lineage.terminal)).context, "the key before it"));
    }
    SUBCASE("keys that systemd holds") {
      files.add_directory("/credentials");
      for (const char* what : {"signing.pem", "sealing.pem"})
        must(files.rename("/state/keys/2." + std::string(what), "/credentials/tillsync.2." + std::string(what)));
      CHECK(kind_of(folder.load(lineage.terminal)) == ErrorKind::not_found);
      CHECK(must(KeyFiles(files, "/state/keys", "/credentials").load(lineage.terminal)).keys.size() == 3);
    }
  }

  TEST_CASE("sealed store: statements and a probe come first, and nothing passes that is not sealed") {
    // A store that opens what it is given, as one with a mistaken decorator would.
    struct Transparent : MemoryObjectStore {
      bool opens = false, stopped = false;
      int resumable = 0;
      uint64_t limit = 0;
      Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal&,
                                 const std::function<bool(uint64_t)>& progress) override {
        resumable++;
        return put(key, source, progress);
      }
      void set_upload_limit(uint64_t bytes_per_second) override { limit = bytes_per_second; }
      void stop() override { stopped = true; }
      Result<size_t> read(const std::string& key, uint64_t offset, MutableBytes out) override {
        TILLSYNC_LET(size_t got, MemoryObjectStore::read(key, offset, out));
        const std::string_view text = "tillsync probe: whoever can read this in the store must not go on";
        if (opens && key.find("/probe/") != key.npos && out.size() > text.size()) std::ranges::copy(text, out.begin());
        return got;
      }
    };
    MemoryFileSystem files;
    files.add_directory("/state");
    FakeClock clock;
    SeededRandom random(6);
    const Uuid terminal = example_lineage().terminal;
    OwnKeys own;
    must(KeyFiles(files, "/state/keys", "").add(own, terminal, "till", clock, random));
    const Keys ring = make_keyring(own, {SealingKey(filled(0x33)).public_key()}, false);
    auto inner = std::make_unique<Transparent>();
    Transparent& seen = *inner;
    SealedStore store(std::move(inner), {terminal, ring}, own.statements, random);
    const Lineage lineage{terminal, "till", 3, ring};
    const Bytes sealed = example_anchor().encode(lineage, random),
                plain = example_anchor().encode({terminal, "till", 3}, random);
    BytesSource good(sealed), bad(plain);
    const std::string key = anchor_key(lineage);
    SUBCASE("as it should be") {
      CHECK(kind_of(store.put(key, bad)) == ErrorKind::internal);
      must(store.put(key, good));
      CHECK(seen.content(keys::terminal_json(terminal)) == own.statements[0]);
      CHECK(seen.keys().size() == 3);  // and the probe
    }
    SUBCASE("what a store can do beyond a put is not lost, and guarded as well") {
      MemoryUploadJournal journal;
      CHECK(kind_of(store.put_resumable(key, bad, journal)) == ErrorKind::internal);
      CHECK(seen.resumable == 0);
      must(store.put_resumable(key, good, journal));
      CHECK(seen.resumable == 1);
      store.set_upload_limit(7);
      CHECK(seen.limit == 7);
      store.stop();
      CHECK(seen.stopped);
    }
    SUBCASE("what arrives is not ciphertext") {
      seen.opens = true;
      CHECK(contains(refused(store.put(key, good)).context, "Nothing is sent to this store"));
      CHECK_FALSE(seen.content(key).has_value());
    }
    SUBCASE("another terminal's statement is there") {
      seen.set(keys::terminal_json(terminal), to_bytes(as_bytes("{}")));
      CHECK(kind_of(store.put(key, good)) == ErrorKind::conflict);
      CHECK_FALSE(seen.content(key).has_value());
    }
  }

  TEST_CASE("keyring: after a rotation old objects open with the old keys, new ones are for the new") {
    MemoryFileSystem files;
    files.add_directory("/state");
    FakeClock clock;
    SeededRandom random(4);
    const Uuid terminal = example_lineage().terminal;
    KeyFiles folder(files, "/state/keys", "");
    OwnKeys own;
    must(folder.add(own, terminal, "till", clock, random));
    const SealingKey recovery(filled(0x33));
    const Lineage before{terminal, "till", 3, make_keyring(own, {recovery.public_key()}, false)};
    const Bytes old = example_anchor().encode(before, random);
    must(folder.add(own, terminal, "till", clock, random));
    const Lineage after{terminal, "till", 3, make_keyring(own, {recovery.public_key()}, false)};
    const Bytes fresh = example_anchor().encode(after, random);
    must(LogAnchor::decode(old, anchor_key(after), after));
    must(LogAnchor::decode(fresh, anchor_key(after), after));
    CHECK_FALSE(LogAnchor::decode(fresh, anchor_key(before), before).has_value());
    const Lineage blind{terminal, "till", 3, make_keyring(own, {recovery.public_key()}, true)};
    CHECK(kind_of(LogAnchor::decode(example_anchor().encode(blind, random), anchor_key(blind), blind)) ==
          ErrorKind::denied);
  }
}
