#include "cli/program.hpp"

#include <csignal>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "cli/command.hpp"

namespace pgcascade::cli {

namespace {

constexpr const char* kText = "text";
constexpr const char* kJson = "json";

void add_commands(CLI::App& app, Invocation& invocation) {
    add_plan_command(app, invocation);
    add_apply_command(app, invocation);
    add_status_command(app, invocation);
    add_stop_command(app, invocation);
    add_doctor_command(app, invocation);
    add_stream_command(app, invocation);
    add_slot_command(app, invocation);
    add_relay_command(app, invocation);
    add_log_command(app, invocation);
    add_demo_command(app, invocation);
    add_clone_command(app, invocation);
}

int run_parsed(CLI::App& app, Invocation& invocation, int argc, char** argv) {
    try {
        app.parse(argc, argv);
        return invocation.exit_status;
    } catch (const CLI::ParseError& problem) {
        return app.exit(problem) == 0 ? kDone : kUsage;
    } catch (const Stopped&) {
        diagnostics::info("stopped");
        return kFailed;
    } catch (const std::exception& problem) {
        diagnostics::error(problem);
        return kFailed;
    }
}

}  // namespace

int run_program(int argc, char** argv) {
    // A reader that goes away is an error of write(2), reported as such, not a silent end.
    ::signal(SIGPIPE, SIG_IGN);
    const StopSignal stop;
    Invocation invocation{stop};

    CLI::App app{"Cascading replication for PostgreSQL", "pgcascade"};
    app.set_version_flag("--version", std::string{"pgcascade "} + PGCASCADE_VERSION);
    app.require_subcommand(1);
    bool quiet = false;
    bool verbose = false;
    app.add_flag("-q,--quiet", quiet, "Print warnings and errors only");
    app.add_flag("-v,--verbose", verbose, "Print what is done in detail")->excludes("--quiet");
    std::string format = kText;
    app.add_option("--message-format", format, "How messages are written to standard error")
        ->check(CLI::IsMember({kText, kJson}))
        ->envname("PGCASCADE_MESSAGE_FORMAT")
        ->capture_default_str();
    app.parse_complete_callback([&] {
        diagnostics::start(quiet     ? diagnostics::Verbosity::kQuiet
                           : verbose ? diagnostics::Verbosity::kVerbose
                                     : diagnostics::Verbosity::kNormal,
                           format == kJson ? diagnostics::Format::kJson : diagnostics::Format::kText);
    });
    app.fallthrough();
    add_commands(app, invocation);
    return run_parsed(app, invocation, argc, argv);
}

}  // namespace pgcascade::cli
