#include "postgres/backoff.hpp"

#include <algorithm>

namespace pgcascade::postgres {

using std::chrono::milliseconds;

static constexpr milliseconds kFirst{100};

Backoff::Backoff(milliseconds longest, std::uint32_t seed)
    : longest_(longest), step_(std::min(kFirst, longest)), random_(seed) {}

milliseconds Backoff::next() {
    std::uniform_int_distribution<milliseconds::rep> share{0, step_.count() / 4};
    const milliseconds wait = step_ - milliseconds{share(random_)};
    step_ = std::min(step_ * 2, longest_);
    return wait;
}

void Backoff::reset() {
    step_ = std::min(kFirst, longest_);
}

}  // namespace pgcascade::postgres
