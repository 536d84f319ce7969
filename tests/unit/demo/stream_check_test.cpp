#include "demo/stream_check.hpp"

#include <deque>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "demo/node_check.hpp"

namespace pgcascade::demo {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

constexpr const char* kUnchanged = "\1unchanged";

Relation items_relation() {
    Relation relation;
    relation.oid = 16384;
    relation.schema = "public";
    relation.table = "items";
    relation.columns.resize(2);
    relation.columns[0].name = "id";
    relation.columns[0].is_key = true;
    relation.columns[1].name = "name";
    return relation;
}

// Hands the check the changes of a stream, transaction by transaction, as ChangeStream would.
class StreamCheckTest : public testing::Test {
  protected:
    using Texts = std::vector<std::optional<std::string>>;

    // The next transaction; its LSNs and ordinals are as they should be.
    void begin(std::uint32_t xid) {
        commit_lsn_ = Lsn{commit_lsn_.value + 0x100};
        ordinal_ = 0;
        xid_ = xid;
        take(Operation::kBegin);
    }
    void commit() {
        ordinal_ = 0;
        take(Operation::kCommit);
    }
    void insert(const std::string& id, const std::string& name) {
        ++ordinal_;
        take(Operation::kInsert, row({id, name}));
    }
    void update(const std::string& id, const std::string& name) {
        ++ordinal_;
        take(Operation::kUpdate, row({id, name}));
    }
    void update_key(const std::string& from, const std::string& to, const std::string& name) {
        ++ordinal_;
        take(Operation::kUpdate, row({to, name}), row({from, std::nullopt}));
    }
    void remove(const std::string& id) {
        ++ordinal_;
        take(Operation::kDelete, {}, row({id, std::nullopt}));
    }

    void committed(std::uint32_t xid, RowCounts counts) { ledger_[xid]["items"] = counts; }
    void on_primary(const std::string& id, const std::string& name) {
        contents_["items"][RowText{id}] = RowText{id, name};
    }

    std::vector<std::string> differences() const { return check_.differences(ledger_, contents_); }

    // Two transactions, all as it should be.
    void stream_well() {
        begin(700);
        insert("1", "one");
        insert("2", "two");
        insert("3", "three");
        commit();
        begin(701);
        update("2", "TWO");
        remove("1");
        commit();
        committed(700, {.inserted = 3});
        committed(701, {.updated = 1, .deleted = 1});
        on_primary("2", "TWO");
        on_primary("3", "three");
    }

    Row row(const Texts& texts) {
        std::vector<Value>& values = values_.emplace_back();
        for (const auto& text : texts) {
            if (!text)
                values.emplace_back(Value::State::kNull, std::string_view{});
            else if (*text == kUnchanged)
                values.emplace_back(Value::State::kUnchanged, std::string_view{});
            else
                values.emplace_back(Value::State::kText, texts_.emplace_back(*text));
        }
        return Row{relation_, values};
    }

    void take(Operation operation, Row new_row = {}, Row old_row = {}) {
        Change change;
        change.operation = operation;
        change.commit_lsn = commit_lsn_;
        change.ordinal = ordinal_;
        change.xid = xid_;
        if (operation != Operation::kBegin && operation != Operation::kCommit) change.relation = &relation_;
        change.new_row = new_row;
        change.old_row = old_row;
        change.old_kind = old_row.empty() ? OldRow::kNone : OldRow::kKey;
        check_.take(change);
    }

    StreamCheck check_;
    Ledger ledger_;
    Contents contents_;
    Lsn commit_lsn_{0x1000};
    std::uint64_t ordinal_ = 0;
    std::uint32_t xid_ = 0;

  private:
    Relation relation_ = items_relation();
    std::deque<std::vector<Value>> values_;
    std::deque<std::string> texts_;
};

}  // namespace

TEST_F(StreamCheckTest, WholeStreamHasNoDifferences) {
    stream_well();
    EXPECT_THAT(differences(), IsEmpty());
    EXPECT_EQ(check_.row_changes(), 5U);
    EXPECT_EQ(check_.transactions(), 2U);
}

TEST_F(StreamCheckTest, MissingTransactionIsFound) {
    stream_well();
    committed(702, {.inserted = 1});
    on_primary("4", "four");
    EXPECT_THAT(differences(),
                ElementsAre(HasSubstr("transaction 702 (items +1 ~0 -0) was committed and not streamed"),
                            HasSubstr("items (4) is on the primary")));
}

TEST_F(StreamCheckTest, MissingChangeIsFoundByTheCountAndByTheRows) {
    begin(700);
    insert("1", "one");
    commit();
    committed(700, {.inserted = 2});
    on_primary("1", "one");
    on_primary("2", "two");
    EXPECT_THAT(differences(),
                ElementsAre(HasSubstr("committed with items +2 ~0 -0, and streamed with items +1 ~0 -0"),
                            HasSubstr("items (2)")));
}

TEST_F(StreamCheckTest, ChangeThatComesTwiceIsFound) {
    begin(700);
    insert("1", "one");
    --ordinal_;
    insert("1", "one");
    commit();
    committed(700, {.inserted = 1});
    on_primary("1", "one");
    EXPECT_THAT(differences(), testing::Contains(HasSubstr("change 1: comes after change 1")));
    EXPECT_THAT(differences(), testing::Contains(HasSubstr("inserts a row that is there already: (1)")));
}

TEST_F(StreamCheckTest, UpdateThatComesTwiceIsFoundThoughTheRowsAreTheSame) {
    stream_well();
    begin(702);
    update("2", "TWO");
    update("2", "TWO");
    commit();
    committed(702, {.updated = 1});
    EXPECT_THAT(differences(), ElementsAre(HasSubstr("transaction 702 was committed with items +0 ~1 -0")));
}

TEST_F(StreamCheckTest, TransactionThatComesTwiceIsFound) {
    stream_well();
    commit_lsn_ = Lsn{commit_lsn_.value - 0x100};  // the same identity again
    begin(701);
    update("2", "TWO");
    commit();
    EXPECT_THAT(differences(), testing::Contains(HasSubstr("does not come after")));
    EXPECT_THAT(differences(), testing::Contains(HasSubstr("was committed before")));
}

TEST_F(StreamCheckTest, SwappedTransactionsAreFound) {
    begin(700);
    commit();
    commit_lsn_ = Lsn{0x800};
    begin(701);
    commit();
    EXPECT_THAT(differences(), ElementsAre(HasSubstr("does not come after")));
}

TEST_F(StreamCheckTest, MissingOrdinalIsFound) {
    begin(700);
    insert("1", "one");
    ++ordinal_;
    insert("2", "two");
    commit();
    committed(700, {.inserted = 2});
    on_primary("1", "one");
    on_primary("2", "two");
    EXPECT_THAT(differences(), ElementsAre(HasSubstr("change 3: comes after change 1")));
}

TEST_F(StreamCheckTest, ChangeOfSomebodyElseIsFound) {
    stream_well();
    begin(900);
    insert("9", "nine");
    commit();
    on_primary("9", "nine");
    EXPECT_THAT(
        differences(),
        ElementsAre(HasSubstr("transaction 900 (items +1 ~0 -0) was streamed; the workload did not")));
}

TEST_F(StreamCheckTest, WrongValueIsFound) {
    stream_well();
    on_primary("3", "drei");
    EXPECT_THAT(differences(),
                ElementsAre(HasSubstr("items (3) is (3, drei) on the primary, and (3, three) by what")));
}

TEST_F(StreamCheckTest, UnchangedValueIsTheOneBefore) {
    begin(700);
    insert("1", "long");
    update("1", kUnchanged);
    update_key("1", "2", kUnchanged);
    commit();
    committed(700, {.inserted = 1, .updated = 2});
    on_primary("2", "long");
    EXPECT_THAT(differences(), IsEmpty());
}

TEST_F(StreamCheckTest, StreamThatEndsInsideATransactionIsFound) {
    stream_well();
    begin(702);
    EXPECT_THAT(differences(), ElementsAre(HasSubstr("ended inside the transaction")));
}

TEST_F(StreamCheckTest, LongListsAreCut) {
    for (std::uint32_t xid = 1; xid <= 30; ++xid) committed(xid, {.inserted = 1});
    EXPECT_EQ(differences().size(), 11U);
    EXPECT_EQ(differences().back(), "… and 20 more like these");
}

TEST(NodeCheck, NodesWithTheSameRowsDoNotDiffer) {
    const Digests digests = {{"items", {3, "abc"}}, {"orders", {0, "empty"}}};
    EXPECT_THAT(node_differences({{"primary", digests}, {"eu", digests}, {"us", digests}}), IsEmpty());
    EXPECT_EQ(total_rows(digests), 3);
}

TEST(NodeCheck, OtherCountsRowsAndTablesAreFound) {
    EXPECT_THAT(node_differences({{"primary", {{"items", {3, "abc"}}, {"orders", {1, "x"}}}},
                                  {"eu", {{"items", {2, "abd"}}, {"orders", {1, "x"}}}},
                                  {"us", {{"items", {3, "xyz"}}}}}),
                ElementsAre("eu has 2 rows in items, primary has 3",
                            "us has other rows in items than primary", "us has no table orders"));
}

}  // namespace pgcascade::demo
