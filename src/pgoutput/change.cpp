#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <pgcascade/change.hpp>
#include <pgcascade/error.hpp>

namespace pgcascade {

std::string_view to_string(Operation operation) {
    switch (operation) {
        case Operation::kBegin:
            return "begin";
        case Operation::kCommit:
            return "commit";
        case Operation::kInsert:
            return "insert";
        case Operation::kUpdate:
            return "update";
        case Operation::kDelete:
            return "delete";
        case Operation::kTruncate:
            return "truncate";
        case Operation::kMessage:
            return "message";
    }
    throw Error(fmt::format("no operation has the number {}", static_cast<int>(operation)));
}

std::optional<std::size_t> Relation::find(std::string_view column) const {
    const auto found =
        std::find_if(columns.begin(), columns.end(), [&](const Column& one) { return one.name == column; });
    if (found == columns.end()) return std::nullopt;
    return static_cast<std::size_t>(found - columns.begin());
}

std::string_view Value::text() const {
    switch (state_) {
        case State::kText:
            return bytes_;
        case State::kNull:
            throw Error("the value is null and has no text",
                        "test is_null() first, or ask for a std::optional");
        case State::kUnchanged:
            throw Error("the server did not send the value: it is a TOASTed one that the update left alone",
                        "test is_unchanged() first; with REPLICA IDENTITY FULL old_row has the value");
        case State::kBinary:
            throw Error("the value came in binary form", "read bytes(), or ask the server for text");
    }
    throw Error(fmt::format("no value has the state {}", static_cast<int>(state_)));
}

const Value& Row::operator[](std::size_t column) const {
    if (column < values_.size()) return values_[column];
    if (relation_ == nullptr || values_.empty())
        throw Error(fmt::format("column {} was asked of a row that this change does not have", column),
                    "test empty() first");
    throw Error(fmt::format("{}.{} has {} columns, there is no column {}", relation_->schema,
                            relation_->table, values_.size(), column),
                "columns count from 0");
}

const Value& Row::operator[](std::string_view column) const {
    if (relation_ == nullptr || values_.empty())
        throw Error(fmt::format("column \"{}\" was asked of a row that this change does not have", column),
                    "test empty() first");
    const auto index = relation_->find(column);
    if (!index)
        throw Error(fmt::format("{}.{} has no column \"{}\"", relation_->schema, relation_->table, column),
                    "relation().columns lists what the publication sends");
    return (*this)[*index];
}

namespace detail {

void throw_bad_value(std::string_view text, const char* wanted) {
    constexpr std::size_t kShown = 60;
    const bool is_long = text.size() > kShown;
    throw Error(
        fmt::format("the value \"{}{}\" is not {}", text.substr(0, kShown), is_long ? "…" : "", wanted));
}

bool read_bool(std::string_view text) {
    if (text == "t") return true;
    if (text == "f") return false;
    throw_bad_value(text, "a boolean (t or f)");
}

double read_double(std::string_view text) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size())
        throw_bad_value(text, "a floating-point number that fits");
    return number;
}

}  // namespace detail

}  // namespace pgcascade
