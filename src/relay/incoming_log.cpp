#include "relay/incoming_log.hpp"

#include <utility>

namespace pgcascade::relay {

diagnostics::Fields IncomingLog::about(diagnostics::Fields more) const {
    more.insert(more.begin(), fields_.begin(), fields_.end());
    return more;
}

std::string IncomingLog::problem() const {
    const std::lock_guard lock{problem_mutex_};
    return problem_;
}

void IncomingLog::set_problem(std::string problem) {
    const std::lock_guard lock{problem_mutex_};
    problem_ = std::move(problem);
}

}  // namespace pgcascade::relay
