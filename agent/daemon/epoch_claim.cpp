#include "agent/daemon/epoch_claim.h"

#include "agent/daemon/epoch_documents.h"
#include "crypto/hash.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {
constexpr std::chrono::hours kLookEvery{1}, kLookBack{3};
constexpr uint64_t kSegmentMax = uint64_t{1} << 30;
}  // namespace

EpochClaim::EpochClaim(const Services& services, ObjectStore& store, std::function<void(const EpochLoss&)> on_lost)
    : services_(services), store_(store), on_lost_(std::move(on_lost)) {}

Result<void> EpochClaim::hold() {
  std::lock_guard lock(mutex_);
  const Timestamp now = services_.clock->now();
  // A clock that was set back is no reason not to look.
  const bool is_fresh = looked_at_ && now >= *looked_at_ && now - *looked_at_ < kLookEvery;
  if (!lost_ && !is_fresh) {
    TILLSYNC_LET(lost_, look());
    if (lost_ && on_lost_) on_lost_(*lost_);
    if (!lost_) looked_at_ = now;
  }
  if (!lost_) return {};
  return Error{ErrorKind::conflict, 0,
               "epoch " + std::to_string(services_.epoch) + " is lost: " + lost_->why + "; a new one is begun"};
}

Result<std::optional<EpochLoss>> EpochClaim::look() {
  if (!start_) TILLSYNC_TRY(begin());
  for (auto ask : {&EpochClaim::find_later_start, &EpochClaim::put_start, &EpochClaim::find_later_epoch,
                   &EpochClaim::find_foreign_segment}) {
    TILLSYNC_LET(auto loss, (this->*ask)());
    if (loss) return loss;
  }
  return std::optional<EpochLoss>();
}

// The one after the last that was put, or one that may have been put, as it was.
Result<void> EpochClaim::begin() {
  Start start;
  TILLSYNC_LET(auto kept, services_.state->setting("start"));
  if (kept) {
    const Json last = parse_json(*kept);
    if (!last.is_object()) return Error{ErrorKind::corrupt, 0, "state.db: its setting start does not parse"};
    start.number = last.at("number").get<uint64_t>();
    start.token = last.at("token").get<std::string>();
    start.created_at = last.value("created_at", to_rfc3339(services_.clock->now()));  // older versions kept none
    start.is_put = last.at("is_put").get<bool>();
  }
  start_ = !kept || start.is_put ? new_start(start.number + 1) : start;
  auto durable = keep();
  if (!durable) start_.reset();
  return durable;
}

EpochClaim::Start EpochClaim::new_start(uint64_t number) {
  std::array<uint8_t, 16> token;
  services_.random->fill(token);
  return {number, to_hex(token), to_rfc3339(services_.clock->now()), false};
}

Result<void> EpochClaim::keep() {
  TILLSYNC_TRY(services_.state->set_setting("start", Json{{"number", start_->number},
                                                          {"token", start_->token},
                                                          {"created_at", start_->created_at},
                                                          {"is_put", start_->is_put}}
                                                         .dump()));
  return services_.state->make_durable();
}

Result<std::optional<EpochLoss>> EpochClaim::find_later_start() {
  const std::string own = keys::start(services_.terminal, services_.epoch, start_->number);
  std::string after = own;
  while (true) {
    TILLSYNC_LET(const auto page, store_.list(keys::starts_prefix(services_.terminal, services_.epoch), after, 1000));
    for (auto& object : page.objects) {
      const auto number = keys::number_of_start(object.key);
      if (!number) continue;
      TILLSYNC_LET(const auto document, read_document(services_, store_, object.key, kStartDocument));
      if (!document) continue;
      return std::optional<EpochLoss>({"another copy of this terminal was started (" + object.key + ")", *number});
    }
    if (!page.more || page.objects.empty()) return std::optional<EpochLoss>();
    after = page.objects.back().key;
  }
}

// Where the store can't refuse a second put, two agents may both have made it: so it is read again at each look.
Result<std::optional<EpochLoss>> EpochClaim::put_start() {
  const std::string key = keys::start(services_.terminal, services_.epoch, start_->number);
  auto read = [&] { return read_document(services_, store_, key, kStartDocument); };
  Result<std::optional<Json>> there = Error{ErrorKind::not_found, 0, key};
  if (start_->is_put) there = read();
  if (!there && there.error().kind == ErrorKind::not_found) {
    Json document{{"epoch", services_.epoch},
                  {"start", start_->number},
                  {"terminal", services_.terminal.str()},
                  {"token", start_->token},
                  {"created_at", start_->created_at}};
    const std::string text = encode_document(services_, std::move(document), kStartDocument);
    BytesSource source(as_bytes(text));
    auto put = store_.put(key, source);
    if (!put && put.error().kind != ErrorKind::conflict) return std::move(put).error();
    there = read();
  }
  if (!there) return std::move(there).error();
  if (!*there) {
    // Something else lies there, which does not count and can't be replaced.
    start_ = new_start(start_->number + 1);
    TILLSYNC_TRY(keep());
    return put_start();
  }
  if ((*there)->value("token", Json()) != start_->token)
    return std::optional<EpochLoss>(
        {"this start was made by another copy of this terminal (" + key + ")", start_->number});
  if (!start_->is_put) {
    start_->is_put = true;
    TILLSYNC_TRY(keep());
  }
  return std::optional<EpochLoss>();
}

Result<std::optional<EpochLoss>> EpochClaim::find_later_epoch() {
  std::optional<EpochLoss> loss;
  TILLSYNC_TRY(
      for_each_object(store_, keys::epochs_prefix(services_.terminal), [&](const ObjectInfo& object) -> Result<void> {
        const auto number = keys::number_of_epoch(object.key);
        if (loss || !number || *number <= services_.epoch) return {};
        TILLSYNC_LET(const auto document, read_document(services_, store_, object.key, kEpochDocument));
        if (!document || document->value("from", Json()) != services_.epoch) return {};
        const Json by = document->value("displaced_by", Json());
        if (by.is_number_unsigned() && by.get<uint64_t>() <= start_->number) return {};  // it made room for this one
        loss = EpochLoss{"this terminal went on as epoch " + std::to_string(*number) + " (" + object.key + ")", {}};
        return {};
      }));
  return loss;
}

// What a start does not show: a copy that was made while the agent ran, and writes under the same start.
Result<std::optional<EpochLoss>> EpochClaim::find_foreign_segment() {
  struct Log {
    int64_t database;
    std::string name;
    Sequence durable, oldest;  // oldest: what lies before was pruned, or is
  };
  std::vector<Log> logs;
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto rows, db->prepare("SELECT id, name, durable_sequence FROM databases"));
    while (true) {
      TILLSYNC_LET(const bool row, rows.step());
      if (!row) break;
      Log log{rows.integer(0), rows.text(1), rows.unsigned_integer(2), 0};
      const int64_t all = scoped_id(log.database, 0);
      TILLSYNC_LET(auto first, db->prepare("SELECT min(id) - ?1 FROM segments WHERE id BETWEEN ?1 AND ?2"));
      first.bind(1, all).bind(2, scoped_id(log.database, (uint64_t{1} << 48) - 1));
      TILLSYNC_LET(const bool known, first.step());
      log.oldest = known && !first.is_null(0) ? first.unsigned_integer(0) : log.durable + 1;
      logs.push_back(std::move(log));
    }
  }
  TILLSYNC_LET(Json marks, read_marks());
  Json now = Json::object();
  for (auto& log : logs) {
    const std::string id = std::to_string(log.database);
    now[id] = log.durable;
    Sequence seen = 0;
    if (!marks.empty()) seen = marks.front().at("durable").value(id, Sequence{0});
    const std::string prefix = keys::database_prefix(services_.terminal, log.name, services_.epoch);
    // The greatest name of a segment that begins there.
    std::string after = keys::segment(prefix, seen, ~Sequence{0});
    while (true) {
      TILLSYNC_LET(const auto page, store_.list(keys::log_prefix(prefix), after, 1000));
      for (auto& object : page.objects) {
        const auto range = keys::range_of_segment(object.key);
        if (!range || range->second < log.oldest) continue;
        TILLSYNC_LET(const bool own, is_own(object));
        if (!own)
          return std::optional<EpochLoss>(
              {"the store has a segment of the log that was not made here (" + object.key + ")", {}});
      }
      if (!page.more || page.objects.empty()) break;
      after = page.objects.back().key;
    }
  }
  marks.push_back({{"at", to_ms(services_.clock->now())}, {"durable", std::move(now)}});
  TILLSYNC_TRY(services_.state->set_setting("epoch_marks", marks.dump()));
  TILLSYNC_TRY(forget_parts(marks.front().at("durable")));
  return std::optional<EpochLoss>();
}

// The next look begins behind them.
Result<void> EpochClaim::forget_parts(const Json& seen) {
  auto db = services_.state->lease();
  for (auto& [id, durable] : seen.items()) {
    const int64_t database = std::stoll(id);
    TILLSYNC_LET(auto behind, db->cached("DELETE FROM merged_parts WHERE id BETWEEN ? AND ?"));
    TILLSYNC_TRY(behind->bind(1, scoped_id(database, 0)).bind(2, scoped_id(database, durable.get<Sequence>())).run());
  }
  return {};
}

// How far the logs were durable at earlier looks. One that is a copy of this terminal writes at most kLookEvery after
// its own last look: what it wrote beside us lies after the mark of kLookBack ago.
Result<Json> EpochClaim::read_marks() {
  TILLSYNC_LET(const auto kept, services_.state->setting("epoch_marks"));
  Json marks = kept ? parse_json(*kept) : Json::array();
  if (!marks.is_array()) return Error{ErrorKind::corrupt, 0, "state.db: its setting epoch_marks does not parse"};
  const int64_t old = to_ms(services_.clock->now() - kLookBack);
  while (marks.size() > 1 && marks[1].at("at").get<int64_t>() <= old) marks.erase(0);
  return marks;
}

Result<bool> EpochClaim::is_own(const ObjectInfo& segment) {
  Bytes expected;
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto row, db->prepare("SELECT sha256, size, durable_at IS NOT NULL FROM segments WHERE object_key=?1 "
                                       "UNION ALL SELECT sha256, size, 1 FROM merged_parts WHERE object_key=?1 "
                                       "UNION ALL SELECT sha256, size, 0 FROM merges WHERE object_key=?1"));
    row.bind(1, segment.key);
    TILLSYNC_LET(const bool found, row.step());
    if (!found || row.unsigned_integer(1) != segment.size) return false;
    if (row.integer(2)) return true;
    expected = to_bytes(row.blob(0));
  }
  TILLSYNC_LET(const Bytes there, read_object(store_, segment.key, kSegmentMax));
  return equal(sha256(there).view(), expected);
}

}  // namespace tillsync
