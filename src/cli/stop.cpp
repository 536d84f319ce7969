#include "tree/stop.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "cli/command.hpp"
#include "tree/apply_lock.hpp"

// pgcascade stop [cascade.toml]

namespace pgcascade::cli {

namespace {

using StopMode = postgres::StopMode;
using tree::StopOutcome;

struct StopArguments {
    std::string file = "cascade.toml";
    std::string mode = "fast";
    std::int64_t timeout_s = 60;
};

void report(const StopOutcome& outcome) {
    switch (outcome.kind) {
        case StopOutcome::Kind::kStopped:
            diagnostics::info(outcome.node + ": stopped");
            return;
        case StopOutcome::Kind::kWasDown:
            diagnostics::info(outcome.node + ": was not running");
            return;
        case StopOutcome::Kind::kElsewhere:
            diagnostics::warning(outcome.node + ": is not on this machine and goes on running",
                                 "run pgcascade stop on its host");
            return;
        case StopOutcome::Kind::kFailed:
            diagnostics::error(Error(outcome.node + ": " + outcome.problem.what, outcome.problem.hint));
            return;
    }
}

StopMode parse_mode(const std::string& name) {
    if (name == "smart") return StopMode::kSmart;
    return name == "immediate" ? StopMode::kImmediate : StopMode::kFast;
}

void stop(const StopArguments& arguments, Invocation& invocation) {
    const tree::Cascade cascade = tree::read_cascade_file(arguments.file);
    std::optional<tree::ApplyLock> lock;
    try {
        lock.emplace(cascade.file);
    } catch (const SystemError& problem) {
        // Servers must be able to stop where nothing can be written any more.
        diagnostics::warning(problem.what(), "an apply that runs meanwhile would start the servers again");
    }
    const tree::StopOptions options{.mode = parse_mode(arguments.mode),
                                    .timeout = std::chrono::seconds{arguments.timeout_s},
                                    .stop_fd = invocation.stop.fd()};
    for (const StopOutcome& outcome : tree::stop(cascade, options, report))
        if (outcome.kind == StopOutcome::Kind::kFailed) invocation.exit_status = kFailed;
}

}  // namespace

void add_stop_command(CLI::App& app, Invocation& invocation) {
    auto arguments = std::make_shared<StopArguments>();
    CLI::App* command = app.add_subcommand(
        "stop",
        "Stop the servers of the tree that run on this machine, the primary first, so that all end alike");
    command->add_option("file", arguments->file, "The cascade file")->capture_default_str();
    command
        ->add_option("--mode", arguments->mode,
                     "fast: end the clients' sessions; smart: wait for the clients to leave; immediate: as "
                     "a crash, standbys may lack the primary's last WAL")
        ->check(CLI::IsMember({"fast", "smart", "immediate"}))
        ->option_text("fast|smart|immediate (fast)");
    command->add_option("--timeout", arguments->timeout_s, "How long each server may take; 0: no limit")
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{86'400}))
        ->option_text("SECONDS (60)");
    command->footer("Exit status: 0 when none of them runs any more, 1 when one could not be stopped.");
    command->callback([arguments, &invocation] { stop(*arguments, invocation); });
}

}  // namespace pgcascade::cli
