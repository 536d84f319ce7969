#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/quantity.hpp"
#include "cli/command.hpp"
#include "cli/progress_bar.hpp"
#include "cli/table.hpp"
#include "log/inspection.hpp"

// pgcascade log show|verify

namespace pgcascade::cli {

namespace {

using log::FeedEntry;
using log::FeedPosition;
using log::FeedScan;
using log::Flaw;
using log::LogPlace;
using log::ScanDepth;
using log::WalPosition;
using log::WalScan;

struct LogArguments {
    std::string directory;
    bool json = false;
    bool segments = false;
    bool entries = false;
    std::size_t limit = 100;
};

struct Log {
    LogPlace place;
    std::variant<FeedScan, WalScan> scan;
    std::vector<FeedEntry> entries;  // the last ones, where they were asked for

    bool is_feed() const { return place.kind == LogPlace::Kind::kFeed; }
    const FeedScan& feed() const { return std::get<FeedScan>(scan); }
    const WalScan& wal() const { return std::get<WalScan>(scan); }

    // What both kinds of scan have.
    template <class Member>
    auto get(Member member) const {
        return std::visit(member, scan);
    }
    std::uint64_t tail_bytes() const {
        return get([](const auto& found) { return found.tail_bytes; });
    }
    std::optional<Flaw> torn() const {
        return get([](const auto& found) { return found.torn; });
    }
    std::vector<Flaw> corruptions() const {
        return get([](const auto& found) { return found.corruptions; });
    }
    std::uint64_t bytes_checked() const {
        return get([](const auto& found) { return found.bytes_checked; });
    }
    std::size_t segments() const {
        return get([](const auto& found) { return found.segments.size(); });
    }
    bool has_tail() const { return torn() || tail_bytes() > 0; }

    std::string title() const { return (is_feed() ? "feed " : "WAL ") + place.name; }
};

// -- Figures --

// A segment's files have it as their name.
std::string position_text(FeedPosition position) {
    return fmt::format("{:016x}", position.value);
}

std::string lsn_text(const std::optional<Lsn>& lsn) {
    return lsn && *lsn ? lsn->to_string() : "";
}

std::string bytes_text(std::uint64_t bytes) {
    return format_bytes(static_cast<std::int64_t>(bytes));
}

std::string file_name(WalPosition start, std::uint64_t segment_bytes) {
    return log::WalDirectory{"", segment_bytes}.complete_file(start).string();
}

std::uint64_t bytes_of(const FeedScan& scan) {
    return bytes_between(scan.begin, scan.end);
}

std::uint64_t bytes_of(const WalScan& scan) {
    std::uint64_t bytes = 0;
    for (const WalScan::Segment& segment : scan.segments)
        bytes += segment.end.value - segment.start.lsn.value;
    return bytes;
}

std::uint64_t entries_of(const FeedScan& scan) {
    std::uint64_t entries = 0;
    for (const FeedScan::Segment& segment : scan.segments) entries += segment.entries;
    return entries;
}

std::optional<Lsn> first_commit(const FeedScan& scan) {
    for (const FeedScan::Segment& segment : scan.segments)
        if (segment.first) return segment.first->commit_lsn;
    return std::nullopt;
}

template <class Entry>
std::optional<Lsn> commit_lsn(const Entry& entry) {
    return entry ? std::optional{entry->commit_lsn} : std::nullopt;
}

template <class Entry>
std::optional<Lsn> end_lsn(const Entry& entry) {
    return entry ? std::optional{entry->end_lsn} : std::nullopt;
}

const char* kind_of(const FeedEntry& entry) {
    if ((entry.flags & FeedEntry::kIsKeepalive) != 0) return "keepalive";
    return (entry.flags & FeedEntry::kIsLoneMessage) != 0 ? "message" : "transaction";
}

bool has_definitions(const FeedEntry& entry) {
    return (entry.flags & FeedEntry::kHasDefinitions) != 0;
}

// -- For people --

Cell state_cell(const Log& log) {
    if (!log.corruptions().empty()) return {"corrupt", Colour::kBad};
    if (log.tail_bytes() > 0) return {bytes_text(log.tail_bytes()) + " not whole", Colour::kWarning};
    if (log.torn()) return {"torn", Colour::kWarning};
    return {"whole", Colour::kGood};
}

void add_row(Table& table, const Log& log, const FeedScan& scan) {
    table.add_row({{"feed"},
                   {log.place.name},
                   {position_text(scan.begin)},
                   {position_text(scan.end)},
                   {""},
                   {lsn_text(first_commit(scan))},
                   {lsn_text(end_lsn(scan.last))},
                   {position_text(scan.durable)},
                   {std::to_string(scan.segments.size())},
                   {std::to_string(entries_of(scan))},
                   {bytes_text(bytes_of(scan))},
                   state_cell(log)});
}

void add_row(Table& table, const Log& log, const WalScan& scan) {
    const bool is_one = scan.begin.timeline == scan.end.timeline;
    const std::string timelines =
        is_one ? std::to_string(scan.end.timeline.value)
               : fmt::format("{} to {}", scan.begin.timeline.value, scan.end.timeline.value);
    table.add_row({{"WAL"},
                   {log.place.name},
                   {""},
                   {""},
                   {scan.segments.empty() ? "" : timelines},
                   {scan.segments.empty() ? "" : scan.begin.lsn.to_string()},
                   {scan.segments.empty() ? "" : scan.end.lsn.to_string()},
                   {lsn_text(scan.durable.lsn)},
                   {std::to_string(scan.segments.size())},
                   {""},
                   {bytes_text(bytes_of(scan))},
                   state_cell(log)});
}

std::string logs_as_table(const std::vector<Log>& logs) {
    Table table({{.name = "log"},
                 {.name = "name"},
                 {.name = "begin"},
                 {.name = "end"},
                 {.name = "timeline"},
                 {.name = "begin_lsn"},
                 {.name = "end_lsn"},
                 {.name = "on_disk_to"},
                 {.name = "segments", .right_aligned = true},
                 {.name = "entries", .right_aligned = true},
                 {.name = "bytes", .right_aligned = true},
                 {.name = "state"}});
    for (const Log& log : logs) std::visit([&](const auto& scan) { add_row(table, log, scan); }, log.scan);
    return table.to_string(wants_colour());
}

void add_segments(Table& table, const Log& log, const FeedScan& scan) {
    for (const FeedScan::Segment& segment : scan.segments)
        table.add_row({{log.place.name},
                       {position_text(segment.position)},
                       {""},
                       {lsn_text(commit_lsn(segment.first))},
                       {lsn_text(end_lsn(segment.last))},
                       {std::to_string(segment.entries)},
                       {bytes_text(bytes_between(segment.position, segment.end))},
                       {""}});
}

void add_segments(Table& table, const Log& log, const WalScan& scan) {
    for (const WalScan::Segment& segment : scan.segments)
        table.add_row({{log.place.name},
                       {file_name(segment.start, scan.segment_bytes)},
                       {std::to_string(segment.start.timeline.value)},
                       {segment.from.to_string()},
                       {segment.end.to_string()},
                       {""},
                       {bytes_text(segment.end.value - segment.start.lsn.value)},
                       {segment.is_complete ? "complete" : "partial"}});
}

std::string segments_as_table(const std::vector<Log>& logs) {
    Table table({{.name = "name"},
                 {.name = "segment"},
                 {.name = "timeline"},
                 {.name = "begin_lsn"},
                 {.name = "end_lsn"},
                 {.name = "entries", .right_aligned = true},
                 {.name = "bytes", .right_aligned = true},
                 {.name = "state"}});
    for (const Log& log : logs)
        std::visit([&](const auto& scan) { add_segments(table, log, scan); }, log.scan);
    return table.to_string(wants_colour());
}

std::string entries_as_table(const std::vector<Log>& logs) {
    Table table({{.name = "name"},
                 {.name = "position"},
                 {.name = "entry"},
                 {.name = "commit_lsn"},
                 {.name = "end_lsn"},
                 {.name = "bytes", .right_aligned = true},
                 {.name = "announces"}});
    for (const Log& log : logs)
        for (const FeedEntry& entry : log.entries)
            table.add_row({{log.place.name},
                           {position_text(entry.begin)},
                           {kind_of(entry)},
                           {entry.commit_lsn.to_string()},
                           {entry.end_lsn.to_string()},
                           {bytes_text(bytes_between(entry.begin, entry.end))},
                           {has_definitions(entry) ? "relations or types" : ""}});
    return table.to_string(wants_colour());
}

std::string tail_text(const Log& log) {
    std::string text = "the end is not whole";
    if (log.tail_bytes() > 0) text += fmt::format(", {}", bytes_text(log.tail_bytes()));
    if (const auto torn = log.torn()) text += fmt::format(" ({})", torn->to_string());
    return text + ": a relay that runs has it under way, or else its next start cuts it off";
}

std::string verdict(const Log& log) {
    const bool colour = wants_colour();
    const std::vector<Flaw> corruptions = log.corruptions();
    std::string text = log.title() + ": ";
    if (corruptions.empty())
        text += coloured("whole", Colour::kGood, colour);
    else
        text += coloured(
            fmt::format("corrupt in {} place{}", corruptions.size(), corruptions.size() == 1 ? "" : "s"),
            Colour::kBad, colour);
    text += fmt::format(", {} segment{}", log.segments(), log.segments() == 1 ? "" : "s");
    if (log.is_feed())
        text += fmt::format(", {} entr{}", log.feed().entries_scanned,
                            log.feed().entries_scanned == 1 ? "y" : "ies");
    text += fmt::format(", {} read\n", bytes_text(log.bytes_checked()));
    for (const Flaw& flaw : corruptions) text += "  " + flaw.to_string() + "\n";
    if (corruptions.size() >= log::kMostCorruptions) text += "  and perhaps more: reading ended there\n";
    if (log.has_tail()) text += "  " + tail_text(log) + "\n";
    return text;
}

// -- JSON --

using JsonWriter = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void write_text(JsonWriter& json, const char* key, const std::string& text) {
    json.Key(key);
    if (text.empty())
        json.Null();
    else
        json.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

void write_number(JsonWriter& json, const char* key, std::optional<std::uint64_t> number) {
    json.Key(key);
    if (number)
        json.Uint64(*number);
    else
        json.Null();
}

void write_flag(JsonWriter& json, const char* key, bool flag) {
    json.Key(key);
    json.Bool(flag);
}

void write_flaw(JsonWriter& json, const Flaw& flaw) {
    json.StartObject();
    write_text(json, "file", flaw.file.string());
    write_number(json, "offset", flaw.offset);
    write_text(json, "what", flaw.what);
    json.EndObject();
}

// What both show and verify tell of a log.
void write_soundness(JsonWriter& json, const Log& log) {
    write_flag(json, "whole", log.corruptions().empty());
    write_number(json, "tail_bytes", log.tail_bytes());
    json.Key("torn");
    if (const auto torn = log.torn())
        write_flaw(json, *torn);
    else
        json.Null();
    json.Key("corruptions");
    json.StartArray();
    for (const Flaw& flaw : log.corruptions()) write_flaw(json, flaw);
    json.EndArray();
}

void write_place(JsonWriter& json, const LogPlace& place) {
    write_text(json, "kind", place.kind == LogPlace::Kind::kFeed ? "feed" : "wal");
    write_text(json, "name", place.name);
    write_text(json, "directory", place.directory.string());
}

void write_content(JsonWriter& json, const FeedScan& scan) {
    write_number(json, "begin_position", scan.begin.value);
    write_number(json, "end_position", scan.end.value);
    write_number(json, "durable_position", scan.durable.value);
    write_text(json, "begin_lsn", lsn_text(first_commit(scan)));
    write_text(json, "end_lsn", lsn_text(end_lsn(scan.last)));
    write_number(json, "segments", scan.segments.size());
    write_number(json, "entries", entries_of(scan));
    write_number(json, "bytes", bytes_of(scan));
}

void write_content(JsonWriter& json, const WalScan& scan) {
    const bool is_empty = scan.segments.empty();
    const auto timeline = [&](WalPosition position) {
        return is_empty ? std::nullopt : std::optional<std::uint64_t>{position.timeline.value};
    };
    write_number(json, "begin_timeline", timeline(scan.begin));
    write_number(json, "end_timeline", timeline(scan.end));
    write_text(json, "begin_lsn", is_empty ? "" : scan.begin.lsn.to_string());
    write_text(json, "end_lsn", is_empty ? "" : scan.end.lsn.to_string());
    write_text(json, "durable_lsn", lsn_text(scan.durable.lsn));
    write_number(json, "segment_bytes",
                 scan.segment_bytes == 0 ? std::nullopt : std::optional{scan.segment_bytes});
    write_number(json, "segments", scan.segments.size());
    write_number(json, "bytes", bytes_of(scan));
    json.Key("histories");
    json.StartArray();
    for (const TimelineId history : scan.histories) json.Uint(history.value);
    json.EndArray();
}

void write_segments(JsonWriter& json, const FeedScan& scan) {
    for (const FeedScan::Segment& segment : scan.segments) {
        json.StartObject();
        write_text(json, "segment", position_text(segment.position));
        write_number(json, "begin_position", segment.position.value);
        write_number(json, "end_position", segment.end.value);
        write_text(json, "first_commit_lsn", lsn_text(commit_lsn(segment.first)));
        write_text(json, "last_commit_lsn", lsn_text(commit_lsn(segment.last)));
        write_text(json, "end_lsn", lsn_text(end_lsn(segment.last)));
        write_number(json, "entries", segment.entries);
        json.EndObject();
    }
}

void write_segments(JsonWriter& json, const WalScan& scan) {
    for (const WalScan::Segment& segment : scan.segments) {
        json.StartObject();
        write_text(json, "segment", file_name(segment.start, scan.segment_bytes));
        write_number(json, "timeline", segment.start.timeline.value);
        write_text(json, "start_lsn", segment.start.lsn.to_string());
        write_text(json, "begin_lsn", segment.from.to_string());
        write_text(json, "end_lsn", segment.end.to_string());
        write_flag(json, "complete", segment.is_complete);
        json.EndObject();
    }
}

void write_entries(JsonWriter& json, const std::vector<FeedEntry>& entries) {
    json.Key("entry_list");
    json.StartArray();
    for (const FeedEntry& entry : entries) {
        json.StartObject();
        write_text(json, "entry", kind_of(entry));
        write_number(json, "begin_position", entry.begin.value);
        write_number(json, "end_position", entry.end.value);
        write_text(json, "commit_lsn", entry.commit_lsn.to_string());
        write_text(json, "end_lsn", entry.end_lsn.to_string());
        write_flag(json, "has_definitions", has_definitions(entry));
        json.EndObject();
    }
    json.EndArray();
}

// One object with the logs, each of which `write` fills.
template <class Write>
std::string as_json(const std::vector<Log>& logs, const Write& write) {
    rapidjson::StringBuffer buffer;
    JsonWriter json{buffer};
    json.SetIndent(' ', 2);
    json.StartObject();
    write_flag(json, "whole", std::all_of(logs.begin(), logs.end(), [](const Log& log) {
                   return log.corruptions().empty();
               }));
    json.Key("logs");
    json.StartArray();
    for (const Log& log : logs) {
        json.StartObject();
        write_place(json, log.place);
        write(json, log);
        write_soundness(json, log);
        json.EndObject();
    }
    json.EndArray();
    json.EndObject();
    return std::string{buffer.GetString(), buffer.GetSize()} + "\n";
}

// -- The commands --

Log look_at(const LogPlace& place, ScanDepth depth, const log::OnRead& on_read) {
    if (place.kind == LogPlace::Kind::kFeed)
        return {place, log::inspect_feed(place.directory, depth, on_read), {}};
    return {place, log::inspect_wal(place.directory, depth, on_read), {}};
}

bool report_corruption(const std::vector<Log>& logs, Invocation& invocation) {
    const auto corrupt =
        std::count_if(logs.begin(), logs.end(), [](const Log& log) { return !log.corruptions().empty(); });
    if (corrupt == 0) return false;
    invocation.exit_status = kFailed;
    return true;
}

void verify(const LogArguments& arguments, Invocation& invocation) {
    std::vector<Log> logs;
    for (const LogPlace& place : log::find_logs(arguments.directory)) {
        ProgressBar bar{place.name};
        const std::uint64_t total = log::bytes_of(place);
        std::uint64_t done = 0;
        logs.push_back(look_at(place, ScanDepth::kAll, [&](std::uint64_t bytes) {
            invocation.stop.check();
            done += bytes;
            bar.update(std::min(done, total), total);
        }));
    }
    if (arguments.json) {
        print(as_json(logs, [](JsonWriter& json, const Log& log) {
            write_number(json, "segments", log.segments());
            write_number(json, "bytes", log.bytes_checked());
            if (log.is_feed()) write_number(json, "entries", log.feed().entries_scanned);
        }));
    } else {
        std::string text;
        for (const Log& log : logs) text += verdict(log);
        print(text);
    }
    if (report_corruption(logs, invocation))
        diagnostics::error(
            LogCorrupt("what was on disk is missing or damaged",
                       "no crash does that: look for what the disk lost; restore the files, or begin the log "
                       "anew, after which those that it feeds need a new copy"));
}

void show(const LogArguments& arguments, Invocation& invocation) {
    std::vector<Log> logs;
    for (const LogPlace& place : log::find_logs(arguments.directory)) {
        logs.push_back(
            look_at(place, ScanDepth::kTail, [&](std::uint64_t /*bytes*/) { invocation.stop.check(); }));
        Log& log = logs.back();
        if (arguments.entries && log.is_feed())
            log.entries = log::last_entries(place.directory, log.feed(), arguments.limit);
    }
    if (arguments.json) {
        print(as_json(logs, [&](JsonWriter& json, const Log& log) {
            std::visit([&](const auto& scan) { write_content(json, scan); }, log.scan);
            if (arguments.segments) {
                json.Key("segment_list");
                json.StartArray();
                std::visit([&](const auto& scan) { write_segments(json, scan); }, log.scan);
                json.EndArray();
            }
            if (arguments.entries && log.is_feed()) write_entries(json, log.entries);
        }));
    } else {
        std::string text = logs_as_table(logs);
        if (arguments.segments) text += "\n" + segments_as_table(logs);
        if (arguments.entries) text += "\n" + entries_as_table(logs);
        print(text);
    }
    if (report_corruption(logs, invocation))
        diagnostics::error(LogCorrupt("a start would refuse what is corrupt; shown is what stands before it",
                                      "`pgcascade log verify` names it all"));
}

}  // namespace

void add_log_command(CLI::App& app, Invocation& invocation) {
    CLI::App* log = app.add_subcommand("log", "Show what a relay's log holds, and check every byte of it");
    log->require_subcommand(1);
    const auto arguments = std::make_shared<LogArguments>();
    const auto add = [&](const char* name, const char* what) {
        CLI::App* command = log->add_subcommand(name, what);
        command
            ->add_option("directory", arguments->directory,
                         "That of a relay, of one of its feeds, or of its WAL")
            ->required();
        command->add_flag("--json", arguments->json, "As JSON, on standard output");
        command->footer("Reads only; a relay may be at work there. Exit status: 1 where the log is corrupt.");
        return command;
    };

    CLI::App* show_command = add("show", "What the log holds: positions, segments, bytes");
    show_command->add_flag("--segments", arguments->segments, "Also each segment");
    CLI::Option* entries =
        show_command->add_flag("--entries", arguments->entries, "Also each feed's last transactions");
    show_command->add_option("--limit", arguments->limit, "How many of them")
        ->check(CLI::Range(1, 1'000'000))
        ->needs(entries)
        ->option_text("N (100)");
    show_command->callback([arguments, &invocation] { show(*arguments, invocation); });

    CLI::App* verify_command = add("verify", "Hold every byte of the log against its checksums");
    verify_command->callback([arguments, &invocation] { verify(*arguments, invocation); });
}

}  // namespace pgcascade::cli
