#include "tree/apply.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "tree/probe.hpp"
#include "tree/step_runner.hpp"

namespace pgcascade::tree {

namespace {

std::string again(std::size_t done) {
    return fmt::format("{} done; `pgcascade apply` again goes on from there",
                       done == 0   ? "nothing was"
                       : done == 1 ? "one step is"
                                   : fmt::format("{} steps are", done));
}

void run_steps(StepRunner& runner, const Plan& plan, const ApplyOptions& options) {
    const std::size_t count = plan.steps.size();
    for (std::size_t done = 0; done < count; ++done) {
        const Step& step = plan.steps[done];
        if (options.on_start) options.on_start(step, done + 1, count);
        try {
            runner.run(step);
        } catch (const Stopped&) {
            diagnostics::info(
                fmt::format("stopped in step {} of {} ({}); {}", done + 1, count, text(step), again(done)));
            throw;
        } catch (const Error& problem) {
            throw Error(
                fmt::format("step {} of {} failed ({}): {}", done + 1, count, text(step), problem.what()),
                (problem.hint().empty() ? "" : problem.hint() + "; ") + again(done));
        }
        if (options.on_done) options.on_done(step, done + 1, count);
    }
}

}  // namespace

void apply(const Cascade& cascade, const Plan& plan, const ApplyOptions& options) {
    throw_problems(plan.problems);
    StepRunner runner{cascade, options};
    run_steps(runner, plan, options);
    if (plan.steps.empty()) return;

    const Plan rest = tree::plan(cascade, probe(cascade, {.for_plan = true, .stop_fd = options.stop_fd}));
    throw_problems(rest.problems);
    if (rest.steps.empty()) return;
    std::string what = "all steps are done, and the servers still differ from the file:";
    for (const Step& step : rest.steps) what += "\n  " + text(step);
    throw Error(
        what, "`pgcascade apply` again goes on with these; if they stay, something else changes the servers");
}

}  // namespace pgcascade::tree
