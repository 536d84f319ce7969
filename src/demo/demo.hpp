#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <pgcascade/error.hpp>

#include "tree/cascade_file.hpp"
#include "tree/plan.hpp"
#include "tree/status.hpp"

// The demonstration: builds a cascade of seven servers and a relay with plan and apply, and a subscriber of
// that relay beside it, lets a shop write on the primary while the changes are read from a leaf, and proves
// that every server holds the same rows and that the stream held every committed row change exactly once.

namespace pgcascade::demo {

inline constexpr const char* kLeaf = "eu-1";
inline constexpr const char* kRelay = "hub";
inline constexpr const char* kSubscriber =
    "subscriber";  // the server, its database's subscription and its slot
inline constexpr const char* kDatabase = "shop";
inline constexpr const char* kPublication = "shop";
inline constexpr const char* kSlot = "shop";

// What can be shown while the workload runs.
struct Progress {
    const tree::TreeStatus& tree;
    std::chrono::milliseconds left;    // of the workload
    std::uint64_t transactions = 0;    // committed on the primary
    std::uint64_t row_changes = 0;     // committed on the primary
    std::uint64_t streamed = 0;        // row changes, of whole transactions, read from the leaf
    std::vector<std::string> changes;  // since the last time: the first of each transaction, as JSON lines
};

// Called by the thread that called run_demo. None may be null.
struct Events {
    std::function<void(const std::string& text)> on_phase;  // what is done next, in a few words
    std::function<void(const tree::Plan&)> on_plan;
    // Before each; `number` counts from 1.
    std::function<void(const tree::Step&, std::size_t number, std::size_t count)> on_step;
    std::function<void(const Progress&)> on_progress;
    std::function<void()> on_workload_end;  // after the last on_progress
    std::function<void(const tree::TreeStatus&)>
        on_result;  // the tree when everything has arrived everywhere
};

struct DemoOptions {
    std::optional<std::filesystem::path> directory = {};  // nothing: a temporary one
    std::chrono::seconds workload{10};
    int transactions_per_second = 200;
    std::uint32_t seed = 1;
    bool keep = false;  // leave servers and directory behind
    int stop_fd = -1;
    Events events;
};

struct Outcome {
    tree::Cascade cascade;
    tree::Cascade subscriber;
    std::filesystem::path directory;
    std::size_t servers = 0;               // of the cascade
    std::int64_t rows = 0;                 // on each node
    std::uint64_t row_changes = 0;         // streamed, and committed
    std::vector<std::string> differences;  // none: verified
    bool is_kept = false;
    std::optional<Error> not_stopped;  // a server that did not stop in good order; it is stopped at once then
};

// Whichever way it ends, no server and no file is left behind, unless the outcome says that they are kept.
// Throws what apply, ChangeStream and Connection throw, and Stopped.
Outcome run_demo(const DemoOptions& options);

}  // namespace pgcascade::demo
