#pragma once

#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

// One decoded change, as a ChangeStream hands it out. Everything here that is a view (string_view, span, Row,
// Value, Relation reference) points into the stream and is valid until the stream's next read.

namespace pgcascade {

using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;

enum class Operation : std::uint8_t { kBegin, kCommit, kInsert, kUpdate, kDelete, kTruncate, kMessage };

// "begin", "commit", "insert", "update", "delete", "truncate", "message".
std::string_view to_string(Operation operation);

// As ALTER TABLE … REPLICA IDENTITY sets it; the values are those of pg_class.relreplident.
enum class ReplicaIdentity : char { kDefault = 'd', kNothing = 'n', kFull = 'f', kIndex = 'i' };

struct Column {
    std::string name;
    std::uint32_t type_oid = 0;
    std::int32_t type_modifier = -1;
    bool is_key = false;      // part of the replica identity; all columns are with REPLICA IDENTITY FULL
    std::string type_schema;  // of a type that is not built in, as pgoutput's Type message names it; else
    std::string type_name;    // empty. Of a domain, PostgreSQL sends the name of its base type

    bool operator==(const Column&) const = default;
};

struct Relation {
    std::uint32_t oid = 0;
    std::string schema;
    std::string table;
    ReplicaIdentity replica_identity = ReplicaIdentity::kDefault;
    std::vector<Column> columns;

    // Counts what the server announced, so that work done once per relation can be kept: while oid and
    // generation are the same, so is all of the above. Never given twice within one stream, reconnects
    // included. 0: unknown, nothing may be kept.
    std::uint64_t generation = 0;

    // Index of the column, nothing where there is none of that name.
    std::optional<std::size_t> find(std::string_view column) const;

    bool operator==(const Relation&) const = default;
};

// The value of one column in one row.
class Value {
  public:
    enum class State : char {
        kNull = 'n',
        kUnchanged = 'u',  // a TOASTed value that the update left alone: the server does not send it
        kText = 't',
        kBinary = 'b',
    };

    Value() = default;
    Value(State state, std::string_view bytes) : bytes_(bytes), state_(state) {}

    State state() const { return state_; }
    bool is_null() const { return state_ == State::kNull; }
    bool is_unchanged() const { return state_ == State::kUnchanged; }

    // The value in PostgreSQL's text form. Throws Error for null, unchanged and binary values.
    std::string_view text() const;

    // The bytes as they came; empty for null and unchanged.
    std::string_view bytes() const { return bytes_; }

    // The text read as T: bool, an integer, a floating-point number, std::string or std::string_view; or
    // std::optional of one of them, which takes null too. Throws Error where the value does not fit T.
    template <class T>
    T as() const;

  private:
    std::string_view bytes_;
    State state_ = State::kNull;
};

// The values of one row, in the order of relation().columns. Throws Error for a column that is not there.
class Row {
  public:
    Row() = default;
    Row(const Relation& relation, std::span<const Value> values) : relation_(&relation), values_(values) {}

    bool empty() const { return values_.empty(); }
    std::size_t size() const { return values_.size(); }
    const Relation& relation() const { return *relation_; }
    std::span<const Value> values() const { return values_; }

    const Value& operator[](std::size_t column) const;
    const Value& operator[](std::string_view column) const;

  private:
    const Relation* relation_ = nullptr;
    std::span<const Value> values_;
};

// What an update or a delete tells of the row as it was.
enum class OldRow : std::uint8_t {
    kNone,  // nothing: the update changed no column of the replica identity
    kKey,   // only the columns with is_key; the others read as null and mean nothing
    kFull,  // the whole row (REPLICA IDENTITY FULL)
};

struct Change {
    Operation operation = Operation::kBegin;

    // Where this change stands in the WAL. COPY and multi-row inserts give many rows one LSN: it is no
    // identity. 0 for the begin of a transaction that has an origin: the server sends none there.
    Lsn lsn;

    // (commit_lsn, ordinal) names the change for ever: the same after a reconnect, a restart and a failover.
    // commit_lsn is where the transaction's commit record starts; ordinal counts the inserts, updates,
    // deletes, truncates and messages of the transaction from 1 and is 0 for begin and commit. Both are 0 for
    // a message that is not transactional; its lsn names it.
    Lsn commit_lsn;
    std::uint64_t ordinal = 0;

    // The position after the commit record: what to confirm. Known only in kCommit, 0 elsewhere.
    Lsn end_lsn;

    std::uint32_t xid = 0;
    Timestamp committed_at;

    // Name of the replication origin that the transaction came from; empty for local ones, and in kBegin,
    // which the server sends before the name.
    std::string_view origin;

    // Row changes.
    const Relation* relation = nullptr;  // set for insert, update and delete
    OldRow old_kind = OldRow::kNone;
    Row new_row;  // insert, update
    Row old_row;  // update, delete

    // Truncate.
    std::span<const Relation* const> truncated;
    bool cascade = false;
    bool restart_identity = false;

    // Message (pg_logical_emit_message).
    std::string_view prefix;
    std::string_view content;
    bool transactional = false;

    bool is_row_change() const {
        return operation == Operation::kInsert || operation == Operation::kUpdate ||
               operation == Operation::kDelete;
    }
};

namespace detail {
[[noreturn]] void throw_bad_value(std::string_view text, const char* wanted);
bool read_bool(std::string_view text);
double read_double(std::string_view text);
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
}  // namespace detail

template <class T>
T Value::as() const {
    if constexpr (detail::is_optional<T>) {
        return is_null() ? T{} : T{as<typename T::value_type>()};
    } else if constexpr (std::same_as<T, bool>) {
        return detail::read_bool(text());
    } else if constexpr (std::integral<T>) {
        const std::string_view digits = text();
        T number{};
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (error != std::errc{} || end != digits.data() + digits.size())
            detail::throw_bad_value(digits, "an integer that fits");
        return number;
    } else if constexpr (std::floating_point<T>) {
        const double number = detail::read_double(text());
        if (std::isfinite(number) && std::abs(number) > static_cast<double>(std::numeric_limits<T>::max()))
            detail::throw_bad_value(text(), "a floating-point number that fits");
        return static_cast<T>(number);
    } else {
        return T{text()};
    }
}

}  // namespace pgcascade
