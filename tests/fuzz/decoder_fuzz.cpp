#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"
#include "pgoutput/decoder.hpp"

// Feeds the pgoutput decoder with a session of arbitrary messages: Int16 length | bytes, again and again; the
// last may be shorter. A length of 0 starts a new session. A message that is refused is skipped and the
// session goes on, so what a failure leaves behind is tested too. Besides crashes, a change that breaks the
// decoder's contract ends the run.

namespace {

using namespace pgcascade;

void require(bool holds) {
    if (!holds) std::abort();
}

// Looks at every byte, so that the sanitizers see a view that points nowhere.
std::size_t sum_of(std::string_view bytes) {
    std::size_t sum = 0;
    for (const char c : bytes) sum += static_cast<unsigned char>(c);
    return sum;
}

std::size_t sum_of(const Row& row, const Relation& relation) {
    if (row.empty()) return 0;
    require(&row.relation() == &relation);
    require(row.size() == relation.columns.size());
    std::size_t sum = 0;
    for (const Value& value : row.values()) {
        if (value.is_null() || value.is_unchanged()) require(value.bytes().empty());
        sum += sum_of(value.bytes());
    }
    return sum;
}

std::size_t sum_of(const Relation& relation) {
    require(relation.generation != 0);
    std::size_t sum = sum_of(relation.schema) + sum_of(relation.table);
    for (const Column& column : relation.columns)
        sum += sum_of(column.name) + sum_of(column.type_schema) + sum_of(column.type_name);
    return sum;
}

// Follows the session from outside and holds each change against it.
class Follower {
  public:
    void restart() { in_transaction_ = false; }

    std::size_t check(const Change& change) {
        if (change.operation == Operation::kBegin) begin(change);
        if (change.operation == Operation::kMessage && !change.transactional) {
            require(!change.commit_lsn && change.ordinal == 0);
            return sum_of(change.prefix) + sum_of(change.content);
        }
        require(in_transaction_ && change.commit_lsn == commit_lsn_);
        require(change.is_row_change() == (change.relation != nullptr));
        if (change.operation == Operation::kCommit) in_transaction_ = false;
        const bool counts = change.operation != Operation::kBegin && change.operation != Operation::kCommit;
        require(change.ordinal == (counts ? ++ordinal_ : 0));
        return sum_of_details(change);
    }

    bool in_transaction() const { return in_transaction_; }

  private:
    void begin(const Change& change) {
        require(!in_transaction_);
        in_transaction_ = true;
        commit_lsn_ = change.commit_lsn;
        ordinal_ = 0;
    }

    static std::size_t sum_of_details(const Change& change) {
        std::size_t sum = sum_of(change.origin) + sum_of(change.prefix) + sum_of(change.content);
        for (const Relation* relation : change.truncated) sum += sum_of(*relation);
        if (change.relation == nullptr) return sum;
        sum += sum_of(*change.relation);
        return sum + sum_of(change.new_row, *change.relation) + sum_of(change.old_row, *change.relation);
    }

    bool in_transaction_ = false;
    Lsn commit_lsn_;
    std::uint64_t ordinal_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ByteReader input(std::string_view(reinterpret_cast<const char*>(data), size));
    pgoutput::Decoder decoder;
    Follower follower;
    std::size_t sum = 0;
    while (!input.empty()) {
        const std::size_t length = input.u16();
        const std::string_view message =
            input.bytes(length < input.rest().size() ? length : input.rest().size());
        if (length == 0) {
            decoder.start_session();
            follower.restart();
            continue;
        }
        try {
            if (const Change* change = decoder.decode(message, Lsn{size})) sum += follower.check(*change);
        } catch (const ProtocolError& problem) {
            sum += sum_of(problem.what());
        }
        require(decoder.in_transaction() == follower.in_transaction());
    }
    return sum == 0x7FFFFFFF ? -1 : 0;  // the sum must seem to matter
}
