#include "store/s3/multipart_upload.h"

#include <algorithm>
#include <deque>

#include "crypto/hash.h"
#include "ports/backoff.h"
#include "store/s3/s3_answers.h"

namespace tillsync::s3 {

namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kPartSizeMin = 5 * kMiB;  // S3's, of all parts but the last
constexpr auto kTellEvery = std::chrono::milliseconds(100);
constexpr auto kPartGoesWell = std::chrono::seconds(60);
// S3 ends a request after 15 minutes or so: a part must be through well before, on the worst link.
constexpr auto kPartIsSlow = std::chrono::seconds(150);

}  // namespace

struct MultipartUpload::Sent {
  struct Slot {
    uint32_t number = 0;
    uint64_t size = 0;
    Digest digest;
    std::shared_ptr<PartBody> body;
    S3Request request;
    bool is_busy = false, is_once_more = false;
    std::chrono::steady_clock::time_point started_at;
    std::shared_ptr<std::atomic<uint64_t>> sent;
  };
  std::deque<Slot> slots;  // stay where they are
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
  using Outcomes = std::deque<std::pair<Slot*, S3Outcome>>;
  std::shared_ptr<S3Store::PartsUnderWay> parts;
  std::shared_ptr<Outcomes> outcomes = std::make_shared<Outcomes>();  // with parts->mutex held
  size_t under_way = 0;

  Slot& free_slot() {
    const auto found = std::find_if(slots.begin(), slots.end(), [](const Slot& slot) { return !slot.is_busy; });
    return found != slots.end() ? *found : slots.emplace_back();
  }
  explicit Sent(std::shared_ptr<S3Store::PartsUnderWay> shared) : parts(std::move(shared)) {}
  // Requests read the source until they end, also when a source or a progress throws.
  ~Sent() {
    *cancelled = true;
    std::unique_lock lock(parts->mutex);
    parts->changed.wait(lock, [&] { return outcomes->size() == under_way; });
  }
};

MultipartUpload::MultipartUpload(S3Store& store, const std::string& key, ObjectSource& source, UploadJournal& journal,
                                 const std::function<bool(uint64_t)>& progress)
    : store_(store), key_(key), source_(source), journal_(journal), progress_(progress) {}

Error MultipartUpload::error(const Failure& failure, const std::string& doing) const {
  return store_.error(failure, "put " + key_ + (doing.empty() ? "" : ": " + doing));
}

uint32_t MultipartUpload::part_count() const {
  return static_cast<uint32_t>((upload_.object_size + upload_.part_size - 1) / upload_.part_size);
}

uint64_t MultipartUpload::size_of(uint32_t number) const {
  return std::min(upload_.part_size, upload_.object_size - offset_of(number));
}

bool MultipartUpload::report(uint64_t sent) {
  told_ = std::max(told_, std::min(sent, upload_.object_size));
  return !progress_ || progress_(told_);
}

// Parts at a time: as a kill may cost, as went well so far, and so few that each is through in time under the limit.
bool MultipartUpload::may_begin_part(uint64_t size) const {
  const auto& parts = *store_.parts_;
  if (parts.count == 0) return true;
  uint64_t bytes_max = store_.options_.under_way_max;
  if (const uint64_t limit = store_.upload_limit_; limit != 0)
    bytes_max = std::min<uint64_t>(bytes_max, limit * kPartIsSlow.count());
  return parts.count < store_.parts_at_a_time_ && parts.bytes + size <= bytes_max;
}

Result<void> MultipartUpload::run() {
  if (source_.size() > object_size_max(store_.options_.under_way_max))
    return error(Failure{.what = FailureClass::permanent, .words = "the object is too large for 10,000 parts"}, "");
  // A second round where the upload turns out to be gone at its very end.
  for (int round = 0; round < 2; round++) {
    TILLSYNC_LET(const bool is_resumed, resume());
    if (!is_resumed) {
      upload_ = Upload{};
      TILLSYNC_LET(const auto there, store_.look(key_));
      if (there) return store_.exists(key_);
      TILLSYNC_TRY(begin());
    }
    TILLSYNC_LET(const bool is_done, [&]() -> Result<bool> {
      if (is_resumed) {
        TILLSYNC_LET(const Presence there, presence());
        if (there == Presence::ours) {
          TILLSYNC_LET(const bool is_in_list, store_.is_listed(key_));
          // Its completion was cut off inside the server.
          if (is_in_list || upload_.parts.size() != part_count()) return true;
          return complete(true);
        }
        if (there == Presence::other) {
          TILLSYNC_TRY(store_.abandon(key_, journal_));
          return store_.exists(key_);
        }
        TILLSYNC_LET(const auto listed, listed_parts());
        if (!listed) return false;
        TILLSYNC_TRY(keep_what_is_there(*listed));
      }
      TILLSYNC_TRY(send_missing());
      return complete(false);
    }());
    TILLSYNC_TRY(journal_.forget(key_));
    if (is_done) {
      report(upload_.object_size);
      return {};
    }
  }
  return error(Failure{.what = FailureClass::gone, .words = "the store gave up the upload, twice"}, "");
}

Result<bool> MultipartUpload::resume() {
  TILLSYNC_LET(auto known, journal_.load(key_));
  if (!known) return false;
  // Another content under the same key, or another idea of parts: nothing of it can be used.
  if (known->object_size != source_.size() || known->part_size == 0 ||
      known->part_size > store_.options_.under_way_max || known->id.empty()) {
    TILLSYNC_TRY(store_.abandon(key_, journal_));
    return false;
  }
  upload_ = std::move(*known);
  return true;
}

Result<void> MultipartUpload::begin() {
  upload_.key = key_;
  upload_.object_size = source_.size();
  const uint64_t needed = (upload_.object_size + kPartsMax - 1) / kPartsMax;
  uint64_t usual = store_.options_.part_size;
  if (const uint64_t limit = store_.upload_limit_; limit != 0 && limit * kPartIsSlow.count() < usual)
    usual = std::min(usual, kPartSizeMin);
  upload_.part_size = std::max(usual, (needed + kMiB - 1) / kMiB * kMiB);
  upload_.token = store_.new_token();
  upload_.began_at = store_.clock_.now();
  // Before the store has it: what it gives an id, and nobody wrote down, would stay there for ever.
  upload_.id.clear();
  TILLSYNC_TRY(journal_.begin(upload_).with("put " + key_ + ": write down the upload"));
  S3Request request{.method = "POST", .key = store_.path_of(key_), .stall_timeout = store_.options_.stall_timeout};
  request.query = {{"uploads", ""}};
  request.headers = {{"x-amz-meta-tillsync-token", upload_.token}};
  const S3Outcome outcome = store_.client_.perform(std::move(request));
  if (outcome.failure) return error(*outcome.failure, "begin an upload");
  auto id = parse_upload_id(as_text(outcome.response.body));
  if (!id) return std::move(id).error().with("put " + key_ + ": begin an upload");
  upload_.id = std::move(*id);
  return journal_.begin(upload_).with("put " + key_ + ": write down the upload");
}

Result<MultipartUpload::Presence> MultipartUpload::presence() {
  TILLSYNC_LET(const auto there, store_.look(key_));
  if (!there) return Presence::none;
  return there->token == upload_.token && there->info.size == upload_.object_size ? Presence::ours : Presence::other;
}

Result<std::optional<std::vector<UploadPart>>> MultipartUpload::listed_parts() {
  std::vector<UploadPart> all;
  uint32_t marker = 0;
  while (true) {
    S3Request request{.method = "GET", .key = store_.path_of(key_), .stall_timeout = store_.options_.stall_timeout};
    request.query = {{"uploadId", upload_.id}, {"max-parts", std::to_string(store_.options_.parts_a_page)}};
    if (marker != 0) request.query.emplace_back("part-number-marker", std::to_string(marker));
    const S3Outcome outcome = store_.client_.perform(std::move(request));
    // Ceph says NoSuchKey.
    if (outcome.failure &&
        (outcome.failure->what == FailureClass::gone || outcome.failure->what == FailureClass::missing))
      return std::optional<std::vector<UploadPart>>();
    if (outcome.failure) return error(*outcome.failure, "list its parts");
    auto page = parse_parts(as_text(outcome.response.body));
    if (!page) return std::move(page).error().with("put " + key_ + ": list its parts");
    all.insert(all.end(), page->parts.begin(), page->parts.end());
    if (all.size() > kPartsMax)
      return Error{ErrorKind::corrupt, 0, "put " + key_ + ": the store lists more parts than there can be"};
    if (!page->is_truncated || page->next_marker <= marker) return std::optional(std::move(all));
    marker = page->next_marker;
  }
}

Result<void> MultipartUpload::keep_what_is_there(const std::vector<UploadPart>& listed) {
  std::vector<UploadPart> kept;
  for (const UploadPart& part : upload_.parts) {
    const bool is_there = std::any_of(listed.begin(), listed.end(), [&](const UploadPart& other) {
      return other.number == part.number && other.size == part.size && other.etag == part.etag;
    });
    if (!is_there || part.number < 1 || part.number > part_count() || part.size != size_of(part.number)) continue;
    auto digests = digests_of(source_, offset_of(part.number), part.size);
    if (!digests) return std::move(digests).error().with("put " + key_);
    if (digests->sha256 == part.sha256) kept.push_back(part);
  }
  upload_.parts = std::move(kept);
  return {};
}

S3Request MultipartUpload::part_request(uint32_t number, const PartDigests& digests) const {
  S3Request request{.method = "PUT", .key = store_.path_of(key_), .body_sha256 = digests.sha256};
  request.query = {{"partNumber", std::to_string(number)}, {"uploadId", upload_.id}};
  if (!digests.md5.empty()) request.headers = {{"Content-MD5", digests.md5}};
  request.stall_timeout = store_.options_.stall_timeout;
  return request;
}

Result<void> MultipartUpload::send_missing() {
  Sent sent(store_.parts_);
  uint64_t done_bytes = 0;
  std::vector<bool> is_there(part_count() + 1);
  for (const auto& part : upload_.parts) {
    is_there[part.number] = true;
    done_bytes += part.size;
  }
  const Error stopped = error(Failure{.what = FailureClass::cancelled, .words = "cancelled"}, "");
  if (!report(done_bytes)) return stopped;
  std::optional<Error> failed;
  const auto prepare = [&](Sent::Slot& slot) -> Result<void> {
    auto digests = digests_of(source_, offset_of(slot.number), slot.size);
    if (!digests) return std::move(digests).error().with("put " + key_);
    slot.digest = digests->sha256;
    slot.body = std::make_shared<PartBody>(source_, offset_of(slot.number), slot.size, slot.digest);
    slot.sent = std::make_shared<std::atomic<uint64_t>>(0);
    slot.request = part_request(slot.number, *digests);
    slot.request.streamed = slot.body;
    slot.request.sent = slot.sent;
    slot.request.cancelled = sent.cancelled;
    return {};
  };
  // Of what counts as under way already.
  const auto start = [&](Sent::Slot& slot) {
    slot.started_at = std::chrono::steady_clock::now();
    slot.is_busy = true;
    sent.under_way++;
    store_.client_.start(std::move(slot.request),
                         [parts = sent.parts, outcomes = sent.outcomes, &slot](S3Outcome outcome) {
                           std::lock_guard lock(parts->mutex);
                           parts->ended(slot.size);
                           outcomes->emplace_back(&slot, std::move(outcome));
                         });
  };
  const auto came_back = [&](Sent::Slot& slot, const S3Outcome& outcome) -> Result<void> {
    slot.is_busy = false;
    const auto took = std::chrono::steady_clock::now() - slot.started_at;
    if (!outcome.failure) {
      UploadPart part{slot.number, slot.size, slot.digest, std::string(outcome.response.header("etag"))};
      if (auto written = journal_.part_done(key_, upload_.id, part); !written)
        return std::move(written).error().with("put " + key_ + ": write down part " + std::to_string(slot.number));
      upload_.parts.push_back(std::move(part));
      done_bytes += slot.size;
      const uint32_t now = store_.parts_at_a_time_;
      if (took < kPartGoesWell) store_.parts_at_a_time_ = std::min<uint32_t>(now + 1, 64);
      if (took > kPartIsSlow) store_.parts_at_a_time_ = std::max<uint32_t>(now / 2, 1);
      return {};
    }
    if (auto read = slot.body->outcome(); !read) return std::move(read).error().with("put " + key_);
    const Failure& failure = *outcome.failure;
    if (failure.what == FailureClass::throttled)
      store_.parts_at_a_time_ = std::max<uint32_t>(store_.parts_at_a_time_ / 2, 1);
    if (failure.what == FailureClass::integrity && !slot.is_once_more) {
      slot.is_once_more = true;
      TILLSYNC_TRY(prepare(slot));
      {
        std::lock_guard lock(sent.parts->mutex);
        sent.parts->begun(slot.size);
      }
      start(slot);
      return {};
    }
    // Gone is found out for certain by the next call, with HEAD and ListParts.
    Failure told = failure;
    if (told.what == FailureClass::gone || told.what == FailureClass::missing) told.what = FailureClass::busy;
    return error(told, "part " + std::to_string(slot.number));
  };

  uint32_t next = 1;
  Sent::Slot* ready = nullptr;  // to begin as soon as it may: the link does not wait for its digests
  while (true) {
    while (next <= part_count() && is_there[next]) next++;
    if (!ready && !failed && next <= part_count()) {
      ready = &sent.free_slot();
      ready->number = next++;
      ready->size = size_of(ready->number);
      ready->is_once_more = false;
      if (auto prepared = prepare(*ready); !prepared) failed = std::move(prepared).error();
    }
    if (failed) ready = nullptr;
    if (sent.under_way == 0 && !ready) break;
    Sent::Outcomes outcomes;
    bool may_begin = false;
    {
      std::unique_lock lock(sent.parts->mutex);
      sent.parts->changed.wait_for(lock, kTellEvery, [&] {
        // First what came back: it may have failed.
        may_begin = sent.outcomes->empty() && ready && may_begin_part(ready->size);
        return may_begin || !sent.outcomes->empty();
      });
      if (may_begin) sent.parts->begun(ready->size);
      outcomes.swap(*sent.outcomes);
    }
    sent.under_way -= outcomes.size();
    if (may_begin) start(*std::exchange(ready, nullptr));
    for (auto& [slot, outcome] : outcomes)
      if (auto handled = came_back(*slot, outcome); !handled && !failed) failed = std::move(handled).error();
    uint64_t moving = done_bytes;
    for (const auto& slot : sent.slots)
      if (slot.is_busy) moving += *slot.sent;
    if (!*sent.cancelled && !report(moving)) {
      *sent.cancelled = true;
      failed = stopped;
    }
    // A source or journal that fails will not take the others' results either; the network might.
    if (failed && (failed->kind == ErrorKind::denied || failed->kind == ErrorKind::cancelled)) *sent.cancelled = true;
  }
  if (failed) return std::move(*failed);
  return {};
}

Result<bool> MultipartUpload::complete(bool is_once_more) {
  std::sort(upload_.parts.begin(), upload_.parts.end(),
            [](const UploadPart& a, const UploadPart& b) { return a.number < b.number; });
  const std::string body = complete_document(upload_.parts);
  S3Request request{.method = "POST", .key = store_.path_of(key_), .body = as_bytes(body)};
  request.query = {{"uploadId", upload_.id}};
  request.stall_timeout = store_.options_.complete_timeout;
  if (store_.create_only_ == S3Store::CreateOnly::works) request.headers = {{"If-None-Match", "*"}};
  const S3Outcome outcome = store_.client_.perform(std::move(request), [&] { return report(told_); });
  std::optional<Error> refused;
  if (outcome.failure)
    refused = error(*outcome.failure, "complete it");
  else if (auto is_complete = check_completed(as_text(outcome.response.body)); !is_complete)
    refused = Error{ErrorKind::transient, outcome.response.status,
                    "put " + key_ + ": complete it: " + is_complete.error().context};
  if (outcome.failure && outcome.failure->what == FailureClass::cancelled) return std::move(*refused);
  // Whatever was answered: only what HEAD shows is true.
  TILLSYNC_LET(const Presence there, presence());
  if (there == Presence::ours) {
    if (!refused) return true;
    TILLSYNC_LET(const bool is_in_list, store_.is_listed(key_));
    // Refused for good is as far as this server brings it.
    if (is_in_list || (is_once_more && !is_outage(refused->kind))) return true;
    return std::move(*refused);
  }
  if (there == Presence::other) {
    TILLSYNC_TRY(store_.abandon(key_, journal_));
    return store_.exists(key_);
  }
  if (!refused)
    return Error{ErrorKind::transient, 0, "put " + key_ + ": the store says it is complete, and does not show it"};
  switch (outcome.failure ? outcome.failure->what : FailureClass::transient) {
    case FailureClass::gone:
    case FailureClass::missing: return false;
    case FailureClass::busy:
    case FailureClass::integrity:
      // Its parts are not what we think they are: all of them again.
      TILLSYNC_TRY(store_.abandon(key_, journal_));
      break;
    default: break;
  }
  return std::move(*refused);
}

}  // namespace tillsync::s3
