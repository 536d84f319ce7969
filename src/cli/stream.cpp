#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
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

constexpr double kShortestIntervalS = 0.001;  // what the library takes is whole milliseconds
constexpr double kLongestIntervalS = 86400;

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

// A quote that opens a name takes all that follows into it, so it has to be closed.
std::string check_names(const std::string& list) {
    if (std::count(list.begin(), list.end(), '"') % 2 != 0) return "a double quote is not closed in: " + list;
    const std::vector<std::string> names = split_names(list);
    const bool has_empty =
        std::any_of(names.begin(), names.end(), [](const auto& name) { return name.empty(); });
    return has_empty ? "a name is empty in \"" + list + "\"" : "";
}

std::string check_lsn(const std::string& text) {
    return Lsn::parse(text) ? "" : "\"" + text + "\" is no LSN; an LSN looks like 16/B374D848";
}

// Not CLI::Range, which lets pass what is no number.
std::string check_interval(const std::string& text) {
    double seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    const bool is_number = error == std::errc{} && end == text.data() + text.size();
    if (is_number && seconds >= kShortestIntervalS && seconds <= kLongestIntervalS) return "";
    return fmt::format("\"{}\" is no number of seconds from {} to {}", text, kShortestIntervalS,
                       kLongestIntervalS);
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
        ->check(CLI::Validator(check_names, ""))
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
        ->check(CLI::Validator(check_interval, ""))
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

// What the library would refuse as well, but only once the output has been opened.
void check_together(const StreamArguments& arguments) {
    if (arguments.from.empty()) return;
    if (arguments.stream.temporary_slot)
        throw CLI::ValidationError(
            "--temporary",
            "a temporary slot is new and begins at the present: it can't start --from " + arguments.from);
    if (arguments.until.empty() || Lsn::parse(arguments.until) >= Lsn::parse(arguments.from)) return;
    throw CLI::ValidationError("--until", "the stream would end, at " + arguments.until +
                                              ", before it begins, --from " + arguments.from);
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
        check_together(*arguments);
        try {
            stream(*arguments, invocation);
        } catch (const Stopped&) {
            // Being stopped is how a stream that goes on for ever ends; what was written has been confirmed.
        }
    });
}

}  // namespace pgcascade::cli
