#pragma once

#include <chrono>
#include <random>

namespace pgcascade::postgres {

// How long to wait before the next try: 100 ms at first, twice as long each time, at most `longest`. A
// quarter of it is random, so that many streams that lost one server do not come back all at once. Pure; the
// seed makes it repeatable.
class Backoff {
  public:
    Backoff(std::chrono::milliseconds longest, std::uint32_t seed);

    std::chrono::milliseconds next();
    void reset();  // after a success

  private:
    std::chrono::milliseconds longest_;
    std::chrono::milliseconds step_;
    std::minstd_rand random_;
};

}  // namespace pgcascade::postgres
