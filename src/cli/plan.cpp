#include "tree/plan.hpp"

#include <memory>

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include "cli/command.hpp"
#include "cli/table.hpp"
#include "tree/probe.hpp"

// pgcascade plan

namespace pgcascade::cli {

namespace {

std::string as_text(const tree::Cascade& cascade, const tree::Plan& plan) {
    if (plan.steps.empty()) return fmt::format("{}: the servers are as the file says\n", cascade.name);
    std::string lines;
    std::size_t number = 0;
    for (const tree::Step& step : plan.steps) lines += fmt::format("{:>3}. {}\n", ++number, text(step));
    return lines;
}

std::string as_json(const tree::Plan& plan) {
    rapidjson::StringBuffer buffer;
    rapidjson::PrettyWriter<rapidjson::StringBuffer> json{buffer};
    const auto member = [&](const char* key, std::string_view value) {
        json.Key(key);
        json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
    };
    json.StartObject();
    json.Key("steps");
    json.StartArray();
    for (const tree::Step& step : plan.steps) {
        json.StartObject();
        member("kind", kind(step));
        member("node", node(step));
        member("text", text(step));
        json.Key("disruptive");
        json.Bool(is_disruptive(step));
        json.EndObject();
    }
    json.EndArray();
    json.Key("problems");
    json.StartArray();
    for (const tree::Problem& problem : plan.problems) {
        json.StartObject();
        member("what", problem.what);
        member("hint", problem.hint);
        json.EndObject();
    }
    json.EndArray();
    json.EndObject();
    return std::string{buffer.GetString(), buffer.GetSize()} + "\n";
}

struct PlanArguments {
    std::string file = "cascade.toml";
    bool json = false;
};

void run(const PlanArguments& arguments, Invocation& invocation) {
    const tree::Cascade cascade = tree::read_cascade_file(arguments.file);
    const tree::Plan plan =
        tree::plan(cascade, tree::probe(cascade, {.for_plan = true, .stop_fd = invocation.stop.fd()}));
    if (arguments.json) print(as_json(plan));
    tree::throw_problems(plan.problems);
    if (!arguments.json) print(as_text(cascade, plan));
    if (!plan.steps.empty()) invocation.exit_status = kDifferences;
}

}  // namespace

void add_plan_command(CLI::App& app, Invocation& invocation) {
    const auto arguments = std::make_shared<PlanArguments>();
    CLI::App* command =
        app.add_subcommand("plan",
                           "Show what apply would do to make the servers what cascade.toml says; exit "
                           "status 3 where that is something");
    command->add_option("file", arguments->file, "The cascade file")->capture_default_str();
    command->add_flag("--json", arguments->json, "Print the steps and problems as JSON");
    command->callback([arguments, &invocation] { run(*arguments, invocation); });
}

}  // namespace pgcascade::cli
