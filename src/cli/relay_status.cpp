#include "relay/relay_status.hpp"

#include <chrono>
#include <memory>
#include <string>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "cli/command.hpp"
#include "cli/live_screen.hpp"
#include "cli/relay_drawing.hpp"
#include "cli/table.hpp"

// pgcascade relay status [relay.toml]

namespace pgcascade::cli {

namespace {

struct RelayStatusArguments {
    std::shared_ptr<std::string> file;
    std::string conninfo;
    bool json = false;
    bool watch = false;
    double interval_s = 2;
    double timeout_s = 5;
};

std::chrono::milliseconds to_milliseconds(double seconds) {
    return std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)};
}

struct Report {
    std::string text;
    bool is_healthy = false;
};

// Connects each time: --watch outlives a relay that is started anew.
Report report(const RelayStatusArguments& arguments, int stop_fd) {
    const postgres::Conninfo conninfo = arguments.conninfo.empty()
                                            ? conninfo_of(relay::read_relay_file(*arguments.file))
                                            : postgres::Conninfo::parse(arguments.conninfo);
    postgres::Connection connection{
        conninfo.with_default("fallback_application_name", "pgcascade relay status"),
        {.timeout = to_milliseconds(arguments.timeout_s), .stop_fd = stop_fd}};
    const relay::RelayStatus status = relay::read_status(connection);
    return {arguments.json ? to_json(status) + "\n" : draw_relay(status, wants_colour()),
            problems_of(status).empty()};
}

std::string frame(const RelayStatusArguments& arguments, int stop_fd) {
    try {
        return report(arguments, stop_fd).text;
    } catch (const ConnectionError& problem) {
        if (!arguments.json) return draw_problem({problem.what(), problem.hint()}, wants_colour());
        diagnostics::error(problem);
        return "";
    }
}

// Until Ctrl-C, which is the normal end.
void watch(const RelayStatusArguments& arguments, const Invocation& invocation) {
    const int interval_ms = static_cast<int>(to_milliseconds(arguments.interval_s).count());
    try {
        LiveScreen screen;
        for (;;) {
            screen.show(frame(arguments, invocation.stop.fd()));
            wait_for(-1, 0, interval_ms, invocation.stop.fd());
        }
    } catch (const Stopped&) {
        return;
    }
}

void run(const RelayStatusArguments& arguments, Invocation& invocation) {
    if (arguments.watch) {
        watch(arguments, invocation);
        return;
    }
    const Report once = report(arguments, invocation.stop.fd());
    print(once.text);
    if (!once.is_healthy) invocation.exit_status = kDifferences;
}

}  // namespace

void add_relay_status_command(CLI::App& relay, std::shared_ptr<std::string> file, Invocation& invocation) {
    auto arguments = std::make_shared<RelayStatusArguments>();
    arguments->file = std::move(file);
    CLI::App* command =
        relay.add_subcommand("status", "Show a relay that runs: feeds, slots, clients, and what is wrong");
    CLI::Option* from_file =
        command->add_option("file", *arguments->file, "The relay's file")->capture_default_str();
    command
        ->add_option("-d,--conninfo", arguments->conninfo,
                     "Where it is, instead: libpq's connection string or URI, with a feed's database")
        ->excludes(from_file);
    command->add_flag("--json", arguments->json, "One JSON object on a line instead");
    command->add_flag("--watch", arguments->watch, "Go on, redrawing in place, until Ctrl-C");
    command->add_option("--interval", arguments->interval_s, "Between two looks with --watch")
        ->check(CLI::Range(0.1, 3600.0))
        ->option_text("SECONDS (2)");
    command->add_option("--timeout", arguments->timeout_s, "How long the relay may take for each answer")
        ->check(CLI::Range(0.1, 3600.0))
        ->option_text("SECONDS (5)");
    command->footer(
        "Exit status: 0 when all is well, 1 when the relay can't be reached, 3 when WAL or a feed is not\n"
        "received, or a slot is invalidated.");
    command->callback([arguments, &invocation] { run(*arguments, invocation); });
}

}  // namespace pgcascade::cli
