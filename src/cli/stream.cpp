#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

#include <pgcascade/format.hpp>
#include <pgcascade/stream.hpp>

#include "base/diagnostics.hpp"
#include "cli/command.hpp"
#include "stream/delivery.hpp"
#include "stream/output.hpp"
#include "stream/server_facts.hpp"

namespace pgcascade::cli {

namespace {

struct StreamArguments {
    StreamOptions stream;
    std::vector<std::string> publications;
    std::string from;
    std::string until;
    double status_interval_s = 10;
    bool no_reconnect = false;
    std::string format = "json";
    std::optional<bool> transactions;
    std::string server_name = DebeziumOptions{}.server_name;
    std::string output = "-";
};

// a,"b, ""c""" is a and b, "c": as SQL quotes identifiers, but without its folding of the others.
std::vector<std::string> split_names(std::string_view list) {
    std::vector<std::string> names(1);
    bool quoted = false;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const bool doubled = quoted && list.substr(i, 2) == "\"\"";
        if (doubled)
            names.back() += list[++i];
        else if (list[i] == '"')
            quoted = !quoted;
        else if (list[i] == ',' && !quoted)
            names.emplace_back();
        else
            names.back() += list[i];
    }
    return names;
}

std::string check_lsn(const std::string& text) {
    return Lsn::parse(text) ? "" : "\"" + text + "\" is no LSN; an LSN looks like 16/B374D848";
}

std::string check_format(const std::string& name) {
    return parse_format(name) ? ""
                              : "there is no format \"" + name + "\"; there are json, wal2json, debezium";
}

void add_source_options(CLI::App& command, StreamArguments& arguments) {
    command
        .add_option("conninfo", arguments.stream.conninfo,
                    "libpq connection string or URI of any server of the tree")
        ->required()
        ->type_name("CONNINFO");
    command.add_option("-S,--slot", arguments.stream.slot, "Logical replication slot (plugin pgoutput)")
        ->required()
        ->type_name("NAME");
    command
        .add_option("-P,--publication", arguments.publications,
                    "Publications whose changes are wanted; one with a comma in its name in double quotes")
        ->required()
        ->allow_extra_args(false)
        ->type_name("NAME[,NAME]");
    command.add_flag("--create-slot", arguments.stream.create_slot, "Create the slot if it is not there");
    command.add_flag("--temporary", arguments.stream.temporary_slot,
                     "Use a new slot that is gone when this program ends");
    command
        .add_option(
            "--primary", arguments.stream.primary_conninfo,
            "Where the primary is, for creating a slot on a standby; else it is found from the standby")
        ->type_name("CONNINFO");
    command.add_option("--from", arguments.from, "Leave out what committed before this position")
        ->check(CLI::Validator(check_lsn, ""))
        ->type_name("LSN");
    command
        .add_option("--until", arguments.until, "End once all that committed before this position is written")
        ->check(CLI::Validator(check_lsn, ""))
        ->type_name("LSN");
    command.add_flag("--messages", arguments.stream.messages,
                     "Also what pg_logical_emit_message() wrote (wal2json: always)");
    command
        .add_option("--status-interval", arguments.status_interval_s,
                    "How often the server is told what is confirmed, at least")
        ->check(CLI::PositiveNumber)
        ->capture_default_str()
        ->type_name("SECONDS");
    command.add_flag("--no-reconnect", arguments.no_reconnect, "End when the connection is lost");
}

void add_output_options(CLI::App& command, StreamArguments& arguments) {
    command.add_option("-f,--format", arguments.format, "json, wal2json or debezium")
        ->check(CLI::Validator(check_format, ""))
        ->capture_default_str()
        ->type_name("FORMAT");
    command.add_flag_function(
        "--transactions,!--no-transactions",
        [&arguments](std::int64_t count) { arguments.transactions = count > 0; },
        "Also a line for each begin and commit, or none; json: none, wal2json: both");
    command.add_option("--server-name", arguments.server_name, "debezium: the name of the source")
        ->capture_default_str()
        ->type_name("NAME");
    command.add_option("-o,--output", arguments.output, "Append to this file instead of standard output (-)")
        ->capture_default_str()
        ->type_name("FILE");
}

StreamOptions stream_options(const StreamArguments& arguments, const Invocation& invocation) {
    StreamOptions options = arguments.stream;
    for (const std::string& list : arguments.publications)
        for (std::string& name : split_names(list)) options.publications.push_back(std::move(name));
    options.from = Lsn::parse(arguments.from).value_or(Lsn{});
    options.until = Lsn::parse(arguments.until).value_or(Lsn{});
    options.confirm = Confirm::kManual;
    options.status_interval =
        std::chrono::milliseconds{static_cast<std::int64_t>(arguments.status_interval_s * 1e3)};
    options.messages |= arguments.format == to_string(Format::kWal2Json);  // as the plugin does
    options.reconnect = !arguments.no_reconnect;
    options.stop_fd = invocation.stop.fd();
    options.on_notice = [](const std::string& text) { diagnostics::info(text); };
    return options;
}

Output open_output(const StreamArguments& arguments, int stop_fd) {
    if (arguments.output == "-") return Output{STDOUT_FILENO, "standard output", stop_fd};
    return Output::append_to(arguments.output, stop_fd,
                             [](const std::string& text) { diagnostics::warning(text); });
}

FormatOptions format_options(const StreamArguments& arguments) {
    FormatOptions options;
    options.format = parse_format(arguments.format).value_or(Format::kJson);
    options.transactions = arguments.transactions;
    options.debezium.server_name = arguments.server_name;
    options.debezium.version = "pgcascade " PGCASCADE_VERSION;
    return options;
}

void stream(const StreamArguments& arguments, const Invocation& invocation) {
    const FormatOptions format = format_options(arguments);
    Output output = open_output(arguments, invocation.stop.fd());
    ChangeStream changes{stream_options(arguments, invocation)};
    const std::unique_ptr<Formatter> formatter =
        make_formatter(ask_server(format, arguments.stream.conninfo, invocation.stop.fd()));
    deliver(changes, *formatter, output,
            {.sync_interval = DeliveryOptions{}.sync_interval, .stop_fd = invocation.stop.fd()});
    if (!changes.close())
        diagnostics::warning(
            "the server did not take the last confirmed position in time: the next run may repeat the "
            "last transactions");
}

}  // namespace

void add_stream_command(CLI::App& app, Invocation& invocation) {
    CLI::App& command =
        *app.add_subcommand("stream", "Print the decoded changes of any server as JSON lines");
    const auto arguments = std::make_shared<StreamArguments>();
    add_source_options(command, *arguments);
    add_output_options(command, *arguments);
    command.callback([arguments, &invocation] {
        try {
            stream(*arguments, invocation);
        } catch (const Stopped&) {
            // Being stopped is how a stream that goes on for ever ends; what was written has been confirmed.
        }
    });
}

}  // namespace pgcascade::cli
