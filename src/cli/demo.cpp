#include "demo/demo.hpp"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "cli/command.hpp"
#include "cli/live_screen.hpp"
#include "cli/table.hpp"
#include "cli/tree_drawing.hpp"
#include "demo/stage.hpp"

// pgcascade demo

namespace pgcascade::cli {

namespace {

namespace fs = std::filesystem;

struct DemoArguments {
    std::string directory;
    std::int64_t seconds = 10;
    bool keep = false;
};

// What is shown while the demo runs. On a terminal a screen that is redrawn in place while the workload runs;
// else a few lines now and then. The phases go to standard error, as messages do.
class DemoScreen {
  public:
    demo::Events events() {
        return {
            .on_phase = [](const std::string& text) { diagnostics::info(text); },
            .on_plan =
                [](const tree::Plan& plan) {
                    diagnostics::info(
                        fmt::format("plan: {} steps; pgcascade apply would do the same", plan.steps.size()));
                },
            .on_step =
                [](const tree::Step& step, std::size_t number, std::size_t count) {
                    diagnostics::info(fmt::format("  {}/{} {}", number, count, tree::text(step)));
                },
            .on_progress = [this](const demo::Progress& progress) { show(progress); },
            .on_workload_end = [this] { leave_screen(); },
            .on_result =
                [](const tree::TreeStatus& tree) { print("\n" + draw_nodes(tree, wants_colour()) + "\n"); }};
    }

  private:
    static std::string counts(const demo::Progress& progress) {
        return fmt::format("committed on primary: {} row changes in {} transactions; streamed from {}: {}",
                           progress.row_changes, progress.transactions, demo::kLeaf, progress.streamed);
    }

    void show(const demo::Progress& progress) {
        for (const std::string& line : progress.changes) excerpt_.push_back(line);
        while (excerpt_.size() > kExcerptLines) excerpt_.pop_front();
        if (is_terminal_)
            draw(progress);
        else
            report(progress);
    }

    void draw(const demo::Progress& progress) {
        if (!screen_) screen_.emplace();
        std::string frame = fmt::format("pgcascade demo: {} s left; Ctrl-C stops and removes everything\n\n",
                                        (progress.left.count() + 999) / 1000);
        frame += draw_nodes(progress.tree, wants_colour()) + "\n" + counts(progress) + "\n\n";
        frame +=
            coloured(fmt::format("decoded on {}, the first change of the last transactions:", demo::kLeaf),
                     Colour::kDim, wants_colour()) +
            "\n";
        for (const std::string& line : excerpt_) frame += line;
        screen_->show(frame);
    }

    // The tree not every time: whoever reads a log wants to see that it changes, not how often.
    void report(const demo::Progress& progress) {
        std::string text;
        const std::size_t count = std::min(progress.changes.size(), kLinesPerReport);
        for (std::size_t i = progress.changes.size() - count; i < progress.changes.size(); ++i)
            text += progress.changes[i];
        if (reports_++ % kReportsPerTree == 0)
            text += "\n" + draw_nodes(progress.tree, wants_colour()) + "\n" + counts(progress) + "\n\n";
        print(text);
    }

    void leave_screen() {
        if (!screen_) return;
        screen_.reset();
        std::string text = fmt::format("decoded on {}, an excerpt:\n", demo::kLeaf);
        const std::size_t count = std::min<std::size_t>(excerpt_.size(), kLinesPerReport * 2);
        for (std::size_t i = excerpt_.size() - count; i < excerpt_.size(); ++i) text += excerpt_[i];
        print(text);
    }

    static constexpr std::size_t kExcerptLines = 12;
    static constexpr std::size_t kLinesPerReport = 2;
    static constexpr int kReportsPerTree = 5;

    bool is_terminal_ = ::isatty(STDOUT_FILENO) == 1;
    std::optional<LiveScreen> screen_;
    std::deque<std::string> excerpt_;
    int reports_ = 0;
};

// How the reader of the lines below calls this program.
std::string own_name() {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    if (error) return "pgcascade";
    const fs::path near = fs::proximate(self, fs::current_path(error), error);
    return !error && !near.string().starts_with("..") && near.has_parent_path() ? near.string()
                                                                                : self.string();
}

std::string what_to_try_next(const demo::Outcome& outcome) {
    const auto conninfo = [&](const char* node) {
        return demo::shell_quoted(
            outcome.cascade.conninfo(outcome.cascade.node(node)).with("dbname", demo::kDatabase).to_string());
    };
    const std::string self = demo::shell_quoted(own_name());
    const std::string file = demo::shell_quoted(outcome.cascade.file.string());
    return fmt::format(
        "\nThe servers go on running. To try next:\n\n"
        "  {0} status --watch {1}\n"
        "  {0} stream {2} --slot {3} --publication {4}\n"
        "  psql {5}\n"
        "  psql {2}\n"
        "  {0} slot list {2}\n"
        "  {0} plan {1}\n\n"
        "and at the end:\n\n"
        "  {0} stop {1} && {0} stop {6} && rm -r {7}\n",
        self, file, conninfo(demo::kLeaf), demo::kSlot, demo::kPublication, conninfo("primary"),
        demo::shell_quoted(outcome.subscriber.file.string()), demo::shell_quoted(outcome.directory.string()));
}

void report(const demo::Outcome& outcome) {
    for (const std::string& difference : outcome.differences) diagnostics::error(Error(difference));
    if (outcome.is_kept) print(what_to_try_next(outcome));
    if (outcome.differences.empty())
        print(
            fmt::format("verified: {} servers and a subscriber of the relay hold the same {} rows; {} row "
                        "changes streamed "
                        "from {}, none missing, none twice\n",
                        outcome.servers, outcome.rows, outcome.row_changes, demo::kLeaf));
    else
        print("not verified: see the differences above\n");
    if (outcome.not_stopped) diagnostics::error(*outcome.not_stopped);
}

void demo_command(const DemoArguments& arguments, Invocation& invocation) {
    DemoScreen screen;
    demo::DemoOptions options{.workload = std::chrono::seconds{arguments.seconds},
                              .keep = arguments.keep,
                              .stop_fd = invocation.stop.fd(),
                              .events = screen.events()};
    if (!arguments.directory.empty()) options.directory = arguments.directory;
    const demo::Outcome outcome = demo::run_demo(options);
    report(outcome);
    if (!outcome.differences.empty() || outcome.not_stopped) invocation.exit_status = kFailed;
}

}  // namespace

void add_demo_command(CLI::App& app, Invocation& invocation) {
    auto arguments = std::make_shared<DemoArguments>();
    CLI::App* command = app.add_subcommand("demo",
                                           "Build a cascade of seven servers and a relay, stream its "
                                           "changes, and prove that nothing is missing");
    command
        ->add_option("--directory", arguments->directory,
                     "Where the servers' files go, empty or not there yet; default: a temporary directory")
        ->option_text("DIRECTORY");
    command->add_option("--seconds", arguments->seconds, "How long the shop writes")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{3600}))
        ->option_text("SECONDS (10)");
    command->add_flag("--keep", arguments->keep, "Leave the servers running, and print what to try next");
    command->footer(
        "Ctrl-C stops the servers and removes their files at any moment.\n"
        "Exit status: 0 when everything was verified, 1 when something differed or failed.");
    command->callback([arguments, &invocation] { demo_command(*arguments, invocation); });
}

}  // namespace pgcascade::cli
