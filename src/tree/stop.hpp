#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "postgres/local_server.hpp"
#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"

namespace pgcascade::tree {

struct StopOptions {
    postgres::StopMode mode = postgres::StopMode::kFast;
    std::chrono::milliseconds timeout{60'000};  // for each server; 0: none
    int stop_fd = -1;
};

struct StopOutcome {
    enum class Kind {
        kStopped,
        kWasDown,
        kElsewhere,  // not on this machine
        kFailed,     // see `problem`
    };
    std::string node;
    Kind kind = Kind::kWasDown;
    Problem problem;
};

// Stops the servers of the tree that run on this machine: the primary first, then level by level down. A
// server that is stopped (fast or smart) waits until whoever streams from it has all of its WAL, its last
// checkpoint too, so in this order every node ends at the same LSN; the other way round the primary would go
// on alone. What can't be stopped is an outcome, and the others are stopped nevertheless. Throws Stopped.
std::vector<StopOutcome> stop(const Cascade& cascade, const StopOptions& options,
                              const std::function<void(const StopOutcome&)>& on_outcome = {});

}  // namespace pgcascade::tree
