#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "stream/debezium_value.hpp"
#include "stream/formatters.hpp"
#include "stream/json_writer.hpp"
#include "stream/prepared_relations.hpp"
#include "stream/row_values.hpp"

// The value of each record that Debezium's PostgreSQL connector sends to Kafka, one a line, as Kafka's
// JsonConverter prints it with schemas.enable=false. Source: Debezium 3.0, "Data change events" in the manual
// of the PostgreSQL connector.

namespace pgcascade {

namespace {

struct PreparedColumn {
    std::string name;  // ,"id":
    DebeziumType type;
    std::string unavailable;  // stands for a value that the server did not send
    bool is_key = false;
};

struct PreparedRelation {
    std::string name;  // "schema":"public","table":"t"
    std::vector<PreparedColumn> columns;
    // Whether an update that changes the replica identity changes the primary key.
    bool identity_is_primary_key = false;
};

PreparedRelation prepare(const Relation& relation) {
    PreparedRelation prepared;
    prepared.name = json_qualified_name(relation);
    prepared.identity_is_primary_key = relation.replica_identity == ReplicaIdentity::kDefault;
    prepared.columns.reserve(relation.columns.size());
    for (const Column& column : relation.columns) {
        const DebeziumType type = debezium_type(column);
        prepared.columns.push_back({"," + json_string(column.name) + ":", type,
                                    unavailable_value(type, column.type_oid), column.is_key});
    }
    return prepared;
}

class DebeziumFormatter final : public Formatter {
  public:
    explicit DebeziumFormatter(const DebeziumOptions& options)
        : source_head_("{\"version\":" + json_string(options.version) +
                       ",\"connector\":\"postgresql\",\"name\":" + json_string(options.server_name)),
          database_(",\"snapshot\":\"false\",\"db\":" + json_string(options.database)) {}

    void write(const Change& change, std::string& out) override;

  private:
    void row_change(const Change& change);
    void before(const Change& change, const PreparedRelation& relation);
    void after(const Change& change, const PreparedRelation& relation);
    void truncate(const Change& change);
    void message(const Change& change);

    void source(const Change& change, std::string_view qualified_name);
    void sequence(Lsn lsn);
    void micros_and_nanos(std::int64_t micros);
    void end(std::string_view operation);

    const std::string source_head_;
    const std::string database_;
    JsonWriter writer_;
    DebeziumValueWriter values_{writer_};
    PreparedRelations<PreparedRelation> relations_;
    Lsn last_commit_;  // end of the last transaction that is complete
    Timestamp processed_at_;
};

void DebeziumFormatter::write(const Change& change, std::string& out) {
    if (change.operation == Operation::kBegin) return;
    if (change.operation == Operation::kCommit) {
        last_commit_ = change.end_lsn;
        return;
    }
    processed_at_ = now();
    writer_.start(out);
    if (change.is_row_change())
        row_change(change);
    else if (change.operation == Operation::kTruncate)
        truncate(change);
    else
        message(change);
    writer_.finish();
}

void DebeziumFormatter::row_change(const Change& change) {
    const PreparedRelation& relation = relations_.find(*change.relation, prepare);
    // Debezium tells a new primary key as the end of one row and the start of another.
    const bool splits = change.operation == Operation::kUpdate && change.old_kind == OldRow::kKey &&
                        relation.identity_is_primary_key;
    if (change.operation != Operation::kInsert) {
        writer_.raw("{\"before\":");
        before(change, relation);
    }
    if (splits || change.operation == Operation::kDelete) {
        writer_.raw(",\"after\":null");
        source(change, relation.name);
        end("d");
    }
    if (change.operation == Operation::kDelete) return;
    if (splits || change.operation == Operation::kInsert) writer_.raw("{\"before\":null");
    writer_.raw(",\"after\":");
    after(change, relation);
    source(change, relation.name);
    end(splits || change.operation == Operation::kInsert ? "c" : "u");
}

void DebeziumFormatter::before(const Change& change, const PreparedRelation& relation) {
    if (change.old_kind == OldRow::kNone) return writer_.raw("null");
    const std::span<const Value> values = values_of(change.old_row, relation.columns.size());
    writer_.raw("{");
    bool first = true;
    for (std::size_t at = 0; at < values.size(); ++at) {
        const PreparedColumn& column = relation.columns[at];
        if (change.old_kind == OldRow::kKey && !column.is_key) continue;
        writer_.raw(std::string_view{column.name}.substr(first ? 1 : 0));
        first = false;
        if (values[at].is_unchanged())
            writer_.raw(column.unavailable);
        else
            values_.write(column.type, values[at]);
    }
    writer_.raw("}");
}

// Under REPLICA IDENTITY FULL the old row has the value that the new one lacks.
void DebeziumFormatter::after(const Change& change, const PreparedRelation& relation) {
    const std::span<const Value> values = values_of(change.new_row, relation.columns.size());
    const bool has_old = change.old_kind == OldRow::kFull;
    const std::span<const Value> old =
        has_old ? values_of(change.old_row, relation.columns.size()) : std::span<const Value>{};
    writer_.raw("{");
    for (std::size_t at = 0; at < values.size(); ++at) {
        const PreparedColumn& column = relation.columns[at];
        writer_.raw(std::string_view{column.name}.substr(at == 0 ? 1 : 0));
        const Value& value = values[at].is_unchanged() && has_old ? old[at] : values[at];
        if (value.is_unchanged())
            writer_.raw(column.unavailable);
        else
            values_.write(column.type, value);
    }
    writer_.raw("}");
}

void DebeziumFormatter::truncate(const Change& change) {
    for (const Relation* table : change.truncated) {
        writer_.raw("{\"before\":null,\"after\":null");
        source(change, relations_.find(*table, prepare).name);
        end("t");
    }
}

void DebeziumFormatter::message(const Change& change) {
    writer_.raw("{\"message\":{\"prefix\":");
    writer_.string(change.prefix);
    writer_.raw(",\"content\":");
    writer_.base64(change.content);
    writer_.raw("}");
    source(change, "\"schema\":\"\",\"table\":\"\"");
    end("m");
}

// A message that is not transactional has no transaction and no commit: its time is that of the processing.
void DebeziumFormatter::source(const Change& change, std::string_view qualified_name) {
    const bool has_transaction = change.operation != Operation::kMessage || change.transactional;
    const std::int64_t micros =
        (has_transaction ? change.committed_at : processed_at_).time_since_epoch().count();
    writer_.raw(",\"source\":");
    writer_.raw(source_head_);
    writer_.raw(",\"ts_ms\":");
    writer_.signed_integer(micros / 1000);
    writer_.raw(database_);
    sequence(change.lsn);
    micros_and_nanos(micros);
    writer_.raw(",");
    writer_.raw(qualified_name);
    writer_.raw(",\"txId\":");
    if (has_transaction)
        writer_.unsigned_integer(change.xid);
    else
        writer_.raw("null");
    writer_.raw(",\"lsn\":");
    writer_.unsigned_integer(change.lsn.value);
    writer_.raw(",\"xmin\":null},\"transaction\":null");
}

// The last commit's and the event's position: JSON within a string.
void DebeziumFormatter::sequence(Lsn lsn) {
    writer_.raw(",\"sequence\":\"[");
    if (last_commit_) {
        writer_.raw("\\\"");
        writer_.unsigned_integer(last_commit_.value);
        writer_.raw("\\\",\\\"");
    } else {
        writer_.raw("null,\\\"");
    }
    writer_.unsigned_integer(lsn.value);
    writer_.raw("\\\"]\"");
}

void DebeziumFormatter::end(std::string_view operation) {
    const std::int64_t micros = processed_at_.time_since_epoch().count();
    writer_.raw(",\"op\":\"");
    writer_.raw(operation);
    writer_.raw("\",\"ts_ms\":");
    writer_.signed_integer(micros / 1000);
    micros_and_nanos(micros);
    writer_.raw("}\n");
}

// Zeros are appended, because nanoseconds in 64 bits end in 2262.
void DebeziumFormatter::micros_and_nanos(std::int64_t micros) {
    writer_.raw(",\"ts_us\":");
    writer_.signed_integer(micros);
    writer_.raw(",\"ts_ns\":");
    writer_.signed_integer(micros);
    if (micros != 0) writer_.raw("000");
}

}  // namespace

std::unique_ptr<Formatter> make_debezium_formatter(const FormatOptions& options) {
    return std::make_unique<DebeziumFormatter>(options.debezium);
}

}  // namespace pgcascade
