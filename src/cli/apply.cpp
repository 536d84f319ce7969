#include "tree/apply.hpp"

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/stop_signal.hpp"
#include "cli/command.hpp"
#include "cli/progress_bar.hpp"
#include "tree/apply_lock.hpp"
#include "tree/probe.hpp"

// pgcascade apply

namespace pgcascade::cli {

namespace {

struct ApplyArguments {
    std::string file = "cascade.toml";
    bool yes = false;
};

// Beside the question that it belongs to, so --quiet does not hide it.
void show(const tree::Plan& plan) {
    std::string list;
    for (std::size_t i = 0; i < plan.steps.size(); ++i)
        list += fmt::format("{:>3}. {}\n", i + 1, text(plan.steps[i]));
    write_all(STDERR_FILENO, list, "the terminal");
}

// One line from the terminal, or what ends it.
std::string ask(const std::string& question, int stop_fd) {
    write_all(STDERR_FILENO, question, "the terminal");
    wait_for(STDIN_FILENO, POLLIN, -1, stop_fd);
    std::string answer;
    std::getline(std::cin, answer);
    return answer;
}

// A plan that only adds is not asked about; one that restarts, stops or drops something is.
void confirm(const tree::Plan& plan, const ApplyArguments& arguments, int stop_fd) {
    const auto count = std::count_if(plan.steps.begin(), plan.steps.end(), tree::is_disruptive);
    if (arguments.yes || count == 0) return;
    const std::string what =
        fmt::format("{} of these steps restart{} or stop{} a server or a relay, or drop{} a slot", count,
                    count == 1 ? "s" : "", count == 1 ? "s" : "", count == 1 ? "s" : "");
    if (::isatty(STDIN_FILENO) == 0)
        throw ConfigError(what, "`pgcascade plan` shows which; say --yes where nobody can be asked");
    show(plan);
    const std::string answer = ask(what + ". Go on? [y/N] ", stop_fd);
    if (answer != "y" && answer != "yes") throw Error("not confirmed: nothing was changed");
}

void run(const ApplyArguments& arguments, Invocation& invocation) {
    const int stop_fd = invocation.stop.fd();
    const tree::Cascade cascade = tree::read_cascade_file(arguments.file);
    const tree::ApplyLock lock{cascade.file};
    const tree::Plan plan = tree::plan(cascade, tree::probe(cascade, {.for_plan = true, .stop_fd = stop_fd}));
    tree::throw_problems(plan.problems);
    if (plan.steps.empty()) {
        diagnostics::info(cascade.name + ": the servers are as the file says");
        return;
    }
    confirm(plan, arguments, stop_fd);

    std::optional<ProgressBar> bar;
    tree::ApplyOptions options;
    options.stop_fd = stop_fd;
    options.on_start = [&](const tree::Step& step, std::size_t number, std::size_t count) {
        diagnostics::info(fmt::format("[{}/{}] {} …", number, count, text(step)));
        if (kind(step) == tree::CloneNodes::kKind) bar.emplace("clone");
    };
    options.on_clone_progress = [&](std::uint64_t done, std::uint64_t total) { bar->update(done, total); };
    options.on_done = [&](const tree::Step&, std::size_t number, std::size_t count) {
        bar.reset();
        diagnostics::info(fmt::format("[{}/{}] done", number, count));
    };
    tree::apply(cascade, plan, options);
    diagnostics::info(cascade.name + ": the servers are as the file says");
}

}  // namespace

void add_apply_command(CLI::App& app, Invocation& invocation) {
    const auto arguments = std::make_shared<ApplyArguments>();
    CLI::App* command = app.add_subcommand(
        "apply", "Make the servers what cascade.toml says: the steps that plan shows, and no other");
    command->add_option("file", arguments->file, "The cascade file")->capture_default_str();
    command->add_flag("-y,--yes", arguments->yes, "Do not ask before a restart, a stop or a dropped slot");
    command->callback([arguments, &invocation] { run(*arguments, invocation); });
}

}  // namespace pgcascade::cli
