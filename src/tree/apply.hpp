#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tree/cascade_file.hpp"
#include "tree/plan.hpp"

namespace pgcascade::tree {

struct ApplyOptions {
    int stop_fd = -1;
    // How long to wait for a server or a standby that makes no progress at all.
    std::chrono::milliseconds stall_timeout{60'000};
    // Told before and after each step; `number` counts from 1. May be null.
    std::function<void(const Step& step, std::size_t number, std::size_t count)> on_start;
    std::function<void(const Step& step, std::size_t number, std::size_t count)> on_done;
    std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> on_clone_progress;
};

// Runs exactly the steps of the plan, in their order, then probes again: nothing may be left to do. The
// caller holds an ApplyLock since before the probe. However it ends, kill -9 included, planning and applying
// again goes on from there. Throws Error that names the step that failed (its hint says how to go on), or
// what still differs; Stopped, in or between steps.
void apply(const Cascade& cascade, const Plan& plan, const ApplyOptions& options);

}  // namespace pgcascade::tree
