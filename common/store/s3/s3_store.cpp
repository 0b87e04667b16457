#include "store/s3/s3_store.h"

#include <algorithm>

#include "crypto/hash.h"
#include "store/s3/multipart_upload.h"
#include "store/s3/part_source.h"
#include "store/s3/s3_answers.h"

namespace tillsync::s3 {

namespace {

constexpr size_t kKeyBytesMax = 1024;  // of S3, our prefix included
constexpr uint64_t kProofBytesMax = 64 << 10;
constexpr int kPagesMax = 10'000;  // of one listing without anything of ours in them
constexpr size_t kUncertainMax = 10'000;
constexpr const char* kToken = "x-amz-meta-tillsync-token";
constexpr const char* kSha256 = "x-amz-meta-tillsync-sha256";

S3Outcome failed(FailureClass what) {
  S3Outcome outcome;
  outcome.failure = Failure{.what = what};
  return outcome;
}

}  // namespace

S3Store::S3Store(Options options, FileSystem& files, Clock& clock, Random& random)
    : options_(std::move(options)),
      prefix_(options_.prefix.empty() ? "" : options_.prefix + "/"),
      clock_(clock),
      random_(random),
      upload_limit_(options_.upload_limit),
      client_(options_.address, options_.http, files, options_.credentials_file, clock) {
  client_.set_upload_limit(options_.upload_limit);
}

S3Store::~S3Store() = default;

ObjectStoreProperties S3Store::properties() const {
  ObjectStoreProperties p;
  p.name = "s3";
  p.create_only = create_only_ == CreateOnly::works;
  p.may_delete = may_delete_;
  p.object_size_max = MultipartUpload::object_size_max(options_.under_way_max);
  p.resumable = true;
  p.part_size_bytes = options_.part_size;
  p.uploads_at_once = 2;
  return p;
}

void S3Store::set_upload_limit(uint64_t bytes_per_second) {
  upload_limit_ = bytes_per_second;
  client_.set_upload_limit(bytes_per_second);
}

Result<void> S3Store::check(const std::string& key) const {
  TILLSYNC_TRY(check_key(key));
  if (prefix_.size() + key.size() > kKeyBytesMax)
    return Error{ErrorKind::usage, 0, "'" + key + "' is too long for S3 below " + prefix_};
  return {};
}

Error S3Store::error(const Failure& failure, const std::string& doing) const {
  return to_error(failure, client_.where() + (prefix_.empty() ? "" : "/" + options_.prefix), doing);
}

Error S3Store::exists(const std::string& key) const {
  return error(Failure{.what = FailureClass::exists, .words = "the object exists already"}, "put " + key);
}

std::string S3Store::new_token() {
  std::array<uint8_t, 16> bytes;
  random_.fill(bytes);
  return to_hex(bytes);
}

std::optional<std::string> S3Store::uncertain_token(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto it = uncertain_.find(key);
  return it == uncertain_.end() ? std::nullopt : std::optional<std::string>(it->second);
}

void S3Store::set_uncertain(const std::string& key, const std::string& token, bool is_uncertain) {
  std::lock_guard lock(mutex_);
  if (!is_uncertain)
    uncertain_.erase(key);
  else if (uncertain_.size() < kUncertainMax)
    uncertain_[key] = token;
}

Result<std::optional<S3Store::Seen>> S3Store::look(const std::string& key) {
  S3Request request{.method = "HEAD", .key = path_of(key), .stall_timeout = options_.stall_timeout};
  const S3Outcome outcome = client_.perform(std::move(request));
  if (outcome.failure && outcome.failure->what == FailureClass::missing) return std::optional<Seen>();
  if (outcome.failure) return error(*outcome.failure, "look at " + key);
  Seen seen;
  seen.info.key = key;
  const std::string length(outcome.response.header("content-length"));
  seen.info.size = std::strtoull(length.c_str(), nullptr, 10);
  seen.info.modified_at = parse_http_date(outcome.response.header("last-modified"));
  seen.token = outcome.response.header(kToken);
  seen.sha256 = outcome.response.header(kSha256);
  return std::optional<Seen>(std::move(seen));
}

Result<bool> S3Store::is_listed(const std::string& key) {
  S3Request request{.method = "GET", .key = "", .stall_timeout = options_.stall_timeout};
  request.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", path_of(key)}, {"max-keys", "1"}};
  const S3Outcome outcome = client_.perform(std::move(request));
  if (outcome.failure && outcome.failure->what == FailureClass::denied) return true;
  if (outcome.failure) return error(*outcome.failure, "look for " + key + " in its list");
  auto answer = parse_list(as_text(outcome.response.body));
  if (!answer) return std::move(answer).error().with(client_.where() + ": look for " + key + " in its list");
  return !answer->objects.empty() && answer->objects.front().key == path_of(key);
}

Result<void> S3Store::put(const std::string& key, ObjectSource& source, const std::function<bool(uint64_t)>& progress) {
  TILLSYNC_TRY(check(key));
  if (progress && !progress(0)) return error(*failed(FailureClass::cancelled).failure, "put " + key);
  if (source.size() <= options_.part_size) return put_whole(key, source, progress, true);
  MemoryUploadJournal journal;
  auto done = put_resumable(key, source, journal, progress);
  // Best effort: what stays is for the bucket's rule on incomplete uploads.
  if (!done) (void)abandon(key, journal);
  return done;
}

Result<void> S3Store::put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                                    const std::function<bool(uint64_t)>& progress) {
  TILLSYNC_TRY(check(key));
  if (progress && !progress(0)) return error(*failed(FailureClass::cancelled).failure, "put " + key);
  if (source.size() > options_.part_size) return MultipartUpload(*this, key, source, journal, progress).run();
  return put_whole(key, source, progress, false);
}

Result<void> S3Store::put_whole(const std::string& key, ObjectSource& source,
                                const std::function<bool(uint64_t)>& progress, bool goes_first) {
  const std::string doing = "put " + key;
  SharedSource shared(source);
  const uint64_t size = source.size();
  PartDigests digests;
  std::shared_ptr<PartBody> body;
  const auto read_source = [&]() -> Result<void> {
    auto read = digests_of(shared, 0, size);
    if (!read) return std::move(read).error().with(doing);
    digests = std::move(*read);
    body = std::make_shared<PartBody>(shared, 0, size, digests.sha256);
    return {};
  };
  TILLSYNC_TRY(read_source());
  const auto earlier = uncertain_token(key);
  const std::string token = earlier ? *earlier : new_token();
  const auto is_ours = [&](const Seen& seen) {
    return seen.token == token && seen.info.size == size && seen.sha256 == digests.sha256.hex();
  };
  bool is_once_more = false;
  while (true) {
    const CreateOnly create_only = create_only_;
    if (create_only != CreateOnly::works) {
      TILLSYNC_LET(const auto there, look(key));
      // The very bytes, in no listing: put again, they get into it.
      bool is_half_there = false;
      if (there && there->info.size == size && there->sha256 == digests.sha256.hex()) {
        TILLSYNC_LET(const bool listed, is_listed(key));
        is_half_there = !listed;
      }
      if (there && !is_half_there) {
        if (is_ours(*there)) break;
        return set_uncertain(key, token, false), exists(key);
      }
    }
    S3Request request{.method = "PUT", .key = path_of(key), .streamed = body, .stall_timeout = options_.stall_timeout};
    request.goes_first = goes_first;
    request.body_sha256 = digests.sha256;
    request.headers = {{kToken, token}, {kSha256, digests.sha256.hex()}};
    if (!digests.md5.empty()) request.headers.emplace_back("Content-MD5", digests.md5);
    if (create_only != CreateOnly::absent) request.headers.emplace_back("If-None-Match", "*");
    request.sent = std::make_shared<std::atomic<uint64_t>>(0);
    uint64_t told = 0;
    const auto meanwhile = [&, sent = request.sent] {
      told = std::max(told, std::min<uint64_t>(*sent, size));
      return progress(told);
    };
    const S3Outcome outcome = client_.perform(request, progress ? std::function<bool()>(meanwhile) : nullptr);
    if (!outcome.failure) {
      if (create_only == CreateOnly::unknown && size <= kProofBytesMax) prove_create_only(request);
      break;
    }
    if (auto read = body->outcome(); !read) {
      set_uncertain(key, token, earlier || outcome.was_repeated);
      return std::move(read).error().with(doing);
    }
    const Failure& failure = *outcome.failure;
    if (failure.what == FailureClass::exists) {
      create_only_ = CreateOnly::works;
      TILLSYNC_LET(const auto there, look(key));
      if (there && is_ours(*there)) break;  // the first try was stored, its answer lost
      set_uncertain(key, token, false);
      return exists(key);
    }
    if (failure.status == 501 && create_only == CreateOnly::unknown) {
      create_only_ = CreateOnly::absent;
      continue;
    }
    // Another conditional put of the key was under way: by now it has won or not.
    if (failure.what == FailureClass::busy && !is_once_more) {
      is_once_more = true;
      continue;
    }
    if (failure.what == FailureClass::integrity && !is_once_more) {
      is_once_more = true;
      TILLSYNC_TRY(read_source());
      continue;
    }
    set_uncertain(key, token, earlier || is_uncertain(failure));
    return error(failure, doing);
  }
  set_uncertain(key, token, false);
  if (progress) progress(size);
  return {};
}

// The object is there now, and these are its bytes: where the header is not heeded, nothing changes.
void S3Store::prove_create_only(const S3Request& request) {
  const S3Outcome second = client_.perform(request);
  if (!second.failure)
    create_only_ = CreateOnly::absent;
  else if (second.failure->what == FailureClass::exists)
    create_only_ = CreateOnly::works;
}

Result<void> S3Store::replace(const std::string& key, ByteView bytes) {
  TILLSYNC_TRY(check(key));
  S3Request request{.method = "PUT", .key = path_of(key), .body = bytes, .stall_timeout = options_.stall_timeout};
  if (const std::string md5 = content_md5(bytes); !md5.empty()) request.headers = {{"Content-MD5", md5}};
  const S3Outcome outcome = client_.perform(std::move(request));
  if (outcome.failure) return error(*outcome.failure, "replace " + key);
  return {};
}

Result<size_t> S3Store::read(const std::string& key, uint64_t offset, MutableBytes out) {
  TILLSYNC_TRY(check(key));
  if (out.empty()) {
    TILLSYNC_TRY(head(key));
    return size_t{0};
  }
  S3Request request{.method = "GET", .key = path_of(key), .sink = out, .stall_timeout = options_.stall_timeout};
  request.headers = {{"Range", "bytes=" + std::to_string(offset) + "-" + std::to_string(offset + out.size() - 1)}};
  request.sink_offset = offset;
  const S3Outcome outcome = client_.perform(std::move(request));
  if (outcome.failure && outcome.failure->what == FailureClass::range) return size_t{0};
  if (outcome.failure) return error(*outcome.failure, "read " + key);
  return outcome.response.sunk;
}

Result<ObjectInfo> S3Store::head(const std::string& key) {
  TILLSYNC_TRY(check(key));
  TILLSYNC_LET(auto seen, look(key));
  if (!seen) return error(Failure{.what = FailureClass::missing, .words = "there is no such object"}, "look at " + key);
  return std::move(seen->info);
}

Result<ObjectPage> S3Store::list(const std::string& prefix, const std::string& start_after, size_t limit) {
  limit = std::clamp<size_t>(limit, 1, 1000);
  ObjectPage page;
  std::string token, last = start_after;
  for (int pages = 0; pages < kPagesMax; pages++) {
    S3Request request{.method = "GET", .key = "", .stall_timeout = options_.stall_timeout};
    request.query = {{"list-type", "2"},
                     {"encoding-type", "url"},
                     {"prefix", prefix_ + prefix},
                     {"max-keys", std::to_string(limit - page.objects.size())}};
    if (!token.empty())
      request.query.emplace_back("continuation-token", token);
    else if (!start_after.empty())
      request.query.emplace_back("start-after", prefix_ + start_after);
    const S3Outcome outcome = client_.perform(std::move(request));
    if (outcome.failure) return error(*outcome.failure, "list " + prefix);
    auto answer = parse_list(as_text(outcome.response.body));
    if (!answer) return std::move(answer).error().with(client_.where() + ": list " + prefix);
    for (auto& object : answer->objects) {
      if (!object.key.starts_with(prefix_)) continue;
      object.key.erase(0, prefix_.size());
      // What others put beside ours (folder marks of a console) can't be named by our keys. Servers that repeat or
      // disorder a page would else send a caller round and round.
      if (!check_key(object.key) || object.key <= last || !object.key.starts_with(prefix)) continue;
      last = object.key;
      page.objects.push_back(std::move(object));
    }
    const bool advances = !answer->next_token.empty() && answer->next_token != token;
    page.more = answer->is_truncated && advances;
    if (!page.more || page.objects.size() >= limit) return page;
    token = answer->next_token;
  }
  return Error{ErrorKind::corrupt, 0, client_.where() + ": list " + prefix + ": the store's pages never end"};
}

Result<void> S3Store::remove(const std::string& key) {
  TILLSYNC_TRY(check(key));
  S3Request request{.method = "DELETE", .key = path_of(key), .stall_timeout = options_.stall_timeout};
  const S3Outcome outcome = client_.perform(std::move(request));
  if (!outcome.failure) return {};
  if (outcome.failure->what == FailureClass::missing) return {};
  if (outcome.failure->what == FailureClass::denied && outcome.failure->code == "AccessDenied") may_delete_ = false;
  return error(*outcome.failure, "remove " + key);
}

Result<void> S3Store::abandon(const std::string& key, UploadJournal& journal) {
  TILLSYNC_TRY(check(key));
  TILLSYNC_LET(const auto upload, journal.load(key));
  if (!upload) return {};
  std::vector<std::string> ids{upload->id};
  // It was about to be begun, and may have been.
  if (upload->id.empty()) {
    TILLSYNC_LET(ids, unfinished(key));
  }
  for (const auto& id : ids) {
    S3Request request{.method = "DELETE", .key = path_of(key), .stall_timeout = options_.stall_timeout};
    request.query = {{"uploadId", id}};
    const S3Outcome outcome = client_.perform(std::move(request));
    if (outcome.failure && outcome.failure->what != FailureClass::gone &&
        outcome.failure->what != FailureClass::missing)
      return error(*outcome.failure, "give up the upload of " + key);
  }
  return journal.forget(key);
}

Result<std::vector<std::string>> S3Store::unfinished(const std::string& key) {
  S3Request request{.method = "GET", .key = "", .stall_timeout = options_.stall_timeout};
  request.query = {{"uploads", ""}, {"prefix", path_of(key)}};
  const S3Outcome outcome = client_.perform(std::move(request));
  std::vector<std::string> ids;
  // Who may not look, or can't, leaves it to the bucket's lifecycle rule.
  if (outcome.failure &&
      (outcome.failure->what == FailureClass::denied || outcome.failure->what == FailureClass::permanent))
    return ids;
  if (outcome.failure) return error(*outcome.failure, "look for unfinished uploads of " + key);
  TILLSYNC_LET(const auto all, parse_uploads(as_text(outcome.response.body)));
  for (const auto& one : all)
    if (one.path == path_of(key)) ids.push_back(one.id);
  return ids;
}

}  // namespace tillsync::s3
