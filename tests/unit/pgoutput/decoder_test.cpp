#include "pgoutput/decoder.hpp"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "unit/pgoutput/message_builder.hpp"

namespace pgcascade::pgoutput {

using testing::HasSubstr;

class DecoderTest : public testing::Test {
  protected:
    // The bytes of each message live until the next one, as the stream does it.
    const Change* decode(std::string bytes, std::uint64_t wal_start = 0x100) {
        message_ = std::move(bytes);
        return decoder_.decode(message_, Lsn{wal_start});
    }

    std::string error_of(const std::string& bytes, std::uint64_t wal_start = 0x100) {
        try {
            decoder_.decode(bytes, Lsn{wal_start});
        } catch (const ProtocolError& problem) {
            EXPECT_NE(problem.hint(), "");
            return problem.what();
        }
        return "no error";
    }

    void begin_with_relation() {
        ASSERT_NE(decode(begin_message(0x200)), nullptr);
        ASSERT_EQ(decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}, {"v"}})), nullptr);
    }

    Decoder decoder_;
    std::string message_;
};

TEST_F(DecoderTest, TransactionFieldsAreOnEveryChange) {
    const Change* change = decode(begin_message(0x200, 731), 0x90);
    ASSERT_NE(change, nullptr);
    EXPECT_EQ(change->operation, Operation::kBegin);
    EXPECT_EQ(change->lsn, Lsn{0x90});
    EXPECT_EQ(change->commit_lsn, Lsn{0x200});
    EXPECT_EQ(change->end_lsn, Lsn{});
    EXPECT_EQ(change->xid, 731u);
    EXPECT_EQ(change->committed_at, from_postgres_time(1'000'000));
    EXPECT_TRUE(decoder_.in_transaction());

    decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}, {"v"}}));
    change = decode(insert_message(16384, {"t1", "tone"}), 0xA0);
    EXPECT_EQ(change->lsn, Lsn{0xA0});
    EXPECT_EQ(change->commit_lsn, Lsn{0x200});
    EXPECT_EQ(change->xid, 731u);
    EXPECT_EQ(change->committed_at, from_postgres_time(1'000'000));
    EXPECT_EQ(change->ordinal, 1u);

    change = decode(commit_message(0x200, 0x230), 0x230);
    EXPECT_EQ(change->operation, Operation::kCommit);
    EXPECT_EQ(change->commit_lsn, Lsn{0x200});
    EXPECT_EQ(change->end_lsn, Lsn{0x230});
    EXPECT_EQ(change->ordinal, 0u);
    EXPECT_EQ(change->xid, 731u);
    EXPECT_FALSE(decoder_.in_transaction());
}

TEST_F(DecoderTest, EveryKindOfColumnIsKeptApart) {
    begin_with_relation();
    decode(relation_message(7, "", "kinds", 'n', {{"null"}, {"unchanged"}, {"empty"}, {"text"}, {"binary"}}));
    const Change* change = decode(insert_message(7, {"n", "u", "t", "tabc", std::string_view("b\0\1", 3)}));
    const Row& row = change->new_row;
    ASSERT_EQ(row.size(), 5u);
    EXPECT_EQ(change->relation->schema, "pg_catalog");
    EXPECT_TRUE(row["null"].is_null());
    EXPECT_TRUE(row["unchanged"].is_unchanged());
    EXPECT_FALSE(row["unchanged"].is_null());
    EXPECT_EQ(row["empty"].text(), "");
    EXPECT_FALSE(row["empty"].is_null());
    EXPECT_EQ(row["text"].text(), "abc");
    EXPECT_EQ(row["binary"].state(), Value::State::kBinary);
    EXPECT_EQ(row["binary"].bytes(), std::string_view("\0\1", 2));
}

TEST_F(DecoderTest, OldRowsSayHowMuchTheyHold) {
    begin_with_relation();
    const Change* change = decode(update_message(16384, {"t1", "tnew"}));
    EXPECT_EQ(change->old_kind, OldRow::kNone);
    EXPECT_TRUE(change->old_row.empty());
    EXPECT_EQ(change->new_row["v"].text(), "new");

    change = decode(update_message(16384, 'K', {"t1", "n"}, {"t2", "u"}));
    EXPECT_EQ(change->old_kind, OldRow::kKey);
    EXPECT_EQ(change->old_row["id"].as<int>(), 1);
    EXPECT_EQ(change->new_row["id"].as<int>(), 2);

    change = decode(update_message(16384, 'O', {"t2", "told"}, {"t2", "tnew"}));
    EXPECT_EQ(change->old_kind, OldRow::kFull);
    EXPECT_EQ(change->old_row["v"].text(), "old");

    change = decode(delete_message(16384, 'K', {"t2", "n"}));
    EXPECT_EQ(change->operation, Operation::kDelete);
    EXPECT_EQ(change->old_kind, OldRow::kKey);
    EXPECT_TRUE(change->new_row.empty());

    change = decode(insert_message(16384, {"t3", "n"}));
    EXPECT_EQ(change->old_kind, OldRow::kNone);
    EXPECT_TRUE(change->old_row.empty());
    EXPECT_EQ(change->ordinal, 5u);
}

TEST_F(DecoderTest, OriginNamesTheRestOfItsTransactionOnly) {
    EXPECT_EQ(decode(begin_message(0x200))->origin, "");
    EXPECT_EQ(decode(origin_message("far-away")), nullptr);
    decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}, {"v"}}));
    EXPECT_EQ(decode(insert_message(16384, {"t1", "n"}))->origin, "far-away");
    EXPECT_EQ(decode(commit_message(0x200, 0x230))->origin, "far-away");
    decode(begin_message(0x300));
    EXPECT_EQ(decode(insert_message(16384, {"t1", "n"}))->origin, "");
}

TEST_F(DecoderTest, TruncateNamesAllItsRelations) {
    begin_with_relation();
    decode(relation_message(16390, "s", "u", 'd', {{"id", 23, true}}));
    const Change* change = decode(truncate_message({16384, 16390}, 3));
    EXPECT_EQ(change->operation, Operation::kTruncate);
    ASSERT_EQ(change->truncated.size(), 2u);
    EXPECT_EQ(change->truncated[0]->table, "t");
    EXPECT_EQ(change->truncated[1]->table, "u");
    EXPECT_TRUE(change->cascade);
    EXPECT_TRUE(change->restart_identity);
    EXPECT_EQ(change->relation, nullptr);
    EXPECT_EQ(change->ordinal, 1u);

    change = decode(truncate_message({16390}, 0));
    EXPECT_FALSE(change->cascade);
    EXPECT_FALSE(change->restart_identity);
}

TEST_F(DecoderTest, MessagesThatAreNotTransactionalBelongToNoTransaction) {
    const Change* change = decode(logical_message(false, 0x88, "app", "hello"), 0x80);
    EXPECT_EQ(change->operation, Operation::kMessage);
    EXPECT_FALSE(change->transactional);
    EXPECT_EQ(change->lsn, Lsn{0x88});
    EXPECT_EQ(change->commit_lsn, Lsn{});
    EXPECT_EQ(change->ordinal, 0u);
    EXPECT_EQ(change->xid, 0u);

    begin_with_relation();
    change = decode(logical_message(true, 0x89, "app", std::string_view("a\0b", 3)));
    EXPECT_TRUE(change->transactional);
    EXPECT_EQ(change->prefix, "app");
    EXPECT_EQ(change->content, std::string_view("a\0b", 3));
    EXPECT_EQ(change->commit_lsn, Lsn{0x200});
    EXPECT_EQ(change->ordinal, 1u);

    decode(logical_message(false, 0x8A, "app", "between"));
    EXPECT_EQ(decode(insert_message(16384, {"t1", "n"}))->ordinal, 2u);
}

TEST_F(DecoderTest, TypesAnnouncedBeforeTheRelationNameItsColumns) {
    decode(begin_message(0x200));
    decode(type_message(16500, "shop", "colour"));
    decode(type_message(16501, "", "int4"));
    decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}, {"c", 16500}, {"d", 16501}}));
    const Change* change = decode(insert_message(16384, {"t1", "tred", "t5"}));
    const std::vector<Column>& columns = change->relation->columns;
    EXPECT_EQ(columns[0].type_name, "");
    EXPECT_EQ(columns[1].type_schema, "shop");
    EXPECT_EQ(columns[1].type_name, "colour");
    EXPECT_EQ(columns[2].type_schema, "pg_catalog");
    EXPECT_EQ(columns[2].type_name, "int4");
}

TEST_F(DecoderTest, ChangeOutlivesTheRelationAnnouncedAnew) {
    begin_with_relation();
    const std::string insert = insert_message(16384, {"t1", "tone"});
    const Change* change = decoder_.decode(insert, Lsn{0x100});
    const Relation* before = change->relation;

    EXPECT_EQ(decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}, {"v"}, {"w"}})), nullptr);
    EXPECT_EQ(decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}})), nullptr);
    decoder_.start_session();
    EXPECT_EQ(change->relation, before);
    EXPECT_EQ(before->columns.size(), 2u);
    EXPECT_EQ(change->new_row["v"].text(), "one");
}

TEST_F(DecoderTest, RowsFollowTheRelationAnnouncedLast) {
    begin_with_relation();
    decode(insert_message(16384, {"t1", "tone"}));
    decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}, {"v"}, {"w"}}));
    EXPECT_EQ(decode(insert_message(16384, {"t2", "n", "tw"}))->new_row["w"].text(), "w");
    EXPECT_THAT(error_of(insert_message(16384, {"t2", "n"})),
                HasSubstr("a row of 2 columns, public.t was announced with 3"));
}

TEST_F(DecoderTest, RelationAnnouncedAgainUnchangedKeepsItsGeneration) {
    begin_with_relation();
    const Relation* before = decode(insert_message(16384, {"t1", "tone"}))->relation;
    EXPECT_NE(before->generation, 0u);
    decode(relation_message(16384, "public", "t", 'd', {{"id", 23, true}, {"v"}}));
    EXPECT_EQ(decode(insert_message(16384, {"t2", "n"}))->relation, before);
}

TEST_F(DecoderTest, GenerationsAreNeverGivenTwice) {
    std::set<std::uint64_t> generations;
    const auto announce = [&](const std::string& table, TestColumn column) {
        decode(relation_message(16384, "public", table, 'd', {column}));
        generations.insert(decode(insert_message(16384, {"t1"}))->relation->generation);
    };
    decode(begin_message(0x200));
    announce("t", {"id", 23, true});
    announce("t", {"id", 20, true});
    announce("u", {"id", 20, true});
    decoder_.start_session();
    decode(begin_message(0x200));
    announce("t", {"id", 23, true});
    EXPECT_EQ(generations.size(), 4u);
    EXPECT_FALSE(generations.contains(0));
}

TEST_F(DecoderTest, RelationsWhoseOidsShareACacheSlotAreKeptApart) {
    decode(begin_message(0x200));
    for (std::uint32_t i = 0; i < 300; ++i)
        decode(relation_message(i, "public", "t" + std::to_string(i), 'd', {{"id", 23, true}}));
    for (int round = 0; round < 2; ++round)
        for (std::uint32_t i = 0; i < 300; ++i)
            EXPECT_EQ(decode(insert_message(i, {"t1"}))->relation->table, "t" + std::to_string(i));
}

TEST_F(DecoderTest, NewSessionForgetsRelationsTypesAndTheOpenTransaction) {
    begin_with_relation();
    decoder_.start_session();
    EXPECT_FALSE(decoder_.in_transaction());
    decode(begin_message(0x200));
    EXPECT_THAT(error_of(insert_message(16384, {"t1", "n"})),
                HasSubstr("this session announced no relation with OID 16384"));
}

TEST_F(DecoderTest, WidestTableIsDecoded) {
    constexpr std::uint16_t kColumns = 1600;
    ByteWriter relation;
    ByteWriter insert;
    relation.u8('R').u32(9).c_string("public").c_string("wide").u8('d').u16(kColumns);
    insert.u8('I').u32(9).u8('N').u16(kColumns);
    for (int i = 0; i < kColumns; ++i) {
        relation.u8(i == 0 ? 1 : 0).c_string("c" + std::to_string(i)).u32(23).u32(0xFFFFFFFF);
        const std::string text = std::to_string(i);
        insert.u8('t').u32(static_cast<std::uint32_t>(text.size())).bytes(text);
    }
    decode(begin_message(0x200));
    decode(relation.take());
    const Change* change = decode(insert.take());
    ASSERT_EQ(change->new_row.size(), kColumns);
    EXPECT_EQ(change->new_row["c1599"].as<int>(), 1599);
}

TEST_F(DecoderTest, ErrorsSayWhatAndWhere) {
    begin_with_relation();
    EXPECT_THAT(error_of(insert_message(1, {"t1", "n"}), 0x1A2B),
                HasSubstr("pgoutput Insert at 0/1A2B (in the transaction that commits at 0/200): "));
}

TEST_F(DecoderTest, MessagesOutOfOrderAreRefused) {
    const std::string nothing_begun = "no transaction has begun";
    EXPECT_THAT(error_of(insert_message(1, {"t1"})), HasSubstr(nothing_begun));
    EXPECT_THAT(error_of(update_message(1, {"t1"})), HasSubstr(nothing_begun));
    EXPECT_THAT(error_of(delete_message(1, 'K', {"t1"})), HasSubstr(nothing_begun));
    EXPECT_THAT(error_of(truncate_message({1}, 0)), HasSubstr(nothing_begun));
    EXPECT_THAT(error_of(truncate_message({}, 0)), HasSubstr(nothing_begun));
    EXPECT_THAT(error_of(commit_message(1, 2)), HasSubstr(nothing_begun));
    EXPECT_THAT(error_of(origin_message("o")), HasSubstr(nothing_begun));
    EXPECT_THAT(error_of(logical_message(true, 1, "p", "c")), HasSubstr(nothing_begun));

    begin_with_relation();
    EXPECT_THAT(error_of(begin_message(0x300)),
                HasSubstr("the transaction before it has not been committed"));
    EXPECT_THAT(error_of(commit_message(0x300, 0x310)), HasSubstr("commits at 0/300"));
    EXPECT_THAT(error_of(commit_message(0x200, 0x210, 4)), HasSubstr("flags are 0x04"));
    decode(insert_message(16384, {"t1", "n"}));
    EXPECT_THAT(error_of(origin_message("late")), HasSubstr("changes of the transaction came before it"));
}

TEST_F(DecoderTest, MessagesOfOtherProtocolVersionsAreRefused) {
    for (const char type : {'S', 'E', 'c', 'A', 'b', 'P', 'K', 'r', 'p', '\0', '\xff'})
        EXPECT_THAT(error_of(std::string(1, type)),
                    HasSubstr("version 1 of the protocol has no such message"));
    EXPECT_THAT(error_of(""), HasSubstr("it is empty"));
}

TEST_F(DecoderTest, LengthsAreNeverTrusted) {
    begin_with_relation();
    EXPECT_THAT(error_of(ByteWriter().u8('R').u32(1).c_string("").c_string("t").u8('d').u16(65535).take()),
                HasSubstr("cut short"));
    EXPECT_THAT(error_of(ByteWriter().u8('I').u32(16384).u8('N').u16(65535).take()),
                HasSubstr("a row of 65535 columns"));
    EXPECT_THAT(error_of(ByteWriter().u8('I').u32(16384).u8('N').u16(2).u8('t').u32(0xFFFFFFFF).take()),
                HasSubstr("length is -1"));
    EXPECT_THAT(error_of(ByteWriter().u8('I').u32(16384).u8('N').u16(2).u8('t').u32(0x7FFFFFFF).take()),
                HasSubstr("cut short"));
    EXPECT_THAT(error_of(ByteWriter().u8('T').u32(0xFFFFFFFF).u8(0).u32(16384).take()),
                HasSubstr("4 bytes can't hold the 4294967295 relations"));
    EXPECT_THAT(error_of(ByteWriter().u8('M').u8(1).u64(1).c_string("p").u32(0xFFFFFFFF).take()),
                HasSubstr("cut short"));
}

TEST_F(DecoderTest, BytesAfterTheEndAreRefused) {
    EXPECT_THAT(error_of(begin_message(0x200) + "x"), HasSubstr("1 bytes too long"));
    begin_with_relation();
    for (const std::string& message :
         {insert_message(16384, {"t1", "n"}), update_message(16384, 'O', {"t1", "n"}, {"t1", "n"}),
          delete_message(16384, 'K', {"t1", "n"}), origin_message("o"), type_message(1, "s", "t"),
          relation_message(16385, "s", "t", 'd', {{"id"}}), logical_message(true, 1, "p", "c"),
          commit_message(0x200, 0x210)})
        EXPECT_THAT(error_of(message + "xy"), HasSubstr("2 bytes too long")) << message[0];
}

TEST_F(DecoderTest, WrongMarkersAreRefused) {
    begin_with_relation();
    EXPECT_THAT(error_of(ByteWriter().u8('I').u32(16384).u8('K').u16(0).take()),
                HasSubstr("0x4b does not start a new row"));
    EXPECT_THAT(error_of(ByteWriter().u8('D').u32(16384).u8('N').u16(0).take()),
                HasSubstr("0x4e does not start an old row"));
    EXPECT_THAT(error_of(ByteWriter().u8('I').u32(16384).u8('N').u16(2).u8('x').take()),
                HasSubstr("0x78 does not start a column"));
    EXPECT_THAT(error_of(relation_message(1, "s", "t", 'x', {{"id"}})),
                HasSubstr("0x78 is no replica identity"));
}

TEST_F(DecoderTest, MessageThatFailedChangesNothing) {
    begin_with_relation();
    decode(insert_message(16384, {"t1", "n"}));
    EXPECT_NE(error_of(insert_message(16384, {"t2", "n"}) + "x"), "no error");
    EXPECT_NE(error_of(relation_message(16384, "s", "other", 'd', {{"id"}}) + "x"), "no error");
    EXPECT_NE(error_of(commit_message(0x200, 0x210) + "x"), "no error");
    const Change* change = decode(insert_message(16384, {"t2", "n"}));
    EXPECT_EQ(change->ordinal, 2u);
    EXPECT_EQ(change->relation->table, "t");
}

}  // namespace pgcascade::pgoutput
