#include "protocol/backend_message.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/protocol/libpq_conversation.hpp"

// The judge is libpq: it must understand every message.

namespace pgcascade::protocol {

namespace {

using testing::HasSubstr;

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

Result run(PGconn* client, const char* command) {
    return {PQexec(client, command), PQclear};
}

std::string welcome() {
    std::string out;
    append_authentication_ok(out);
    append_parameter_status(out, "server_version", "18.4");
    append_parameter_status(out, "client_encoding", "UTF8");
    append_backend_key_data(out, 4711, "key!");
    append_ready_for_query(out, TransactionStatus::kIdle);
    return out;
}

// Lets the client in, and answers each query in turn.
LibpqServer server_that_answers(std::vector<std::string> answers) {
    return LibpqServer{[answers = std::move(answers)](LibpqPeer& peer) {
        peer.first_packet();
        peer.send(welcome());
        for (const std::string& answer : answers) {
            EXPECT_EQ(peer.message().type, 'Q');
            peer.send(answer);
        }
        EXPECT_EQ(peer.message().type, 'X');
    }};
}

}  // namespace

TEST(BackendMessage, ClientIsLetInWithItsParameters) {
    StartupMessage startup;
    {
        const LibpqServer server{[&startup](LibpqPeer& peer) {
            startup = std::get<StartupMessage>(parse_first_packet(peer.first_packet()));
            peer.send(welcome());
            EXPECT_EQ(peer.message().type, 'X');
        }};
        const auto client = server.connect("sslmode=disable replication=database application_name=sub");
        ASSERT_EQ(PQstatus(client.get()), CONNECTION_OK) << PQerrorMessage(client.get());
        EXPECT_EQ(PQserverVersion(client.get()), 180004);
        EXPECT_EQ(PQbackendPID(client.get()), 4711);
        EXPECT_EQ(PQtransactionStatus(client.get()), PQTRANS_IDLE);
    }
    EXPECT_EQ(startup.major, 3);
    EXPECT_EQ(*startup.find("user"), "reader");
    EXPECT_EQ(*startup.find("database"), "shop");
    EXPECT_EQ(*startup.find("replication"), "database");
    EXPECT_EQ(*startup.find("application_name"), "sub");
}

TEST(BackendMessage, SslIsAskedForFirst) {
    const LibpqServer server{[](LibpqPeer& peer) {
        EXPECT_EQ(parse_first_packet(peer.first_packet()), FirstPacket{SslRequest{}});
        peer.send("N");
        EXPECT_TRUE(std::holds_alternative<StartupMessage>(parse_first_packet(peer.first_packet())));
        peer.send(welcome());
        EXPECT_EQ(peer.message().type, 'X');
    }};
    const auto client = server.connect("sslmode=prefer");
    EXPECT_EQ(PQstatus(client.get()), CONNECTION_OK) << PQerrorMessage(client.get());
}

TEST(BackendMessage, RowsAndNullsArrive) {
    std::string answer;
    append_row_description(
        answer,
        {{.name = "systemid"}, {.name = "timeline", .type = 20, .type_bytes = 8}, {.name = "dbname"}});
    append_data_row(answer, {"7234567890", "1", std::nullopt});
    append_data_row(answer, {"", "2", "shop"});
    append_command_complete(answer, "IDENTIFY_SYSTEM");
    append_ready_for_query(answer, TransactionStatus::kInTransaction);
    const LibpqServer server = server_that_answers({answer});
    const auto client = server.connect("sslmode=disable");
    const Result rows = run(client.get(), "IDENTIFY_SYSTEM");
    ASSERT_EQ(PQresultStatus(rows.get()), PGRES_TUPLES_OK) << PQerrorMessage(client.get());
    EXPECT_EQ(PQntuples(rows.get()), 2);
    EXPECT_STREQ(PQfname(rows.get(), 1), "timeline");
    EXPECT_EQ(PQftype(rows.get(), 1), 20U);
    EXPECT_EQ(PQfsize(rows.get(), 1), 8);
    EXPECT_EQ(PQfsize(rows.get(), 0), -1);
    EXPECT_STREQ(PQgetvalue(rows.get(), 0, 0), "7234567890");
    EXPECT_TRUE(PQgetisnull(rows.get(), 0, 2));
    EXPECT_FALSE(PQgetisnull(rows.get(), 1, 0));
    EXPECT_STREQ(PQgetvalue(rows.get(), 1, 2), "shop");
    EXPECT_STREQ(PQcmdStatus(rows.get()), "IDENTIFY_SYSTEM");
    EXPECT_EQ(PQtransactionStatus(client.get()), PQTRANS_INTRANS);
}

TEST(BackendMessage, ErrorHasItsFieldsAndTheSessionGoesOn) {
    std::string failed;
    append_error_response(failed, {.sqlstate = "42704",
                                   .message = "replication slot \"s\" does not exist",
                                   .detail = "a detail",
                                   .hint = "a hint"});
    append_ready_for_query(failed, TransactionStatus::kFailed);
    std::string empty;
    append_empty_query_response(empty);
    append_ready_for_query(empty, TransactionStatus::kIdle);
    const LibpqServer server = server_that_answers({failed, empty});
    const auto client = server.connect("sslmode=disable");
    const Result error = run(client.get(), "DROP_REPLICATION_SLOT s");
    ASSERT_EQ(PQresultStatus(error.get()), PGRES_FATAL_ERROR);
    EXPECT_STREQ(PQresultErrorField(error.get(), PG_DIAG_SEVERITY_NONLOCALIZED), "ERROR");
    EXPECT_STREQ(PQresultErrorField(error.get(), PG_DIAG_SQLSTATE), "42704");
    EXPECT_STREQ(PQresultErrorField(error.get(), PG_DIAG_MESSAGE_PRIMARY),
                 "replication slot \"s\" does not exist");
    EXPECT_STREQ(PQresultErrorField(error.get(), PG_DIAG_MESSAGE_DETAIL), "a detail");
    EXPECT_STREQ(PQresultErrorField(error.get(), PG_DIAG_MESSAGE_HINT), "a hint");
    EXPECT_EQ(PQtransactionStatus(client.get()), PQTRANS_INERROR);
    EXPECT_EQ(PQresultStatus(run(client.get(), "").get()), PGRES_EMPTY_QUERY);
}

TEST(BackendMessage, RefusalAtStartupIsUnderstood) {
    const LibpqServer server{[](LibpqPeer& peer) {
        peer.first_packet();
        std::string out;
        append_error_response(out, {.severity = "FATAL", .sqlstate = "28000", .message = "not for you"});
        peer.send(out);
    }};
    const auto client = server.connect("sslmode=disable");
    EXPECT_EQ(PQstatus(client.get()), CONNECTION_BAD);
    EXPECT_THAT(PQerrorMessage(client.get()), HasSubstr("FATAL:  not for you"));
}

TEST(BackendMessage, NoticeReachesTheClient) {
    std::string answer;
    append_notice_response(answer, {.severity = "WARNING", .sqlstate = "01000", .message = "look out"});
    append_command_complete(answer, "SELECT 0");
    append_ready_for_query(answer, TransactionStatus::kIdle);
    const LibpqServer server = server_that_answers({answer});
    const auto client = server.connect("sslmode=disable");
    std::string notice;
    PQsetNoticeProcessor(
        client.get(), [](void* to, const char* text) { *static_cast<std::string*>(to) = text; }, &notice);
    run(client.get(), "SELECT");
    EXPECT_EQ(notice, "WARNING:  look out\n");
}

TEST(BackendMessage, StreamRunsBothWaysAndEndsAsAWalsenderEndsIt) {
    const LibpqServer server{[](LibpqPeer& peer) {
        peer.first_packet();
        peer.send(welcome());
        EXPECT_EQ(parse_query(peer.message().body), "START_REPLICATION");
        std::string out;
        append_copy_both_response(out);
        append_copy_data_header(out, 6);
        out += "w data";
        peer.send(out);
        const LibpqPeer::Message feedback = peer.message();
        EXPECT_EQ(feedback.type, 'd');
        EXPECT_EQ(feedback.body, "r status");
        EXPECT_EQ(peer.message().type, 'c');
        out.clear();
        append_copy_done(out);
        append_command_complete(out, "COPY 0");
        append_command_complete(out, "START_REPLICATION");
        append_ready_for_query(out, TransactionStatus::kIdle);
        peer.send(out);
        EXPECT_EQ(peer.message().type, 'X');
    }};
    const auto client = server.connect("sslmode=disable replication=database");
    ASSERT_EQ(PQresultStatus(run(client.get(), "START_REPLICATION").get()), PGRES_COPY_BOTH);
    char* data = nullptr;
    ASSERT_EQ(PQgetCopyData(client.get(), &data, 0), 6);
    EXPECT_STREQ(data, "w data");
    PQfreemem(data);
    EXPECT_EQ(PQputCopyData(client.get(), "r status", 8), 1);
    EXPECT_EQ(PQputCopyEnd(client.get(), nullptr), 1);
    EXPECT_EQ(PQgetCopyData(client.get(), &data, 0), -1);
    EXPECT_STREQ(PQcmdStatus(Result{PQgetResult(client.get()), PQclear}.get()), "COPY 0");
    EXPECT_STREQ(PQcmdStatus(Result{PQgetResult(client.get()), PQclear}.get()), "START_REPLICATION");
    EXPECT_EQ(PQgetResult(client.get()), nullptr);
}

// libpq 15 asks for nothing that would have to be negotiated.
TEST(BackendMessage, OlderVersionAndUnknownParametersAreNegotiated) {
    std::string out;
    append_negotiate_protocol_version(out, 3, 0, {"_pq_.a", "_pq_.b"});
    EXPECT_EQ(out, std::string("v\0\0\0\x1a\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.b\0", 27));
}

}  // namespace pgcascade::protocol
