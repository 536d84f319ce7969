#include "unit/pgoutput/change_text.hpp"

#include <chrono>

#include <fmt/format.h>

namespace pgcascade {

// Quoted, with what can't be printed as \xNN.
static std::string quoted(std::string_view bytes) {
    std::string text = "'";
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F || c == '\'' || c == '\\')
            text += fmt::format("\\x{:02x}", byte);
        else
            text += c;
    }
    return text + "'";
}

static std::string hex(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return text;
}

static std::string content_text(std::string_view bytes) {
    const bool is_text = bytes.find('\0') == std::string_view::npos;
    return is_text ? quoted(bytes) : "binary " + hex(bytes);
}

static std::string value_text(const Value& value) {
    constexpr std::size_t kShown = 80;
    switch (value.state()) {
        case Value::State::kNull:
            return "null";
        case Value::State::kUnchanged:
            return "unchanged";
        case Value::State::kText:
            if (value.bytes().size() <= kShown) return quoted(value.bytes());
            return fmt::format("{}... of {} bytes", quoted(value.bytes().substr(0, kShown)),
                               value.bytes().size());
        case Value::State::kBinary:
            return "binary " + hex(value.bytes());
    }
    return "?";
}

static std::string row_text(const char* title, const Row& row) {
    std::string line = fmt::format("    {}:", title);
    if (row.size() == 0) line += " no columns";
    for (std::size_t i = 0; i < row.size(); ++i)
        line += fmt::format(" {}={}", quoted(row.relation().columns[i].name), value_text(row[i]));
    return line + "\n";
}

static std::string relation_text(const Relation& relation) {
    std::string text = fmt::format("  relation {} {}.{} identity {}:", relation.oid, quoted(relation.schema),
                                   quoted(relation.table), static_cast<char>(relation.replica_identity));
    for (const Column& column : relation.columns) {
        text += fmt::format(" {}{} {}", column.is_key ? "*" : "", quoted(column.name), column.type_oid);
        if (column.type_modifier != -1) text += fmt::format("({})", column.type_modifier);
        if (!column.type_name.empty()) text += fmt::format("={}.{}", column.type_schema, column.type_name);
        text += ",";
    }
    return text + "\n";
}

static std::string time_text(Timestamp time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    return fmt::format("{}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                       clock.subseconds().count());
}

static std::string head_text(const Change& change) {
    std::string text = fmt::format("  {} {}", to_string(change.operation), change.lsn.to_string());
    text += fmt::format(" ({}, {})", change.commit_lsn.to_string(), change.ordinal);
    if (change.end_lsn) text += " end " + change.end_lsn.to_string();
    if (change.xid != 0) text += fmt::format(" xid {}", change.xid);
    if (change.committed_at != Timestamp{} && !change.is_row_change())
        text += " at " + time_text(change.committed_at);
    if (!change.origin.empty()) text += " from " + quoted(change.origin);
    return text;
}

static std::string details_text(const Change& change) {
    switch (change.operation) {
        case Operation::kInsert:
        case Operation::kUpdate:
        case Operation::kDelete:
            return fmt::format(" {} {}", change.relation->oid, quoted(change.relation->table));
        case Operation::kTruncate: {
            std::string text = fmt::format("{}{}", change.cascade ? " cascade" : "",
                                           change.restart_identity ? " restart identity" : "");
            for (const Relation* relation : change.truncated) text += " " + quoted(relation->table);
            return text;
        }
        case Operation::kMessage:
            return fmt::format(" {} {} {}", change.transactional ? "transactional" : "not transactional",
                               quoted(change.prefix), content_text(change.content));
        default:
            return "";
    }
}

std::string describe(const Change& change, std::uint64_t& generation) {
    std::string text;
    if (change.relation != nullptr && change.relation->generation != generation) {
        generation = change.relation->generation;
        text += relation_text(*change.relation);
    }
    text += head_text(change) + details_text(change) + "\n";
    if (change.old_kind == OldRow::kKey) text += row_text("key", change.old_row);
    if (change.old_kind == OldRow::kFull) text += row_text("old", change.old_row);
    if (change.operation == Operation::kInsert || change.operation == Operation::kUpdate)
        text += row_text("new", change.new_row);
    return text;
}

}  // namespace pgcascade
