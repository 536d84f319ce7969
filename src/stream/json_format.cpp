#include <vector>

#include "stream/formatters.hpp"
#include "stream/json_value.hpp"
#include "stream/json_writer.hpp"
#include "stream/prepared_relations.hpp"
#include "stream/row_values.hpp"

namespace pgcascade {

namespace {

struct PreparedColumn {
    std::string name;  // ,"id":
    JsonKind kind = JsonKind::kString;
    bool is_key = false;
};

struct PreparedRelation {
    std::string name;  // "schema":"public","table":"t"
    std::vector<PreparedColumn> columns;
};

PreparedRelation prepare(const Relation& relation) {
    PreparedRelation prepared;
    prepared.name = json_qualified_name(relation);
    prepared.columns.reserve(relation.columns.size());
    for (const Column& column : relation.columns)
        prepared.columns.push_back({"," + json_string(column.name) + ":", json_kind(column), column.is_key});
    return prepared;
}

class JsonFormatter final : public Formatter {
  public:
    explicit JsonFormatter(const FormatOptions& options)
        : transactions_(options.transactions.value_or(false)) {}

    void write(const Change& change, std::string& out) override;

  private:
    void begin(const Change& change);
    void commit(const Change& change);
    void row_change(const Change& change);
    void truncate(const Change& change);
    void message(const Change& change);

    bool row(const Row& row, const PreparedRelation& relation, bool key_only);
    void unchanged(const Row& row, const PreparedRelation& relation);
    void position(const Change& change);
    void origin(const Change& change);
    void remember_transaction(const Change& change);

    const bool transactions_;
    JsonWriter writer_;
    PreparedRelations<PreparedRelation> relations_;

    // What all lines of a transaction share.
    Lsn commit_lsn_;
    std::uint32_t xid_ = 0;
    Timestamp committed_at_;
    std::string transaction_;       // "commit_lsn":"0/1A2B","xid":745
    std::string transaction_time_;  // ,"committed_at":"2024-05-01T12:34:56.123456Z"
};

void JsonFormatter::write(const Change& change, std::string& out) {
    writer_.start(out);
    switch (change.operation) {
        case Operation::kBegin:
            if (!transactions_) return;
            begin(change);
            break;
        case Operation::kCommit:
            if (!transactions_) return;
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
    writer_.raw("}\n");
    writer_.finish();
}

void JsonFormatter::remember_transaction(const Change& change) {
    if (!transaction_.empty() && change.commit_lsn == commit_lsn_ && change.xid == xid_ &&
        change.committed_at == committed_at_)
        return;
    commit_lsn_ = change.commit_lsn;
    xid_ = change.xid;
    committed_at_ = change.committed_at;

    // Cleared, not replaced, so that their memory is used again.
    transaction_.clear();
    transaction_time_.clear();
    JsonWriter writer;
    writer.start(transaction_);
    writer.raw("\"commit_lsn\":");
    writer.lsn(commit_lsn_);
    writer.raw(",\"xid\":");
    writer.unsigned_integer(xid_);
    writer.finish();
    writer.start(transaction_time_);
    writer.raw(",\"committed_at\":");
    writer.utc_time(committed_at_);
    writer.finish();
}

void JsonFormatter::begin(const Change& change) {
    remember_transaction(change);
    writer_.raw("{\"op\":\"begin\",");
    writer_.raw(transaction_);
    writer_.raw(transaction_time_);
}

void JsonFormatter::commit(const Change& change) {
    remember_transaction(change);
    writer_.raw("{\"op\":\"commit\",");
    writer_.raw(transaction_);
    writer_.raw(transaction_time_);
    writer_.raw(",\"end_lsn\":");
    writer_.lsn(change.end_lsn);
    origin(change);
}

void JsonFormatter::row_change(const Change& change) {
    const PreparedRelation& relation = relations_.find(*change.relation, prepare);
    writer_.raw(change.operation == Operation::kInsert   ? "{\"op\":\"insert\","
                : change.operation == Operation::kUpdate ? "{\"op\":\"update\","
                                                         : "{\"op\":\"delete\",");
    writer_.raw(relation.name);
    bool complete = true;
    if (change.operation != Operation::kDelete) {
        writer_.raw(",\"new\":");
        complete = row(change.new_row, relation, false);
    }
    if (change.old_kind != OldRow::kNone) {
        writer_.raw(",\"old\":");
        row(change.old_row, relation, change.old_kind == OldRow::kKey);
    }
    if (!complete) unchanged(change.new_row, relation);
    position(change);
}

// Returns whether every value was there.
bool JsonFormatter::row(const Row& row, const PreparedRelation& relation, bool key_only) {
    const std::span<const Value> values = values_of(row, relation.columns.size());
    writer_.raw("{");
    bool first = true;
    bool complete = true;
    for (std::size_t at = 0; at < values.size(); ++at) {
        const PreparedColumn& column = relation.columns[at];
        if (key_only && !column.is_key) continue;
        if (values[at].is_unchanged()) {
            complete = false;
            continue;
        }
        writer_.raw(std::string_view{column.name}.substr(first ? 1 : 0));
        write_json_value(writer_, column.kind, values[at]);
        first = false;
    }
    writer_.raw("}");
    return complete;
}

void JsonFormatter::unchanged(const Row& row, const PreparedRelation& relation) {
    bool any = false;
    for (std::size_t at = 0; at < row.size(); ++at) {
        if (!row.values()[at].is_unchanged()) continue;
        writer_.raw(any ? "," : ",\"unchanged\":[");
        const std::string_view name = relation.columns[at].name;
        writer_.raw(name.substr(1, name.size() - 2));
        any = true;
    }
    if (any) writer_.raw("]");
}

void JsonFormatter::truncate(const Change& change) {
    writer_.raw("{\"op\":\"truncate\",\"tables\":[");
    std::string_view separator = "{";
    for (const Relation* table : change.truncated) {
        writer_.raw(separator);
        separator = ",{";
        writer_.raw(relations_.find(*table, prepare).name);
        writer_.raw("}");
    }
    writer_.raw(change.cascade ? "],\"cascade\":true" : "],\"cascade\":false");
    writer_.raw(change.restart_identity ? ",\"restart_identity\":true" : ",\"restart_identity\":false");
    position(change);
}

void JsonFormatter::message(const Change& change) {
    writer_.raw("{\"op\":\"message\",\"prefix\":");
    writer_.string(change.prefix);
    writer_.raw(",\"content\":");
    if (is_utf8(change.content)) {
        writer_.string(change.content);
    } else {
        writer_.base64(change.content);
        writer_.raw(",\"content_encoding\":\"base64\"");
    }
    writer_.raw(change.transactional ? ",\"transactional\":true" : ",\"transactional\":false");
    position(change);
}

// A message that is not transactional belongs to no transaction: it has its lsn only.
void JsonFormatter::position(const Change& change) {
    writer_.raw(",\"lsn\":");
    writer_.lsn(change.lsn);
    if (change.operation == Operation::kMessage && !change.transactional) return;
    remember_transaction(change);
    writer_.raw(",");
    writer_.raw(transaction_);
    writer_.raw(",\"ordinal\":");
    writer_.unsigned_integer(change.ordinal);
    writer_.raw(transaction_time_);
    origin(change);
}

// Not in the line of a begin: the server tells the origin only after it.
void JsonFormatter::origin(const Change& change) {
    if (change.origin.empty()) return;
    writer_.raw(",\"origin\":");
    writer_.string(change.origin);
}

}  // namespace

std::unique_ptr<Formatter> make_json_formatter(const FormatOptions& options) {
    return std::make_unique<JsonFormatter>(options);
}

}  // namespace pgcascade
