#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pgcascade/change.hpp>

// Changes made by hand, for the tests of the formats.

namespace pgcascade::sample {

using namespace std::chrono_literals;

inline constexpr Timestamp kCommittedAt =
    std::chrono::sys_days{std::chrono::year{2024} / 5 / 1} + 12h + 34min + 56s + 123456us;

// A value as the server sends it; owns nothing, so give it literals or strings that live on.
inline Value value(std::string_view text) {
    return {Value::State::kText, text};
}
inline Value null() {
    return {};
}
inline Value unchanged() {
    return {Value::State::kUnchanged, {}};
}

inline Column column(std::string name, std::uint32_t type_oid, bool is_key = false,
                     std::int32_t type_modifier = -1) {
    Column made;
    made.name = std::move(name);
    made.type_oid = type_oid;
    made.type_modifier = type_modifier;
    made.is_key = is_key;
    return made;
}

inline Relation relation(std::vector<Column> columns, std::string schema = "public",
                         std::string table = "t") {
    Relation made;
    made.oid = 16384;
    made.schema = std::move(schema);
    made.table = std::move(table);
    made.columns = std::move(columns);
    made.generation = 1;
    return made;
}

// A change of the transaction 745 at 0/2000; the rows must live as long as it.
inline Change change(Operation operation) {
    Change made;
    made.operation = operation;
    made.lsn = Lsn{0x1A2B};
    made.commit_lsn = Lsn{0x2000};
    made.ordinal = 1;
    made.xid = 745;
    made.committed_at = kCommittedAt;
    if (operation == Operation::kBegin || operation == Operation::kCommit) made.ordinal = 0;
    if (operation == Operation::kCommit) made.end_lsn = Lsn{0x2030};
    return made;
}

inline Change insert(const Relation& table, const std::vector<Value>& row) {
    Change made = change(Operation::kInsert);
    made.relation = &table;
    made.new_row = Row{table, row};
    return made;
}

inline Change update(const Relation& table, const std::vector<Value>& row) {
    Change made = insert(table, row);
    made.operation = Operation::kUpdate;
    return made;
}

inline Change remove(const Relation& table, OldRow kind, const std::vector<Value>& row) {
    Change made = change(Operation::kDelete);
    made.relation = &table;
    made.old_kind = kind;
    made.old_row = Row{table, row};
    return made;
}

inline Change message(std::string_view prefix, std::string_view content, bool transactional) {
    Change made = change(Operation::kMessage);
    made.prefix = prefix;
    made.content = content;
    made.transactional = transactional;
    return made;
}

}  // namespace pgcascade::sample
