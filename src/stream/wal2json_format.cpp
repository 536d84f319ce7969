#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "stream/builtin_types.hpp"
#include "stream/formatters.hpp"
#include "stream/json_writer.hpp"
#include "stream/prepared_relations.hpp"
#include "stream/row_values.hpp"
#include "stream/type_name.hpp"

// Line for line what the plugin wal2json 2.5 prints with format-version 2; docs/formats.md names the
// differences that pgoutput forces.

namespace pgcascade {

namespace {

enum class ValueKind : std::uint8_t { kString, kNumber, kBool, kBytea };

struct PreparedColumn {
    std::string head;  // {"name":"id","type":"integer","value":
    ValueKind kind = ValueKind::kString;
    bool is_key = false;
};

struct PreparedRelation {
    std::string name;  // ,"schema":"public","table":"t"
    std::vector<PreparedColumn> columns;
    bool has_key = false;
};

// The plugin goes by the column's own type: a domain over integer is quoted.
ValueKind value_kind(std::uint32_t type_oid) {
    switch (type_oid) {
        case type_oid::kInt2:
        case type_oid::kInt4:
        case type_oid::kInt8:
        case type_oid::kOid:
        case type_oid::kFloat4:
        case type_oid::kFloat8:
        case type_oid::kNumeric:
            return ValueKind::kNumber;
        case type_oid::kBool:
            return ValueKind::kBool;
        case type_oid::kBytea:
            return ValueKind::kBytea;
        default:
            return ValueKind::kString;
    }
}

// What is between the quotes of a name that is one quoted identifier, as "MyType"; nothing for other names.
std::optional<std::string> unquoted(std::string_view sql_name) {
    if (sql_name.size() < 2 || !sql_name.starts_with('"') || !sql_name.ends_with('"')) return std::nullopt;
    sql_name = sql_name.substr(1, sql_name.size() - 2);
    std::string plain;
    for (std::size_t at = 0; at < sql_name.size(); ++at) {
        if (sql_name[at] == '"' && sql_name.substr(at, 2) != "\"\"") return std::nullopt;
        if (sql_name[at] == '"') ++at;
        plain += sql_name[at];
    }
    return plain;
}

// NaN and the infinities, which JSON's numbers lack, are null in the plugin's output.
void write_number(JsonWriter& writer, std::string_view text) {
    if (text == "NaN" || text == "Infinity" || text == "-Infinity") return writer.raw("null");
    writer.number_or_string(text);
}

void write_value(JsonWriter& writer, ValueKind kind, const Value& value) {
    if (value.is_null()) return writer.raw("null");
    const std::string_view text = text_of(value);
    switch (kind) {
        case ValueKind::kString:
            return writer.string(text);
        case ValueKind::kNumber:
            return write_number(writer, text);
        case ValueKind::kBool:
            return writer.raw(text == "t" ? "true" : "false");
        case ValueKind::kBytea:
            return writer.string(text.starts_with("\\x") ? text.substr(2) : text);
    }
}

// "2024-05-01 12:34:56.5+00", PostgreSQL's form of a timestamptz in UTC, quoted.
std::string sql_time(Timestamp time) {
    std::string text;
    JsonWriter writer;
    writer.start(text);
    writer.utc_time(time);
    writer.finish();
    text.replace(text.find('T'), 1, " ");
    text.erase(text.find('Z'));
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
    return text + "+00\"";
}

class Wal2JsonFormatter final : public Formatter {
  public:
    explicit Wal2JsonFormatter(const FormatOptions& options)
        : options_(options.wal2json), transactions_(options.transactions.value_or(true)) {}

    void write(const Change& change, std::string& out) override;

  private:
    void begin(const Change& change);
    void commit(const Change& change);
    void row_change(const Change& change);
    void identity(const Change& change, const PreparedRelation& relation);
    void truncate(const Change& change);
    void message(const Change& change);

    enum class Columns : std::uint8_t { kAll, kKey };
    void columns(const Row& row, const PreparedRelation& relation, Columns which);
    void transaction(const Change& change);
    void lsn(std::string_view key, Lsn lsn);

    const PreparedRelation& prepared(const Relation& relation);
    std::string type_name(const Column& column);

    const Wal2JsonOptions options_;
    const bool transactions_;
    JsonWriter writer_;
    PreparedRelations<PreparedRelation> relations_;
    std::map<std::pair<std::uint32_t, std::int32_t>, std::string> type_names_;  // what format_type answered

    // Of the transaction whose lines are being written; made once per transaction.
    Timestamp committed_at_;
    std::string committed_at_text_;
};

void Wal2JsonFormatter::write(const Change& change, std::string& out) {
    const bool is_edge = change.operation == Operation::kBegin || change.operation == Operation::kCommit;
    if (is_edge && !transactions_) return;
    writer_.start(out);
    switch (change.operation) {
        case Operation::kBegin:
            begin(change);
            break;
        case Operation::kCommit:
            commit(change);
            break;
        case Operation::kInsert:
        case Operation::kUpdate:
        case Operation::kDelete:
            row_change(change);
            break;
        case Operation::kTruncate:
            truncate(change);
            break;
        case Operation::kMessage:
            message(change);
            break;
    }
    writer_.finish();
}

void Wal2JsonFormatter::begin(const Change& change) {
    writer_.raw("{\"action\":\"B\"");
    transaction(change);
    lsn(",\"lsn\":", change.commit_lsn);
    writer_.raw("}\n");
}

void Wal2JsonFormatter::commit(const Change& change) {
    writer_.raw("{\"action\":\"C\"");
    transaction(change);
    lsn(",\"lsn\":", change.commit_lsn);
    lsn(",\"nextlsn\":", change.end_lsn);
    writer_.raw("}\n");
}

void Wal2JsonFormatter::row_change(const Change& change) {
    const PreparedRelation& relation = prepared(*change.relation);
    writer_.raw(change.operation == Operation::kInsert   ? "{\"action\":\"I\""
                : change.operation == Operation::kUpdate ? "{\"action\":\"U\""
                                                         : "{\"action\":\"D\"");
    transaction(change);
    lsn(",\"lsn\":", change.lsn);
    writer_.raw(relation.name);
    if (change.operation != Operation::kDelete) {
        writer_.raw(",\"columns\":[");
        columns(change.new_row, relation, Columns::kAll);
    }
    if (change.operation != Operation::kInsert) identity(change, relation);
    writer_.raw("}\n");
}

// Where the server sends no old row, the identity has not changed and stands in the new one.
void Wal2JsonFormatter::identity(const Change& change, const PreparedRelation& relation) {
    if (change.old_kind == OldRow::kNone && !relation.has_key) return;
    writer_.raw(",\"identity\":[");
    switch (change.old_kind) {
        case OldRow::kNone:
            return columns(change.new_row, relation, Columns::kKey);
        case OldRow::kKey:
            return columns(change.old_row, relation, Columns::kKey);
        case OldRow::kFull:
            return columns(change.old_row, relation, Columns::kAll);
    }
}

void Wal2JsonFormatter::columns(const Row& row, const PreparedRelation& relation, Columns which) {
    const std::span<const Value> values = values_of(row, relation.columns.size());
    bool first = true;
    for (std::size_t at = 0; at < values.size(); ++at) {
        const PreparedColumn& column = relation.columns[at];
        if (values[at].is_unchanged() || (which == Columns::kKey && !column.is_key)) continue;
        if (!first) writer_.raw(",");
        first = false;
        writer_.raw(column.head);
        write_value(writer_, column.kind, values[at]);
        writer_.raw("}");
    }
    writer_.raw("]");
}

void Wal2JsonFormatter::truncate(const Change& change) {
    for (const Relation* table : change.truncated) {
        writer_.raw("{\"action\":\"T\"");
        transaction(change);
        lsn(",\"lsn\":", change.lsn);
        writer_.raw(prepared(*table).name);
        writer_.raw("}\n");
    }
}

void Wal2JsonFormatter::message(const Change& change) {
    writer_.raw("{\"action\":\"M\"");
    transaction(change);
    lsn(",\"lsn\":", change.lsn);
    writer_.raw(change.transactional ? ",\"transactional\":true,\"prefix\":"
                                     : ",\"transactional\":false,\"prefix\":");
    writer_.string(change.prefix);
    writer_.raw(",\"content\":");
    writer_.string(change.content);
    writer_.raw("}\n");
}

// A message that is not transactional has no transaction to tell of.
void Wal2JsonFormatter::transaction(const Change& change) {
    const bool has_transaction = change.operation != Operation::kMessage || change.transactional;
    if (options_.include_xids) {
        writer_.raw(",\"xid\":");
        if (has_transaction)
            writer_.unsigned_integer(change.xid);
        else
            writer_.raw("null");
    }
    if (!options_.include_timestamp) return;
    writer_.raw(",\"timestamp\":");
    if (!has_transaction) return writer_.raw("null");
    if (committed_at_text_.empty() || committed_at_ != change.committed_at) {
        committed_at_ = change.committed_at;
        committed_at_text_ = sql_time(committed_at_);
    }
    writer_.raw(committed_at_text_);
}

void Wal2JsonFormatter::lsn(std::string_view key, Lsn lsn) {
    if (!options_.include_lsn) return;
    writer_.raw(key);
    writer_.lsn(lsn);
}

const PreparedRelation& Wal2JsonFormatter::prepared(const Relation& relation) {
    return relations_.find(relation, [this](const Relation& announced) {
        PreparedRelation made;
        made.name = "," + json_qualified_name(announced);
        made.columns.reserve(announced.columns.size());
        for (const Column& column : announced.columns) {
            const std::string type = type_name(column);
            made.columns.push_back({"{\"name\":" + json_string(column.name) + ",\"type\":" +
                                        json_string(unquoted(type).value_or(type)) + ",\"value\":",
                                    value_kind(column.type_oid), column.is_key});
            made.has_key |= column.is_key;
        }
        return made;
    });
}

std::string Wal2JsonFormatter::type_name(const Column& column) {
    // Nothing the server could say about a built-in type is news.
    if (!options_.format_type || find_builtin_type(column.type_oid) != nullptr) return sql_type_name(column);
    std::string& name = type_names_[{column.type_oid, column.type_modifier}];
    if (name.empty()) name = options_.format_type(column.type_oid, column.type_modifier);
    return name.empty() || name == "???" ? sql_type_name(column) : name;
}

}  // namespace

std::unique_ptr<Formatter> make_wal2json_formatter(const FormatOptions& options) {
    return std::make_unique<Wal2JsonFormatter>(options);
}

}  // namespace pgcascade
