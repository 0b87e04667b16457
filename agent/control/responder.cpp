#include <atomic>

#include "agent/control/server.h"

namespace tillsync {

struct Responder::State {
  std::shared_ptr<Channel> channel;
  Json id;
  std::atomic<bool> answered{false};

  State(std::shared_ptr<Channel> to, Json request_id) : channel(std::move(to)), id(std::move(request_id)) {}
  State(const State&) = delete;
  ~State() {
    if (!answered.exchange(true))
      channel->send_answer(
          encode_error(id, Error{ErrorKind::internal, 0, "the agent gave up this request without an answer"}));
  }
};

Responder::Responder(std::shared_ptr<Channel> channel, Json id)
    : state_(std::make_shared<State>(std::move(channel), std::move(id))) {}

void Responder::result(const Json& document) const {
  if (!state_->answered.exchange(true)) state_->channel->send_answer(encode_result(state_->id, document));
}

void Responder::error(const Error& error) const {
  if (!state_->answered.exchange(true)) state_->channel->send_answer(encode_error(state_->id, error));
}

void Responder::reply(const Result<Json>& outcome) const {
  if (outcome)
    result(*outcome);
  else
    error(outcome.error());
}

void Responder::notify(std::string_view method, const Json& params) const {
  if (!state_->answered) state_->channel->send_notification(encode_notification(method, params));
}

bool Responder::is_wanted() const { return !state_->answered && state_->channel->is_open(); }

}  // namespace tillsync
