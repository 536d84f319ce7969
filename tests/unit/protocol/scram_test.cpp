#include "protocol/scram.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postgres/scram_secret.hpp"
#include "protocol/backend_message.hpp"
#include "unit/protocol/libpq_conversation.hpp"

namespace pgcascade::protocol {

namespace {

using postgres::make_scram_secret;
using testing::ElementsAre;
using testing::HasSubstr;

// RFC 7677, section 3: user "user", password "pencil".
const std::string kSecretOfPencil =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

ScramExchange exchange(const std::string& channel_binding = "") {
    return {*parse_scram_secret(kSecretOfPencil), channel_binding};
}

// libpq logs in with this password where the server has that secret; returns what libpq says, "" where it got
// in.
std::string log_in(const std::string& password, const ScramSecret& secret) {
    const LibpqServer server{[&](LibpqPeer& peer) {
        peer.first_packet();
        ScramExchange scram{secret, ""};
        std::string out;
        append_authentication_sasl(out, scram.mechanisms());
        peer.send(out);
        const LibpqPeer::Message first = peer.message();
        const SaslInitialResponse initial = parse_sasl_initial_response(first.body);
        out.clear();
        append_authentication_sasl_continue(out, scram.begin(initial.mechanism, *initial.response));
        peer.send(out);
        out.clear();
        if (const auto last = scram.finish(peer.message().body)) {
            append_authentication_sasl_final(out, *last);
            append_authentication_ok(out);
            append_ready_for_query(out, TransactionStatus::kIdle);
        } else {
            append_error_response(
                out, {.severity = "FATAL", .sqlstate = "28P01", .message = "password authentication failed"});
        }
        peer.send(out);
        if (out.front() == 'R') {
            EXPECT_EQ(peer.message().type, 'X');
        }
    }};
    const auto client = server.connect("sslmode=disable password='" + password + "'");
    return PQstatus(client.get()) == CONNECTION_OK ? "" : PQerrorMessage(client.get());
}

}  // namespace

TEST(Scram, SecretIsReadAsPostgresqlWritesIt) {
    const auto secret = parse_scram_secret(make_scram_secret("correct horse"));
    ASSERT_TRUE(secret);
    EXPECT_EQ(secret->iterations, 4096);
    EXPECT_EQ(secret->salt.size(), 16U);
    EXPECT_EQ(secret->stored_key.size(), 32U);
    EXPECT_TRUE(parse_scram_secret(kSecretOfPencil));
}

TEST(Scram, WhatIsNoSecretIsNone) {
    EXPECT_FALSE(parse_scram_secret("md55a231fcdb710d73268c4f44283487ba2"));
    EXPECT_FALSE(parse_scram_secret("pencil"));
    for (std::size_t size = 0; size < kSecretOfPencil.size(); ++size)
        EXPECT_FALSE(parse_scram_secret(kSecretOfPencil.substr(0, size))) << size;
    EXPECT_FALSE(parse_scram_secret(kSecretOfPencil + "A"));
    EXPECT_FALSE(parse_scram_secret("SCRAM-SHA-256$0" + kSecretOfPencil.substr(18)));
}

TEST(Scram, LibpqGetsInWithTheRightPassword) {
    EXPECT_EQ(log_in("pencil", *parse_scram_secret(kSecretOfPencil)), "");
    EXPECT_EQ(log_in("pässword ﬁ", *parse_scram_secret(make_scram_secret("pässword ﬁ"))), "");
}

TEST(Scram, SecretIsMadeForThePasswordAsLibpqPreparesIt) {
    EXPECT_EQ(log_in("pässword fi", *parse_scram_secret(make_scram_secret("pässword ﬁ"))), "");
    EXPECT_EQ(log_in("not \xff UTF-8", *parse_scram_secret(make_scram_secret("not \xff UTF-8"))), "");
    EXPECT_NE(make_scram_secret("pencil"), make_scram_secret("pencil"));
}

TEST(Scram, LibpqIsRefusedWithAnotherOne) {
    EXPECT_THAT(log_in("pencils", *parse_scram_secret(kSecretOfPencil)), HasSubstr("authentication failed"));
    EXPECT_THAT(log_in("pencil", mock_scram_secret("user", "key")), HasSubstr("authentication failed"));
}

// A man in the middle that only knows how to say yes.
TEST(Scram, LibpqRefusesAServerWithoutTheServerKey) {
    ScramSecret secret = *parse_scram_secret(kSecretOfPencil);
    secret.server_key[0] = static_cast<char>(secret.server_key[0] ^ 1);
    EXPECT_THAT(log_in("pencil", secret), HasSubstr("incorrect server signature"));
}

TEST(Scram, MockSecretOfANameStaysTheSame) {
    EXPECT_EQ(mock_scram_secret("a", "key").salt, mock_scram_secret("a", "key").salt);
    EXPECT_NE(mock_scram_secret("a", "key").salt, mock_scram_secret("b", "key").salt);
    EXPECT_NE(mock_scram_secret("a", "key").salt, mock_scram_secret("a", "other").salt);
}

TEST(Scram, ChannelBindingIsOfferedOnlyOverTls) {
    EXPECT_THAT(exchange().mechanisms(), ElementsAre("SCRAM-SHA-256"));
    EXPECT_THAT(exchange("hash").mechanisms(), ElementsAre("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"));
    EXPECT_THAT(exchange("hash").begin("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=nonce"),
                HasSubstr("r=nonce"));
}

TEST(Scram, ListThatLostTheBetterMechanismIsNoticed) {
    EXPECT_THROW(exchange("hash").begin("SCRAM-SHA-256", "y,,n=,r=nonce"), ProtocolError);
    EXPECT_NO_THROW(exchange("hash").begin("SCRAM-SHA-256", "n,,n=,r=nonce"));
    EXPECT_NO_THROW(exchange().begin("SCRAM-SHA-256", "y,,n=,r=nonce"));
}

TEST(Scram, FirstMessageThatBreaksTheGrammarIsRefused) {
    for (const char* message :
         {"", "n", "n,", "n,,", "n,,n=", "n,,n=,", "n,,n=,r=", "n,,r=nonce", "n,a=me,n=,r=x",
          "n,,m=ext,n=,r=x", "x,,n=,r=x", "p=tls-server-end-point,,n=,r=x", "n,,n=,r=a\tb"})
        EXPECT_THROW(exchange().begin("SCRAM-SHA-256", message), ProtocolError) << message;
    EXPECT_THROW(exchange().begin("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=x"), ProtocolError);
    EXPECT_THROW(exchange().begin("PLAIN", "n,,n=,r=x"), ProtocolError);
    EXPECT_THROW(exchange("hash").begin("SCRAM-SHA-256-PLUS", "n,,n=,r=x"), ProtocolError);
    EXPECT_THROW(exchange("hash").begin("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=x"), ProtocolError);
}

TEST(Scram, LastMessageThatBreaksTheGrammarIsRefused) {
    const std::string proof = ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const auto finish = [&](auto make_message) {
        ScramExchange scram = exchange();
        const std::string server_first = scram.begin("SCRAM-SHA-256", "n,,n=,r=nonce");
        return scram.finish(make_message(server_first.substr(2, server_first.find(',') - 2)));
    };
    using Nonce = const std::string&;
    EXPECT_EQ(finish([&](Nonce nonce) { return "c=biws,r=" + nonce + proof; }), std::nullopt);
    EXPECT_THROW(finish([&](Nonce nonce) { return "c=biws,r=" + nonce; }), ProtocolError);
    EXPECT_THROW(finish([&](Nonce nonce) { return "c=biws,r=" + nonce + ",p=AAAA"; }), ProtocolError);
    EXPECT_THROW(finish([&](Nonce nonce) { return "c=biws,r=" + nonce + "x" + proof; }), ProtocolError);
    EXPECT_THROW(finish([&](Nonce nonce) { return "c=eSws,r=" + nonce + proof; }), ProtocolError);
    EXPECT_THROW(finish([&](Nonce) { return "c=biws,r=nonce" + proof; }), ProtocolError);
    EXPECT_THROW(finish([&](Nonce) { return ""; }), ProtocolError);
    ScramExchange never_begun = exchange();
    EXPECT_THROW(never_begun.finish("c=biws,r=" + proof), ProtocolError);
}

}  // namespace pgcascade::protocol
