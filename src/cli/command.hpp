#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "base/stop_signal.hpp"

// A subcommand is one file with one function that adds it to the program: it declares the options and, in its
// callback, calls the library and prints. No logic of its own.

namespace pgcascade::cli {

enum ExitStatus { kDone = 0, kFailed = 1, kUsage = 2, kDifferences = 3 };

struct Invocation {
    const StopSignal& stop;
    int exit_status = kDone;  // a callback sets it; an exception makes it kFailed
};

// add_*_command functions, one a file, in the order in which --help lists them.
void add_plan_command(CLI::App& app, Invocation& invocation);
void add_apply_command(CLI::App& app, Invocation& invocation);
void add_status_command(CLI::App& app, Invocation& invocation);
void add_stop_command(CLI::App& app, Invocation& invocation);
void add_doctor_command(CLI::App& app, Invocation& invocation);
void add_stream_command(CLI::App& app, Invocation& invocation);
void add_slot_command(CLI::App& app, Invocation& invocation);
void add_relay_command(CLI::App& app, Invocation& invocation);
// Below `relay`; `file` is that of both.
void add_relay_status_command(CLI::App& relay, std::shared_ptr<std::string> file, Invocation& invocation);
void add_log_command(CLI::App& app, Invocation& invocation);
void add_demo_command(CLI::App& app, Invocation& invocation);
void add_clone_command(CLI::App& app, Invocation& invocation);

}  // namespace pgcascade::cli
