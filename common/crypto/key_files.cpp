#include "crypto/key_files.h"

#include <algorithm>

#include "base/checks.h"

namespace tillsync {

namespace {
constexpr uint64_t kFileMax = 64 << 10;

std::string file_name(uint64_t number, const char* what) { return std::to_string(number) + "." + what; }
}  // namespace

Result<Bytes> KeyFiles::read_private(uint64_t number, const char* what) {
  const std::string path = folder_ + "/" + file_name(number, what);
  auto bytes = read_file(files_, path, kFileMax);
  if (bytes || bytes.error().kind != ErrorKind::not_found || credentials_.empty()) return bytes;
  return read_file(files_, credentials_ + "/tillsync." + file_name(number, what), kFileMax);
}

Result<OwnKeys> KeyFiles::load(const Uuid& terminal) {
  OwnKeys own;
  for (uint64_t number = 1;; number++) {
    const std::string path = folder_ + "/" + file_name(number, "statement.json");
    auto statement = read_file(files_, path, kFileMax);
    if (!statement && statement.error().kind == ErrorKind::not_found) return own;
    if (!statement) return std::move(statement).error();
    TILLSYNC_TRY(own.history.add(*statement, path, terminal));
    const KeyStatement& stated = own.history.statements().back();
    const std::string signing_file = folder_ + "/" + file_name(number, "signing.pem"),
                      sealing_file = folder_ + "/" + file_name(number, "sealing.pem");
    TILLSYNC_LET(Bytes signing_pem, read_private(number, "signing.pem"));
    auto signing = signing_key_from_pem(as_text(signing_pem));
    wipe(signing_pem);
    if (!signing) return std::move(signing).error().with(signing_file);
    TILLSYNC_LET(Bytes sealing_pem, read_private(number, "sealing.pem"));
    auto sealing = sealing_key_from(as_text(sealing_pem));
    wipe(sealing_pem);
    if (!sealing) return std::move(sealing).error().with(sealing_file);
    if (signing->public_key() != stated.signing || sealing->public_key() != stated.sealing)
      return Error{ErrorKind::corrupt, 0, path + ": it states other keys than lie beside it; put back the right files"};
    own.keys.push_back({std::move(*signing), std::move(*sealing)});
    own.statements.push_back(std::move(*statement));
  }
}

Result<void> KeyFiles::write(const std::string& path, std::string_view text) {
  TILLSYNC_LET(auto file, PendingFile::create(files_, path, 0));
  TILLSYNC_TRY(file.append(as_bytes(text)));
  return file.commit();
}

Result<void> KeyFiles::add(OwnKeys& own, const Uuid& terminal, const std::string& name, Clock& clock, Random& random) {
  TILLSYNC_TRY(files_.make_directories(folder_));
  TILLSYNC_TRY(files_.sync_directory(directory_of(folder_)));
  // What one that was killed here left: it would be in the way, and is half a private key.
  TILLSYNC_LET(const auto entries, files_.list(folder_));
  for (auto& entry : entries)
    if (entry.name.ends_with(".tmp")) TILLSYNC_TRY(files_.remove(folder_ + "/" + entry.name));
  TerminalKeys fresh{SigningKey::make(random), SealingKey::make(random)};
  KeyStatement statement;
  statement.terminal = terminal;
  statement.name = name;
  statement.created_at = clock.now();
  statement.number = own.keys.size() + 1;
  statement.signing = fresh.signing.public_key();
  statement.sealing = fresh.sealing.public_key();
  if (!own.statements.empty()) statement.previous = sha256(own.statements.back());
  const std::string text = statement.encode(fresh.signing, own.keys.empty() ? nullptr : &own.keys.back().signing);
  const std::string at = folder_ + "/" + std::to_string(statement.number);
  std::string signing_pem = to_pem(fresh.signing), sealing_pem = to_pem(fresh.sealing);
  auto written = [&]() -> Result<void> {
    TILLSYNC_TRY(write(at + ".signing.pem", signing_pem));
    TILLSYNC_TRY(write(at + ".sealing.pem", sealing_pem));
    return write(at + ".statement.json", text);
  }();
  for (std::string* pem : {&signing_pem, &sealing_pem}) wipe({reinterpret_cast<uint8_t*>(pem->data()), pem->size()});
  TILLSYNC_TRY(std::move(written));
  TILLSYNC_TRY(own.history.add(as_bytes(text), at + ".statement.json", terminal));
  own.keys.push_back(std::move(fresh));
  own.statements.push_back(to_bytes(as_bytes(text)));
  return {};
}

Keys make_keyring(const OwnKeys& own, const std::vector<PublicSealingKey>& recovery, bool write_only) {
  TILLSYNC_CHECK(!own.keys.empty());
  auto ring = std::make_shared<Keyring>();
  ring->signer = own.keys.back().signing;
  if (!write_only) {
    ring->recipients.push_back(own.keys.back().sealing.public_key());
    for (auto& pair : own.keys) ring->openers.push_back(pair.sealing);
  }
  for (auto& key : recovery)
    if (std::find(ring->recipients.begin(), ring->recipients.end(), key) == ring->recipients.end())
      ring->recipients.push_back(key);
  ring->signers = own.history.signers();
  return ring;
}

}  // namespace tillsync
