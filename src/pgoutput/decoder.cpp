#include "pgoutput/decoder.hpp"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "pgoutput/relation_cache.hpp"

namespace pgcascade::pgoutput {

namespace {

// Bits of the flag bytes (logicalproto.h, proto.c).
constexpr std::uint8_t kColumnIsKey = 1;
constexpr std::uint8_t kTruncateCascade = 1;
constexpr std::uint8_t kTruncateRestartIdentity = 2;
constexpr std::uint8_t kMessageTransactional = 1;

// The shortest column of a Relation message: flags, an empty name, type, modifier.
constexpr std::size_t kColumnBytesMin = 1 + 1 + 4 + 4;

std::string name_of(char type) {
    switch (type) {
        case 'B':
            return "Begin";
        case 'C':
            return "Commit";
        case 'O':
            return "Origin";
        case 'R':
            return "Relation";
        case 'Y':
            return "Type";
        case 'I':
            return "Insert";
        case 'U':
            return "Update";
        case 'D':
            return "Delete";
        case 'T':
            return "Truncate";
        case 'M':
            return "Message";
        default:
            return fmt::format("message of type 0x{:02x}", static_cast<unsigned char>(type));
    }
}

// pgoutput leaves the name of pg_catalog out (proto.c: logicalrep_write_namespace).
std::string read_namespace(ByteReader& reader) {
    const std::string_view name = reader.c_string();
    return std::string(name.empty() ? "pg_catalog" : name);
}

bool is_replica_identity(char letter) {
    return letter == 'd' || letter == 'n' || letter == 'f' || letter == 'i';
}

}  // namespace

// What lasts from message to message changes only once a message has been read whole and found good: one that
// throws leaves it as it was.
class Decoder::Impl {
  public:
    const Change* decode(std::string_view message, Lsn wal_start);
    void start_session();
    bool in_transaction() const { return in_transaction_; }

  private:
    const Change* begin(ByteReader& reader);
    const Change* commit(ByteReader& reader);
    const Change* insert_row(ByteReader& reader);
    const Change* update_row(ByteReader& reader);
    const Change* delete_row(ByteReader& reader);
    const Change* truncate(ByteReader& reader);
    const Change* logical_message(ByteReader& reader);
    void origin(ByteReader& reader);
    void relation(ByteReader& reader);
    void type(ByteReader& reader);

    const Relation& read_relation(ByteReader& reader);
    OldRow read_old_row(ByteReader& reader, char marker, const Relation& of, Row& row);
    Row read_new_row(ByteReader& reader, char marker, const Relation& of);
    Row read_row(ByteReader& reader, const Relation& of, std::vector<Value>& values);
    Value read_value(ByteReader& reader);

    const Change* row_change(Operation operation, const Relation& of, OldRow old_kind, Row old_row,
                             Row new_row);
    const Change* other_change(const Change& change);

    void check_in_transaction() const {
        if (!in_transaction_) [[unlikely]]
            fail("no transaction has begun");
    }
    void check_read_whole(const ByteReader& reader) const {
        if (reader.failed() || !reader.empty()) [[unlikely]]
            fail_length(reader);
    }
    [[noreturn, gnu::cold]] void fail_length(ByteReader reader) const;
    [[noreturn, gnu::cold]] void fail_relation(ByteReader reader, std::uint32_t oid) const;
    [[noreturn, gnu::cold]] void fail_marker(ByteReader reader, char marker, const char* wanted) const;
    [[noreturn, gnu::cold]] void fail_columns(ByteReader reader, const Relation& of, std::size_t count) const;
    [[noreturn, gnu::cold]] void fail(const std::string& reason) const;

    RelationCache relations_;

    // The message at hand.
    char message_type_ = 0;
    Lsn wal_start_;

    bool in_transaction_ = false;
    std::uint64_t ordinal_ = 0;  // of the last change in this transaction
    std::string origin_;

    Change transaction_;  // the fields that all changes of the transaction share

    // What is handed out. row_ keeps the shared fields from row to row, because writing a whole Change anew
    // costs as much as decoding a small row.
    Change row_;
    Change other_;
    std::vector<Value> old_values_;
    std::vector<Value> new_values_;
    std::vector<const Relation*> truncated_;
};

const Change* Decoder::Impl::decode(std::string_view message, Lsn wal_start) {
    ByteReader reader(message);
    message_type_ = static_cast<char>(reader.u8());
    wal_start_ = wal_start;
    switch (message_type_) {
        case 'I':
            return insert_row(reader);
        case 'U':
            return update_row(reader);
        case 'D':
            return delete_row(reader);
        case 'B':
            return begin(reader);
        case 'C':
            return commit(reader);
        case 'T':
            return truncate(reader);
        case 'M':
            return logical_message(reader);
        case 'O':
            origin(reader);
            return nullptr;
        case 'R':
            relation(reader);
            return nullptr;
        case 'Y':
            type(reader);
            return nullptr;
        default:
            fail(message.empty() ? "it is empty" : "version 1 of the protocol has no such message");
    }
}

void Decoder::Impl::start_session() {
    relations_.forget();
    in_transaction_ = false;
}

// 'B' | Int64 commit_lsn | Int64 committed_at | Int32 xid
const Change* Decoder::Impl::begin(ByteReader& reader) {
    const Lsn commit_lsn{reader.u64()};
    const Timestamp committed_at = from_postgres_time(reader.i64());
    const std::uint32_t xid = reader.u32();
    check_read_whole(reader);
    if (in_transaction_) fail("the transaction before it has not been committed");

    in_transaction_ = true;
    ordinal_ = 0;
    transaction_ = Change{};
    transaction_.commit_lsn = commit_lsn;
    transaction_.committed_at = committed_at;
    transaction_.xid = xid;
    row_ = transaction_;

    Change change = transaction_;
    change.operation = Operation::kBegin;
    change.lsn = wal_start_;
    return other_change(change);
}

// 'C' | Int8 flags | Int64 commit_lsn | Int64 end_lsn | Int64 committed_at
const Change* Decoder::Impl::commit(ByteReader& reader) {
    const std::uint8_t flags = reader.u8();
    const Lsn commit_lsn{reader.u64()};
    const Lsn end_lsn{reader.u64()};
    const Timestamp committed_at = from_postgres_time(reader.i64());
    check_read_whole(reader);
    check_in_transaction();
    if (flags != 0) fail(fmt::format("its flags are 0x{:02x}, none is known", flags));
    if (commit_lsn != transaction_.commit_lsn)
        fail(fmt::format("it says that the transaction commits at {}", commit_lsn.to_string()));

    in_transaction_ = false;
    Change change = transaction_;
    change.operation = Operation::kCommit;
    change.lsn = wal_start_;
    change.end_lsn = end_lsn;
    change.committed_at = committed_at;
    return other_change(change);
}

// 'I' | Int32 relation | 'N' | row
const Change* Decoder::Impl::insert_row(ByteReader& reader) {
    const Relation& of = read_relation(reader);
    const Row new_row = read_new_row(reader, static_cast<char>(reader.u8()), of);
    check_read_whole(reader);
    return row_change(Operation::kInsert, of, OldRow::kNone, Row(), new_row);
}

// 'U' | Int32 relation | [ 'K' or 'O' | old row ] | 'N' | new row
const Change* Decoder::Impl::update_row(ByteReader& reader) {
    const Relation& of = read_relation(reader);
    char marker = static_cast<char>(reader.u8());
    OldRow old_kind = OldRow::kNone;
    Row old_row;
    if (marker == 'K' || marker == 'O') {
        old_kind = read_old_row(reader, marker, of, old_row);
        marker = static_cast<char>(reader.u8());
    }
    const Row new_row = read_new_row(reader, marker, of);
    check_read_whole(reader);
    return row_change(Operation::kUpdate, of, old_kind, old_row, new_row);
}

// 'D' | Int32 relation | 'K' or 'O' | old row
const Change* Decoder::Impl::delete_row(ByteReader& reader) {
    const Relation& of = read_relation(reader);
    Row old_row;
    const OldRow old_kind = read_old_row(reader, static_cast<char>(reader.u8()), of, old_row);
    check_read_whole(reader);
    return row_change(Operation::kDelete, of, old_kind, old_row, Row());
}

// 'T' | Int32 count | Int8 flags | Int32 relation, count times
const Change* Decoder::Impl::truncate(ByteReader& reader) {
    const std::uint32_t count = reader.u32();
    const std::uint8_t flags = reader.u8();
    if (reader.failed()) fail_length(reader);
    check_in_transaction();
    if (reader.rest().size() != std::uint64_t{count} * sizeof(std::uint32_t))
        fail(fmt::format("{} bytes can't hold the {} relations it announces", reader.rest().size(), count));

    truncated_.clear();
    for (std::uint32_t i = 0; i < count; ++i) truncated_.push_back(&read_relation(reader));

    Change change = transaction_;
    change.operation = Operation::kTruncate;
    change.lsn = wal_start_;
    change.ordinal = ++ordinal_;
    change.truncated = truncated_;
    change.cascade = (flags & kTruncateCascade) != 0;
    change.restart_identity = (flags & kTruncateRestartIdentity) != 0;
    return other_change(change);
}

// 'M' | Int8 flags | Int64 lsn | String prefix | Int32 length | bytes
//
// One that is not transactional is sent as soon as its WAL record is decoded, outside of any transaction.
const Change* Decoder::Impl::logical_message(ByteReader& reader) {
    const bool transactional = (reader.u8() & kMessageTransactional) != 0;
    const Lsn lsn{reader.u64()};
    const std::string_view prefix = reader.c_string();
    const std::string_view content = reader.bytes(reader.u32());
    check_read_whole(reader);

    Change change;
    if (transactional) {
        check_in_transaction();
        change = transaction_;
        change.ordinal = ++ordinal_;
    }
    change.operation = Operation::kMessage;
    change.lsn = lsn;
    change.prefix = prefix;
    change.content = content;
    change.transactional = transactional;
    return other_change(change);
}

// 'O' | Int64 commit_lsn at the origin | String name
void Decoder::Impl::origin(ByteReader& reader) {
    reader.u64();
    const std::string_view name = reader.c_string();
    check_read_whole(reader);
    check_in_transaction();
    if (ordinal_ != 0) fail("changes of the transaction came before it");
    origin_ = name;
    transaction_.origin = origin_;
    row_.origin = origin_;
}

// 'R' | Int32 oid | String namespace | String name | Int8 replica_identity | Int16 count | columns
// column: Int8 flags | String name | Int32 type | Int32 type_modifier
void Decoder::Impl::relation(ByteReader& reader) {
    Relation relation;
    relation.oid = reader.u32();
    relation.schema = read_namespace(reader);
    relation.table = reader.c_string();
    const char identity = static_cast<char>(reader.u8());
    const std::size_t count = reader.u16();
    // Also keeps a wrong count from reserving memory for columns that can't be there.
    if (reader.failed() || reader.rest().size() < count * kColumnBytesMin) fail("it is cut short");
    if (!is_replica_identity(identity))
        fail(fmt::format("0x{:02x} is no replica identity", static_cast<unsigned char>(identity)));
    relation.replica_identity = ReplicaIdentity{identity};

    relation.columns.resize(count);
    for (Column& column : relation.columns) {
        column.is_key = (reader.u8() & kColumnIsKey) != 0;
        column.name = reader.c_string();
        column.type_oid = reader.u32();
        column.type_modifier = reader.i32();
    }
    check_read_whole(reader);
    relations_.announce(std::move(relation));
}

// 'Y' | Int32 oid | String namespace | String name
void Decoder::Impl::type(ByteReader& reader) {
    const std::uint32_t oid = reader.u32();
    std::string schema = read_namespace(reader);
    std::string name(reader.c_string());
    check_read_whole(reader);
    relations_.announce_type(oid, std::move(schema), std::move(name));
}

const Relation& Decoder::Impl::read_relation(ByteReader& reader) {
    check_in_transaction();
    const std::uint32_t oid = reader.u32();
    const Relation* known = relations_.find(oid);
    if (known == nullptr) [[unlikely]]
        fail_relation(reader, oid);
    return *known;
}

OldRow Decoder::Impl::read_old_row(ByteReader& reader, char marker, const Relation& of, Row& row) {
    if (marker != 'K' && marker != 'O') [[unlikely]]
        fail_marker(reader, marker, "an old row");
    row = read_row(reader, of, old_values_);
    return marker == 'K' ? OldRow::kKey : OldRow::kFull;
}

Row Decoder::Impl::read_new_row(ByteReader& reader, char marker, const Relation& of) {
    if (marker != 'N') [[unlikely]]
        fail_marker(reader, marker, "a new row");
    return read_row(reader, of, new_values_);
}

// Int16 count | columns. The count is held against the relation before anything is done with it.
Row Decoder::Impl::read_row(ByteReader& reader, const Relation& of, std::vector<Value>& values) {
    const std::size_t count = reader.u16();
    if (count != of.columns.size()) [[unlikely]]
        fail_columns(reader, of, count);
    if (values.size() < count) values.resize(count);
    // A reader of its own stays in registers: the values that are written might alias the caller's.
    ByteReader columns = reader;
    for (std::size_t i = 0; i < count; ++i) values[i] = read_value(columns);
    reader = columns;
    return Row(of, std::span(values).first(count));
}

// 'n' or 'u', or ( 't' or 'b' ) | Int32 length | bytes
inline Value Decoder::Impl::read_value(ByteReader& reader) {
    const char kind = static_cast<char>(reader.u8());
    if (kind == 't' || kind == 'b') [[likely]] {
        const std::int32_t length = reader.i32();
        if (length < 0) [[unlikely]]
            fail(fmt::format("a column's length is {}", length));
        return Value(Value::State{kind}, reader.bytes(static_cast<std::size_t>(length)));
    }
    if (kind != 'n' && kind != 'u') [[unlikely]]
        fail_marker(reader, kind, "a column");
    return Value(Value::State{kind}, {});
}

inline const Change* Decoder::Impl::row_change(Operation operation, const Relation& of, OldRow old_kind,
                                               Row old_row, Row new_row) {
    relations_.release_replaced();
    row_.operation = operation;
    row_.lsn = wal_start_;
    row_.ordinal = ++ordinal_;
    row_.relation = &of;
    row_.old_kind = old_kind;
    row_.old_row = old_row;
    row_.new_row = new_row;
    return &row_;
}

const Change* Decoder::Impl::other_change(const Change& change) {
    relations_.release_replaced();
    other_ = change;
    return &other_;
}

void Decoder::Impl::fail_length(ByteReader reader) const {
    if (reader.failed()) fail("it is cut short");
    fail(fmt::format("it is {} bytes too long", reader.rest().size()));
}

void Decoder::Impl::fail_relation(ByteReader reader, std::uint32_t oid) const {
    if (reader.failed()) fail_length(reader);
    fail(fmt::format("this session announced no relation with OID {}", oid));
}

void Decoder::Impl::fail_marker(ByteReader reader, char marker, const char* wanted) const {
    if (reader.failed()) fail_length(reader);
    fail(fmt::format("0x{:02x} does not start {}", static_cast<unsigned char>(marker), wanted));
}

void Decoder::Impl::fail_columns(ByteReader reader, const Relation& of, std::size_t count) const {
    if (reader.failed()) fail_length(reader);
    fail(fmt::format("it has a row of {} columns, {}.{} was announced with {}", count, of.schema, of.table,
                     of.columns.size()));
}

void Decoder::Impl::fail(const std::string& reason) const {
    const std::string place = in_transaction_ ? fmt::format(" (in the transaction that commits at {})",
                                                            transaction_.commit_lsn.to_string())
                                              : "";
    throw ProtocolError(
        fmt::format("pgoutput {} at {}{}: {}", name_of(message_type_), wal_start_.to_string(), place, reason),
        "the bytes do not follow the protocol: reconnect; if the same message fails again, report it with "
        "the server's version");
}

Decoder::Decoder() : impl_(std::make_unique<Impl>()) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

const Change* Decoder::decode(std::string_view message, Lsn wal_start) {
    return impl_->decode(message, wal_start);
}

void Decoder::start_session() {
    impl_->start_session();
}

bool Decoder::in_transaction() const {
    return impl_->in_transaction();
}

}  // namespace pgcascade::pgoutput
