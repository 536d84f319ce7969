#include "relay/incoming_log.hpp"

#include <utility>

namespace pgcascade::relay {

std::string IncomingLog::problem() const {
    const std::lock_guard lock{problem_mutex_};
    return problem_;
}

void IncomingLog::set_problem(std::string problem) {
    const std::lock_guard lock{problem_mutex_};
    problem_ = std::move(problem);
}

}  // namespace pgcascade::relay
