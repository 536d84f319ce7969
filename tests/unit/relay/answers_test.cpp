#include "relay/answers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/protocol/libpq_conversation.hpp"

// What clients make of the answers, libpq judges.

namespace pgcascade::relay {

using protocol::CommandOption;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

namespace {

struct Answer {
    std::vector<std::string> names;
    std::vector<std::optional<std::string>> row;
    std::vector<Oid> types;
    std::string tag;
};

Answer understood(const std::string& bytes) {
    Answer answer;
    const protocol::LibpqServer server{[&bytes](protocol::LibpqPeer& peer) {
        peer.first_packet();
        std::string out;
        protocol::append_authentication_ok(out);
        protocol::append_ready_for_query(out, protocol::TransactionStatus::kIdle);
        peer.send(out);
        peer.message();
        out = bytes;
        protocol::append_ready_for_query(out, protocol::TransactionStatus::kIdle);
        peer.send(out);
        peer.message();
    }};
    const auto client = server.connect("sslmode=disable");
    const std::unique_ptr<PGresult, decltype(&PQclear)> result{PQexec(client.get(), "a command"), PQclear};
    EXPECT_EQ(PQresultStatus(result.get()), PGRES_TUPLES_OK) << PQresultErrorMessage(result.get());
    EXPECT_EQ(PQntuples(result.get()), 1);
    for (int column = 0; column < PQnfields(result.get()); ++column) {
        answer.names.emplace_back(PQfname(result.get(), column));
        answer.types.push_back(PQftype(result.get(), column));
        answer.row.emplace_back();
        if (PQgetisnull(result.get(), 0, column) == 0)
            answer.row.back() = PQgetvalue(result.get(), 0, column);
    }
    answer.tag = PQcmdStatus(result.get());
    return answer;
}

Slot slot_of(Slot::Kind kind, Lsn position) {
    Slot slot;
    slot.name = "sub";
    slot.kind = kind;
    slot.position = position;
    return slot;
}

std::string refusal_of(const std::vector<CommandOption>& options) {
    try {
        read_pgoutput_options(options);
    } catch (const ServerError& problem) {
        return problem.sqlstate() + " " + problem.what();
    }
    return "";
}

const CommandOption kVersion{"proto_version", "4"};
const CommandOption kNames{"publication_names", "shop"};

}  // namespace

TEST(Answers, SystemIsIdentifiedWithAndWithoutADatabase) {
    UpstreamFacts facts;
    facts.system_identifier = "7300000000000000001";
    facts.timeline = {3};
    for (const std::string database : {"", "shop"}) {
        std::string out;
        append_identify_system(out, facts, {0x16B3788}, database);
        const Answer answer = understood(out);
        EXPECT_THAT(answer.names, ElementsAre("systemid", "timeline", "xlogpos", "dbname"));
        EXPECT_THAT(answer.types, ElementsAre(25, 20, 25, 25));
        EXPECT_THAT(answer.row, ElementsAre(Optional(facts.system_identifier), Optional(std::string{"3"}),
                                            Optional(std::string{"0/16B3788"}),
                                            database.empty() ? std::nullopt : std::optional{database}));
        EXPECT_EQ(answer.tag, "IDENTIFY_SYSTEM");
    }
}

TEST(Answers, SettingIsShownUnderItsName) {
    std::string out;
    append_show(out, "wal_segment_size", "16MB");
    const Answer answer = understood(out);
    EXPECT_THAT(answer.names, ElementsAre("wal_segment_size"));
    EXPECT_THAT(answer.row, ElementsAre(Optional(std::string{"16MB"})));
    EXPECT_EQ(answer.tag, "SHOW");
}

TEST(Answers, CreatedSlotTellsItsKind) {
    std::string out;
    append_created_slot(out, slot_of(Slot::Kind::kLogical, {0x1000}), "00000003-1");
    Answer answer = understood(out);
    EXPECT_THAT(answer.names, ElementsAre("slot_name", "consistent_point", "snapshot_name", "output_plugin"));
    EXPECT_THAT(answer.row,
                ElementsAre(Optional(std::string{"sub"}), Optional(std::string{"0/1000"}),
                            Optional(std::string{"00000003-1"}), Optional(std::string{"pgoutput"})));
    EXPECT_EQ(answer.tag, "CREATE_REPLICATION_SLOT");
    out.clear();
    append_created_slot(out, slot_of(Slot::Kind::kPhysical, {}), std::nullopt);
    EXPECT_THAT(understood(out).row, ElementsAre(Optional(std::string{"sub"}), Optional(std::string{"0/0"}),
                                                 std::nullopt, std::nullopt));
}

TEST(Answers, SlotThatIsReadHasNullsForWhatThereIsNot) {
    const auto read = [](const std::optional<Slot>& slot) {
        std::string out;
        append_read_slot(out, slot, {2});
        return understood(out).row;
    };
    EXPECT_THAT(read(std::nullopt), ElementsAre(std::nullopt, std::nullopt, std::nullopt));
    EXPECT_THAT(read(slot_of(Slot::Kind::kPhysical, {})),
                ElementsAre(Optional(std::string{"physical"}), std::nullopt, std::nullopt));
    EXPECT_THAT(read(slot_of(Slot::Kind::kPhysical, {0x3000000})),
                ElementsAre(Optional(std::string{"physical"}), Optional(std::string{"0/3000000"}),
                            Optional(std::string{"2"})));
}

TEST(Answers, SearchPathIsResetHoweverTheStatementIsSpaced) {
    EXPECT_TRUE(is_search_path_reset("SELECT pg_catalog.set_config('search_path', '', false);"));
    EXPECT_TRUE(is_search_path_reset(" select\npg_catalog.set_config ( 'search_path','' ,false ) "));
    for (const char* other : {"", "SELECT 1", "SELECT pg_catalog.set_config('search_path', 'public', false);",
                              "SELECT pg_catalog.set_config('search_path', '', true)",
                              "SELECT pg_catalog.set_config('search_path', '', false); DROP TABLE item"})
        EXPECT_FALSE(is_search_path_reset(other)) << other;
    std::string out;
    append_search_path_reset(out);
    EXPECT_THAT(understood(out).row, ElementsAre(Optional(std::string{})));
}

TEST(Answers, ErrorsKeepTheirSqlstateOrGetOneOfTheirKind) {
    const auto sqlstate_of = [](const Error& problem) { return report_of(problem).sqlstate; };
    EXPECT_EQ(sqlstate_of(ServerError("it is in use", "55006")), "55006");
    EXPECT_EQ(sqlstate_of(ServerError("without one", "")), "XX000");
    EXPECT_EQ(sqlstate_of(ProtocolError("syntax error at \"x\"")), "42601");
    EXPECT_EQ(sqlstate_of(ProtocolError("a message is cut short")), "08P01");
    EXPECT_EQ(sqlstate_of(ConnectionError("it is away")), "08006");
    EXPECT_EQ(sqlstate_of(Error("anything else")), "XX000");
    const protocol::Report report = report_of(ServerError("what", "55006", "do this"), "FATAL");
    EXPECT_EQ(report.severity, "FATAL");
    EXPECT_EQ(report.message, "what");
    EXPECT_EQ(report.hint, "do this");
}

TEST(Answers, OptionsOfSubscribersAreUnderstood) {
    const PgoutputOptions plain = read_pgoutput_options({kVersion, kNames});
    EXPECT_THAT(plain.publications, ElementsAre("shop"));
    EXPECT_FALSE(plain.only_local);
    EXPECT_FALSE(plain.messages);
    EXPECT_TRUE(read_pgoutput_options({kVersion, kNames, {"messages", std::nullopt}}).messages);
    const PgoutputOptions full = read_pgoutput_options({{"proto_version", "1"},
                                                        {"publication_names", "\"One, two\",three , FOUR"},
                                                        {"binary", "true"},
                                                        {"streaming", "parallel"},
                                                        {"messages", "false"},
                                                        {"two_phase", "off"},
                                                        {"origin", "none"}});
    EXPECT_THAT(full.publications, ElementsAre("One, two", "three", "four"));
    EXPECT_TRUE(full.only_local);
    EXPECT_FALSE(read_pgoutput_options({kVersion, kNames, {"origin", "any"}}).only_local);
}

namespace {

// What the server refuses, as "SQLSTATE message"; empty where it does not.
std::string refusal_of_command(const char* text) {
    try {
        const protocol::ReplicationCommand command = protocol::parse_command(text);
        if (const auto* create = std::get_if<protocol::CreateReplicationSlot>(&command))
            read_options(*create);
        else
            read_options(std::get<protocol::AlterReplicationSlot>(command));
    } catch (const ServerError& problem) {
        return problem.sqlstate() + " " + problem.what();
    }
    return "";
}

CreateSlotOptions created_with(const char* options) {
    const auto command = protocol::parse_command(std::string{"CREATE_REPLICATION_SLOT s "} + options);
    return read_options(std::get<protocol::CreateReplicationSlot>(command));
}

}  // namespace

TEST(Answers, OptionsOfSlotsAreUnderstoodAsByAWalsender) {
    using Snapshot = CreateSlotOptions::Snapshot;
    EXPECT_TRUE(created_with("PHYSICAL RESERVE_WAL").reserve_wal);
    EXPECT_TRUE(created_with("PHYSICAL (RESERVE_WAL 'TRUE')").reserve_wal);
    EXPECT_FALSE(created_with("PHYSICAL (RESERVE_WAL off)").reserve_wal);
    EXPECT_EQ(created_with("LOGICAL pgoutput").snapshot, Snapshot::kExport);
    EXPECT_FALSE(created_with("LOGICAL pgoutput").names_snapshot);
    EXPECT_TRUE(created_with("LOGICAL pgoutput EXPORT_SNAPSHOT").names_snapshot);
    EXPECT_EQ(created_with("LOGICAL pgoutput NOEXPORT_SNAPSHOT").snapshot, Snapshot::kNothing);
    EXPECT_EQ(created_with("LOGICAL pgoutput (SNAPSHOT 'use', FAILOVER)").snapshot, Snapshot::kUse);
    EXPECT_TRUE(created_with("LOGICAL pgoutput (FAILOVER 1, TWO_PHASE)").failover);

    const std::string redundant = "42601 conflicting or redundant options";
    for (const char* command : {"CREATE_REPLICATION_SLOT s PHYSICAL (SNAPSHOT 'use')",
                                "CREATE_REPLICATION_SLOT s PHYSICAL (FAILOVER)",
                                "CREATE_REPLICATION_SLOT s LOGICAL pgoutput (RESERVE_WAL)",
                                "CREATE_REPLICATION_SLOT s LOGICAL pgoutput (FAILOVER, FAILOVER)",
                                "ALTER_REPLICATION_SLOT s (FAILOVER, FAILOVER)"})
        EXPECT_EQ(refusal_of_command(command), redundant) << command;
    for (const char* command :
         {"CREATE_REPLICATION_SLOT s PHYSICAL (other)",
          "CREATE_REPLICATION_SLOT s LOGICAL pgoutput (other 'x')", "ALTER_REPLICATION_SLOT s (other)"})
        EXPECT_EQ(refusal_of_command(command), "XX000 unrecognized option: other") << command;
    EXPECT_EQ(refusal_of_command("CREATE_REPLICATION_SLOT s PHYSICAL (RESERVE_WAL 'yes')"),
              "42601 reserve_wal requires a Boolean value");
    EXPECT_THAT(refusal_of_command("CREATE_REPLICATION_SLOT s LOGICAL pgoutput (SNAPSHOT 'none')"),
                HasSubstr("22023 unrecognized value"));
}

TEST(Answers, QuestionOfSlotSynchronizationIsKnown) {
    EXPECT_EQ(slot_of_synchronization("SELECT pg_is_in_recovery(), count(*) = 1 FROM "
                                      "pg_catalog.pg_replication_slots WHERE slot_type='physical' AND "
                                      "slot_name='eu_1'"),
              "eu_1");
    for (const char* other : {"SELECT pg_is_in_recovery()", "",
                              "SELECT pg_is_in_recovery(), count(*) = 1 FROM pg_catalog.pg_replication_slots "
                              "WHERE slot_type='physical' AND slot_name='a' OR 'b'='b'"})
        EXPECT_FALSE(slot_of_synchronization(other)) << other;
    std::string out;
    append_slot_synchronization(out, false);
    EXPECT_THAT(understood(out).row, ElementsAre(Optional(std::string{"t"}), Optional(std::string{"f"})));
}

TEST(Answers, OptionsAreRefusedAsByPgoutput) {
    EXPECT_EQ(refusal_of({kVersion, kNames}), "");
    EXPECT_EQ(refusal_of({kNames}), "22023 proto_version option missing");
    EXPECT_EQ(refusal_of({kVersion}), "22023 publication_names option missing");
    EXPECT_EQ(refusal_of({kVersion, kNames, kNames}), "42601 conflicting or redundant options");
    for (const char* version : {"x", "", "1x", "99999999999"})
        EXPECT_EQ(refusal_of({{"proto_version", version}, kNames}), "22023 invalid proto_version");
    EXPECT_THAT(refusal_of({{"proto_version", "5"}, kNames}), HasSubstr("0A000 client sent proto_version=5"));
    EXPECT_THAT(refusal_of({{"proto_version", "0"}, kNames}), HasSubstr("protocol 1 or higher"));
    for (const char* names : {"", ",", "a,", "a b", "\"a", "'a'"})
        EXPECT_EQ(refusal_of({kVersion, {"publication_names", names}}),
                  "42602 invalid publication_names syntax")
            << names;
    EXPECT_THAT(refusal_of({kVersion, kNames, {"two_phase", "on"}}), HasSubstr("0A000"));
    EXPECT_THAT(refusal_of({kVersion, kNames, {"binary", "perhaps"}}), HasSubstr("42601 binary requires"));
    EXPECT_THAT(refusal_of({kVersion, kNames, {"streaming", "perhaps"}}), HasSubstr("42601"));
    EXPECT_THAT(refusal_of({kVersion, kNames, {"origin", "local"}}), HasSubstr("22023 unrecognized origin"));
    EXPECT_THAT(refusal_of({kVersion, kNames, {"other", "x"}}), HasSubstr("unrecognized pgoutput option"));
}

}  // namespace pgcascade::relay
