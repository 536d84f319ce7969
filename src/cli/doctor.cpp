#include "tree/doctor.hpp"

#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include "cli/command.hpp"
#include "cli/table.hpp"

// pgcascade doctor CONNINFO|cascade.toml

namespace pgcascade::cli {

namespace {

using tree::Finding;
using tree::Patient;
using tree::Survey;
using Severity = Finding::Severity;

struct DoctorArguments {
    std::string target;
    bool json = false;
};

// A file is what looks like one or is one; everything else is libpq's to read.
bool is_cascade_file(const std::string& target) {
    if (target.find("://") != std::string::npos) return false;
    std::error_code none;
    return target.ends_with(".toml") || std::filesystem::is_regular_file(target, none);
}

Survey look_at(const std::string& target, int stop_fd) {
    const tree::SurveyOptions options{.stop_fd = stop_fd};
    if (is_cascade_file(target)) return survey_cascade(tree::read_cascade_file(target), options);
    return survey_chain(postgres::Conninfo::parse(target), options);
}

std::size_t count(const std::vector<Finding>& findings, Severity severity) {
    std::size_t number = 0;
    for (const Finding& finding : findings) number += finding.severity == severity ? 1 : 0;
    return number;
}

std::string role_of(const Patient& server) {
    if (server.state->relay) return "relay";
    return server.state->in_recovery ? "standby" : "primary";
}

std::string upstream_name(const Survey& survey, const Patient& server) {
    return server.upstream ? survey.servers.at(*server.upstream).name : "";
}

std::string servers_as_table(const Survey& survey, bool colour) {
    Table table({{.name = "server"}, {.name = "role"}, {.name = "version"}, {.name = "upstream"}});
    for (const Patient& server : survey.servers) {
        if (server.state)
            table.add_row(
                {{server.name}, {role_of(server)}, {server.version()}, {upstream_name(survey, server)}});
        else
            table.add_row(
                {{server.name}, {"unreachable", Colour::kBad}, {""}, {upstream_name(survey, server)}});
    }
    return table.to_string(colour);
}

std::string finding_as_text(const Finding& finding, bool colour) {
    const bool is_problem = finding.severity == Severity::kProblem;
    return fmt::format(
        "\n{} {}: {}\n  {} {}\n  {} {}\n",
        coloured(is_problem ? "PROBLEM" : "advice", is_problem ? Colour::kBad : Colour::kWarning, colour),
        finding.server, finding.what, coloured("why: ", Colour::kDim, colour), finding.why,
        coloured("mend:", Colour::kDim, colour), finding.mend);
}

std::string as_text(const Survey& survey, const std::vector<Finding>& findings) {
    const bool colour = wants_colour();
    std::string text = servers_as_table(survey, colour);
    for (const Severity severity : {Severity::kProblem, Severity::kAdvice})
        for (const Finding& finding : findings)
            if (finding.severity == severity) text += finding_as_text(finding, colour);
    const std::size_t problems = count(findings, Severity::kProblem);
    text += problems == 0 ? "\n" + coloured("healthy", Colour::kGood, colour)
                          : "\n" + coloured(fmt::format("{} problem{}", problems, problems == 1 ? "" : "s"),
                                            Colour::kBad, colour);
    return text + fmt::format(" ({} server{} examined)\n", survey.servers.size(),
                              survey.servers.size() == 1 ? "" : "s");
}

using JsonWriter = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void write_text(JsonWriter& json, const char* key, const std::string& text) {
    json.Key(key);
    if (text.empty())
        json.Null();
    else
        json.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

std::string as_json(const Survey& survey, const std::vector<Finding>& findings) {
    rapidjson::StringBuffer buffer;
    JsonWriter json{buffer};
    json.SetIndent(' ', 2);
    json.StartObject();
    json.Key("healthy");
    json.Bool(count(findings, Severity::kProblem) == 0);
    json.Key("servers");
    json.StartArray();
    for (const Patient& server : survey.servers) {
        json.StartObject();
        write_text(json, "name", server.name);
        json.Key("reached");
        json.Bool(server.state.has_value());
        write_text(json, "role", server.state ? role_of(server) : "");
        write_text(json, "version", server.state ? server.version() : "");
        write_text(json, "upstream", upstream_name(survey, server));
        json.EndObject();
    }
    json.EndArray();
    json.Key("findings");
    json.StartArray();
    for (const Finding& finding : findings) {
        json.StartObject();
        write_text(json, "severity", finding.severity == Severity::kProblem ? "problem" : "advice");
        write_text(json, "check", finding.check);
        write_text(json, "server", finding.server);
        write_text(json, "what", finding.what);
        write_text(json, "why", finding.why);
        write_text(json, "mend", finding.mend);
        json.EndObject();
    }
    json.EndArray();
    json.EndObject();
    return std::string{buffer.GetString(), buffer.GetSize()} + "\n";
}

}  // namespace

void add_doctor_command(CLI::App& app, Invocation& invocation) {
    CLI::App* command = app.add_subcommand(
        "doctor",
        "Find what would keep changes from getting to a leaf, and how to mend it (exit 3: found some)");
    const auto arguments = std::make_shared<DoctorArguments>();
    command
        ->add_option(
            "target", arguments->target,
            "A cascade.toml (all its servers), or a connection string (that server and its upstreams)")
        ->required();
    command->add_flag("--json", arguments->json, "As JSON, on standard output");
    command->callback([arguments, &invocation] {
        const Survey survey = look_at(arguments->target, invocation.stop.fd());
        const std::vector<Finding> findings = diagnose(survey);
        print(arguments->json ? as_json(survey, findings) : as_text(survey, findings));
        if (count(findings, Severity::kProblem) > 0) invocation.exit_status = kDifferences;
    });
}

}  // namespace pgcascade::cli
