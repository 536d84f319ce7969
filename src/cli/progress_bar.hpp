#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/clock.hpp"

namespace pgcascade::cli {

// What is shown of a long piece of work.
struct Progress {
    std::string label;
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;  // 0: not known yet, nothing has begun
    double bytes_per_second = 0;    // lately
};

// "eu: 45 %, 1.5 GB of 3.4 GB, 410 MB/s, 4 s left"
std::string progress_text(const Progress& progress);

// The same with a bar, within `columns`.
std::string progress_line(const Progress& progress, std::size_t columns);

// Shows on standard error how far a piece of work is: on a terminal a bar that is redrawn in place, else a
// line now and then. Nothing with --quiet. One thread.
class ProgressBar {
  public:
    explicit ProgressBar(std::string label);
    ~ProgressBar();  // leaves the terminal at the start of an empty line
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    // As often as one likes; most calls show nothing.
    void update(std::uint64_t done_bytes, std::uint64_t total_bytes);

  private:
    struct Sample {
        SteadyTime time;
        std::uint64_t done_bytes;
    };

    void show(SteadyTime time);

    Progress progress_;
    bool is_terminal_;
    bool is_drawn_ = false;
    std::optional<SteadyTime> shown_at_;
    std::deque<Sample> samples_;  // of the last seconds, for the rate
};

}  // namespace pgcascade::cli
