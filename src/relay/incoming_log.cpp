#include "relay/incoming_log.hpp"

#include <utility>

namespace pgcascade::relay {

diagnostics::Fields IncomingLog::about(diagnostics::Fields more) const {
    more.insert(more.begin(), fields_.begin(), fields_.end());
    return more;
}

std::optional<IncomingLog::Sender> IncomingLog::sender() const {
    const std::lock_guard lock{mutex_};
    return sender_;
}

void IncomingLog::set_sender(std::optional<Sender> sender) {
    const std::lock_guard lock{mutex_};
    sender_ = std::move(sender);
}

std::string IncomingLog::problem() const {
    const std::lock_guard lock{mutex_};
    return problem_;
}

void IncomingLog::set_problem(std::string problem) {
    const std::lock_guard lock{mutex_};
    problem_ = std::move(problem);
}

}  // namespace pgcascade::relay
