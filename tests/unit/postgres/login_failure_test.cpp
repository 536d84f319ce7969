#include "postgres/login_failure.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgcascade::postgres {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kAttempt = "connection to server at \"127.0.0.1\", port 5432 failed: ";

std::string sqlstate_of(const std::string& verbose) {
    const auto refusal = find_refusal(read_login_failure(kAttempt + verbose));
    return refusal ? refusal->sqlstate : "";
}

std::string hint_of(const std::string& verbose) {
    const auto refusal = find_refusal(read_login_failure(kAttempt + verbose));
    return refusal ? refusal->hint : "";
}

}  // namespace

TEST(LoginFailure, SqlstateIsReadInAnyLanguageOfTheServer) {
    EXPECT_EQ(sqlstate_of("FATAL:  28P01: password authentication failed for user \"u\""), "28P01");
    EXPECT_EQ(sqlstate_of("FATAL:  28P01: Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen"),
              "28P01");
    EXPECT_EQ(sqlstate_of("致命的エラー:  3D000: データベース\"x\"は存在しません"), "3D000");
    EXPECT_EQ(sqlstate_of("ВАЖНО:  28000: нет записи в pg_hba.conf"), "28000");
}

TEST(LoginFailure, TextIsAsWithoutVerbosity) {
    const LoginFailure failure =
        read_login_failure(kAttempt +
                           "FATAL:  57P03: the database system is not yet accepting connections\n"
                           "DETAIL:  Consistent recovery state has not been yet reached.\n"
                           "LOCATION:  ProcessStartupPacket, postmaster.c:2358\n");
    EXPECT_EQ(failure.text, kAttempt +
                                "FATAL:  the database system is not yet accepting connections\n"
                                "DETAIL:  Consistent recovery state has not been yet reached.");
    EXPECT_THAT(failure.sqlstates, ElementsAre("57P03"));
}

TEST(LoginFailure, DetailThatLooksLikeASqlstateIsNone) {
    const LoginFailure failure = read_login_failure(kAttempt +
                                                    "FATAL:  57P03: not now\n"
                                                    "DETAIL:  28P01: is no answer\n");
    EXPECT_THAT(failure.sqlstates, ElementsAre("57P03"));
    EXPECT_THAT(failure.text, HasSubstr("DETAIL:  28P01: is no answer"));
}

TEST(LoginFailure, WhatIsNotFromAServerHasNoSqlstate) {
    const LoginFailure failure = read_login_failure(kAttempt +
                                                    "Connection refused\n"
                                                    "\tIs the server running on that host?\n");
    EXPECT_THAT(failure.sqlstates, IsEmpty());
    EXPECT_FALSE(find_refusal(failure));
    EXPECT_FALSE(find_refusal(read_login_failure("")));
}

TEST(LoginFailure, ServerThatWillAnswerLaterIsNoRefusal) {
    for (const char* sqlstate : {"57P01", "57P02", "57P03", "08006", "53200", "XX000", "58030", "40001"})
        EXPECT_EQ(sqlstate_of(std::string{"FATAL:  "} + sqlstate + ": not now"), "");
}

TEST(LoginFailure, ServerThatIsNotReadyIsKnownInAnyLanguage) {
    EXPECT_TRUE(is_not_ready(read_login_failure(kAttempt + "FATAL:  57P03: das Datenbanksystem startet")));
    EXPECT_FALSE(is_not_ready(read_login_failure(kAttempt + "FATAL:  57P01: not now")));
    EXPECT_FALSE(is_not_ready(read_login_failure(kAttempt + "Connection refused")));
}

TEST(LoginFailure, WrongPasswordWithTlsOutweighsMissingLineWithout) {
    const std::string with_tls = "FATAL:  28P01: password authentication failed for user \"u\"\n";
    const std::string without =
        kAttempt + "FATAL:  28000: no pg_hba.conf entry for host \"127.0.0.1\", no encryption\n";
    EXPECT_EQ(sqlstate_of(with_tls + without), "28P01");
    EXPECT_THAT(hint_of(with_tls + without), HasSubstr("check the password"));
}

TEST(LoginFailure, EveryRefusalHasAHint) {
    EXPECT_THAT(hint_of("FATAL:  28000: no pg_hba.conf entry for host \"h\""), HasSubstr("add a line"));
    EXPECT_THAT(hint_of("FATAL:  28000: Peer authentication failed for user \"u\""),
                HasSubstr("operating system account"));
    EXPECT_THAT(hint_of("FATAL:  28000: Rolle »u« existiert nicht"), HasSubstr("pg_hba.conf"));
    EXPECT_THAT(hint_of("FATAL:  42501: permission denied to start WAL sender"), HasSubstr("REPLICATION"));
    EXPECT_THAT(hint_of("FATAL:  42501: permission denied for database \"d\""), HasSubstr("GRANT CONNECT"));
    EXPECT_THAT(hint_of("FATAL:  53300: sorry, too many clients already"), HasSubstr("max_connections"));
    EXPECT_THAT(hint_of("FATAL:  3D000: database \"d\" does not exist"), HasSubstr("name of the database"));
    EXPECT_THAT(hint_of("FATAL:  55000: database \"d\" is not currently accepting connections"),
                HasSubstr("ALLOW_CONNECTIONS"));
    EXPECT_THAT(hint_of("FATAL:  42704: unrecognized configuration parameter \"nonsense\""),
                HasSubstr("options"));
}

}  // namespace pgcascade::postgres
