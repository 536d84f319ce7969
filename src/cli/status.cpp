#include "tree/status.hpp"

#include <chrono>
#include <memory>
#include <string>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "cli/command.hpp"
#include "cli/live_screen.hpp"
#include "cli/table.hpp"
#include "cli/tree_drawing.hpp"
#include "tree/probe.hpp"

// pgcascade status [cascade.toml]

namespace pgcascade::cli {

namespace {

struct StatusArguments {
    std::string file = "cascade.toml";
    bool json = false;
    bool watch = false;
    double interval_s = 2;
    double timeout_s = 5;
};

std::chrono::milliseconds to_milliseconds(double seconds) {
    return std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)};
}

// What is printed, and whether all nodes answered.
struct Report {
    std::string text;
    bool all_answer = false;
};

Report report(const StatusArguments& arguments, int stop_fd) {
    // Read each time: --watch follows a file that is edited.
    const tree::Cascade cascade = tree::read_cascade_file(arguments.file);
    const tree::Observation observation =
        tree::probe(cascade, {.timeout = to_milliseconds(arguments.timeout_s), .stop_fd = stop_fd});
    const tree::TreeStatus status = tree::status_of(cascade, observation);
    return {arguments.json ? tree::to_json(status) + "\n" : draw_tree(status, wants_colour()),
            status.all_answer()};
}

// Until Ctrl-C, which is the normal end.
void watch(const StatusArguments& arguments, const Invocation& invocation) {
    const int interval_ms = static_cast<int>(to_milliseconds(arguments.interval_s).count());
    try {
        LiveScreen screen;
        for (;;) {
            screen.show(report(arguments, invocation.stop.fd()).text);
            wait_for(-1, 0, interval_ms, invocation.stop.fd());
        }
    } catch (const Stopped&) {
        return;
    }
}

void status(const StatusArguments& arguments, Invocation& invocation) {
    if (arguments.watch) {
        watch(arguments, invocation);
        return;
    }
    const Report once = report(arguments, invocation.stop.fd());
    print(once.text);
    if (!once.all_answer) invocation.exit_status = kFailed;
}

}  // namespace

void add_status_command(CLI::App& app, Invocation& invocation) {
    auto arguments = std::make_shared<StatusArguments>();
    CLI::App* command =
        app.add_subcommand("status", "Draw the tree: roles, positions, lag at every edge, slots");
    command->add_option("file", arguments->file, "The cascade file")->capture_default_str();
    command->add_flag("--json", arguments->json, "One JSON object on a line instead");
    command->add_flag("--watch", arguments->watch, "Go on, redrawing in place, until Ctrl-C");
    command->add_option("--interval", arguments->interval_s, "Between two looks with --watch")
        ->check(CLI::Range(0.1, 3600.0))
        ->option_text("SECONDS (2)");
    command->add_option("--timeout", arguments->timeout_s, "How long a node may take for each answer")
        ->check(CLI::Range(0.1, 3600.0))
        ->option_text("SECONDS (5)");
    command->footer("Exit status: 0 when every node answered, 1 when one did not.");
    command->callback([arguments, &invocation] { status(*arguments, invocation); });
}

}  // namespace pgcascade::cli
