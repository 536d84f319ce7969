#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "protocol/replication_command.hpp"

namespace pgcascade::protocol {

namespace {

std::string quote(std::string_view text, char mark) {
    std::string quoted(1, mark);
    for (const char c : text) {
        if (c == mark) quoted += mark;
        quoted += c;
    }
    quoted += mark;
    return quoted;
}

// Part by part, because each is cut at 63 bytes, not the whole.
std::string quote_dotted(std::string_view name) {
    std::string quoted;
    for (;;) {
        const auto dot = name.find('.');
        quoted += quote_identifier(name.substr(0, dot));
        if (dot == std::string_view::npos) return quoted;
        quoted += '.';
        name.remove_prefix(dot + 1);
    }
}

// The server reads WAIT 0 and MAX_RATE 1024 only without quotes (defGetBoolean, defGetInt64), and LABEL from
// either form. A number that would come back otherwise than it was written stays a text.
bool is_plain_number(std::string_view text) {
    std::int32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() && number >= 0 &&
           text == std::to_string(number);
}

std::string setting_value(std::string_view value) {
    return is_plain_number(value) ? std::string(value) : quote_literal(value);
}

// ' ("name" value, …)', or nothing where there are no options: the grammar has no empty list. Names are
// quoted, because the plugin's options may not be keywords.
std::string option_list(const std::vector<CommandOption>& options,
                        std::string (*write_value)(std::string_view)) {
    if (options.empty()) return {};
    std::string list;
    for (const CommandOption& option : options) {
        list += list.empty() ? " (" : ", ";
        list += quote_identifier(option.name);
        if (option.value) list += " " + write_value(*option.value);
    }
    return list + ")";
}

// One overload for each command.
struct Writer {
    std::string operator()(const IdentifySystem&) const { return "IDENTIFY_SYSTEM"; }

    std::string operator()(const Show& show) const { return "SHOW " + quote_dotted(show.setting); }

    std::string operator()(const TimelineHistory& history) const {
        return fmt::format("TIMELINE_HISTORY {}", history.timeline.value);
    }

    std::string operator()(const ReadReplicationSlot& read) const {
        return "READ_REPLICATION_SLOT " + quote_dotted(read.slot);
    }

    std::string operator()(const CreateReplicationSlot& create) const {
        std::string text = "CREATE_REPLICATION_SLOT " + quote_identifier(create.slot);
        if (create.temporary) text += " TEMPORARY";
        text += create.plugin.empty() ? " PHYSICAL" : " LOGICAL " + quote_identifier(create.plugin);
        return text + option_list(create.options, setting_value);
    }

    std::string operator()(const DropReplicationSlot& drop) const {
        return "DROP_REPLICATION_SLOT " + quote_identifier(drop.slot) + (drop.wait ? " WAIT" : "");
    }

    std::string operator()(const AlterReplicationSlot& alter) const {
        return "ALTER_REPLICATION_SLOT " + quote_identifier(alter.slot) +
               option_list(alter.options, setting_value);
    }

    std::string operator()(const StartPhysicalReplication& start) const {
        std::string text = "START_REPLICATION";
        if (start.slot) text += " SLOT " + quote_identifier(*start.slot);
        text += " PHYSICAL " + start.start.to_string();
        if (start.timeline) text += fmt::format(" TIMELINE {}", start.timeline->value);
        return text;
    }

    std::string operator()(const StartLogicalReplication& start) const {
        return "START_REPLICATION SLOT " + quote_identifier(start.slot) + " LOGICAL " +
               start.start.to_string() + option_list(start.options, quote_literal);
    }

    std::string operator()(const BaseBackup& backup) const {
        return "BASE_BACKUP" + option_list(backup.options, setting_value);
    }

    std::string operator()(const UploadManifest&) const { return "UPLOAD_MANIFEST"; }

    std::string operator()(const Sql& sql) const { return sql.text; }
};

}  // namespace

std::string to_string(const ReplicationCommand& command) {
    return std::visit(Writer{}, command);
}

std::string quote_identifier(std::string_view name) {
    return quote(name, '"');
}

std::string quote_literal(std::string_view text) {
    return quote(text, '\'');
}

}  // namespace pgcascade::protocol
