#include "protocol/replication_command.hpp"

#include <array>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

namespace pgcascade::protocol {

using Options = std::vector<CommandOption>;
using testing::HasSubstr;

template <class Command>
static Command parse_as(std::string_view text) {
    const ReplicationCommand command = parse_command(text);
    EXPECT_TRUE(std::holds_alternative<Command>(command)) << text << " became " << to_string(command);
    const auto* wanted = std::get_if<Command>(&command);
    return wanted == nullptr ? Command{} : *wanted;
}

// "message / hint"
static std::string error_of(std::string_view text) {
    try {
        return "no error: " + to_string(parse_command(text));
    } catch (const ProtocolError& problem) {
        return std::string(problem.what()) + " / " + problem.hint();
    }
}

TEST(ReplicationCommand, WhatRealClientsSendIsUnderstood) {
    EXPECT_EQ(parse_command("IDENTIFY_SYSTEM"), ReplicationCommand(IdentifySystem{}));
    EXPECT_EQ(parse_as<Show>("SHOW data_directory_mode").setting, "data_directory_mode");
    EXPECT_EQ(parse_as<TimelineHistory>("TIMELINE_HISTORY 7").timeline, TimelineId{7});
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT s").slot, "s");
    EXPECT_EQ(parse_as<DropReplicationSlot>("DROP_REPLICATION_SLOT s WAIT"),
              (DropReplicationSlot{.slot = "s", .wait = true}));
    EXPECT_EQ(parse_as<AlterReplicationSlot>("ALTER_REPLICATION_SLOT s ( FAILOVER true, TWO_PHASE false );"),
              (AlterReplicationSlot{.slot = "s", .options = {{"failover", "true"}, {"two_phase", "false"}}}));
    EXPECT_EQ(parse_command("UPLOAD_MANIFEST"), ReplicationCommand(UploadManifest{}));
}

TEST(ReplicationCommand, SubscriptionsStartTheirStreams) {
    const auto start = parse_as<StartLogicalReplication>(
        "START_REPLICATION SLOT \"s\" LOGICAL 0/0 (proto_version '4', streaming 'parallel', two_phase 'on', "
        "origin 'any', publication_names '\"p1\",\"it''s\"', binary 'true')");
    EXPECT_EQ(start.slot, "s");
    EXPECT_EQ(start.start, Lsn{});
    EXPECT_EQ(start.options, (Options{{"proto_version", "4"},
                                      {"streaming", "parallel"},
                                      {"two_phase", "on"},
                                      {"origin", "any"},
                                      {"publication_names", "\"p1\",\"it's\""},
                                      {"binary", "true"}}));
    EXPECT_EQ(parse_as<StartLogicalReplication>(
                  "START_REPLICATION SLOT \"s\" LOGICAL 16/B374D848 (\"include-xids\" '1', \"flag\")")
                  .options,
              (Options{{"include-xids", "1"}, {"flag", std::nullopt}}));
    EXPECT_EQ(parse_as<StartLogicalReplication>("START_REPLICATION SLOT s LOGICAL 16/B374D848").start,
              Lsn{0x16B374D848});
}

TEST(ReplicationCommand, StandbysAndReceivewalStartTheirStreams) {
    EXPECT_EQ(parse_as<StartPhysicalReplication>("START_REPLICATION 0/3000000 TIMELINE 1"),
              (StartPhysicalReplication{.slot = {}, .start = {0x3000000}, .timeline = TimelineId{1}}));
    EXPECT_EQ(parse_as<StartPhysicalReplication>("START_REPLICATION SLOT \"s\" 0/3000000 TIMELINE 12"),
              (StartPhysicalReplication{.slot = "s", .start = {0x3000000}, .timeline = TimelineId{12}}));
    EXPECT_EQ(parse_as<StartPhysicalReplication>("START_REPLICATION PHYSICAL ab/CD"),
              (StartPhysicalReplication{.slot = {}, .start = {0xAB000000CD}, .timeline = {}}));
    EXPECT_EQ(parse_as<StartPhysicalReplication>("START_REPLICATION 0/0TIMELINE 77").timeline,
              TimelineId{77});
}

TEST(ReplicationCommand, SlotOptionsAreTheSameOldAndNew) {
    EXPECT_EQ(
        parse_as<CreateReplicationSlot>(
            "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput (TWO_PHASE, FAILOVER, SNAPSHOT 'nothing')"),
        (CreateReplicationSlot{
            .slot = "s",
            .plugin = "pgoutput",
            .options = {{"two_phase", std::nullopt}, {"failover", std::nullopt}, {"snapshot", "nothing"}}}));
    EXPECT_EQ(parse_as<CreateReplicationSlot>(
                  "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL \"pgoutput\" NOEXPORT_SNAPSHOT TWO_PHASE"),
              (CreateReplicationSlot{.slot = "s",
                                     .temporary = true,
                                     .plugin = "pgoutput",
                                     .options = {{"snapshot", "nothing"}, {"two_phase", std::nullopt}}}));
    EXPECT_EQ(parse_as<CreateReplicationSlot>("CREATE_REPLICATION_SLOT s LOGICAL p EXPORT_SNAPSHOT").options,
              (Options{{"snapshot", "export"}}));
    EXPECT_EQ(parse_as<CreateReplicationSlot>("CREATE_REPLICATION_SLOT s LOGICAL p USE_SNAPSHOT").options,
              (Options{{"snapshot", "use"}}));
    const CreateReplicationSlot physical{
        .slot = "s", .temporary = true, .plugin = {}, .options = {{"reserve_wal", std::nullopt}}};
    EXPECT_EQ(parse_as<CreateReplicationSlot>("CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL RESERVE_WAL"),
              physical);
    EXPECT_EQ(parse_as<CreateReplicationSlot>("CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL (RESERVE_WAL)"),
              physical);
}

TEST(ReplicationCommand, BackupOptionsAreTheSameOldAndNew) {
    EXPECT_EQ(parse_as<BaseBackup>("BASE_BACKUP"), BaseBackup{});
    EXPECT_EQ(parse_as<BaseBackup>(
                  "BASE_BACKUP ( LABEL 'a ''b''', PROGRESS, CHECKPOINT fast, WAIT 0, MAX_RATE 1024, "
                  "MANIFEST 'yes', TARGET 'client')")
                  .options,
              (Options{{"label", "a 'b'"},
                       {"progress", std::nullopt},
                       {"checkpoint", "fast"},
                       {"wait", "0"},
                       {"max_rate", "1024"},
                       {"manifest", "yes"},
                       {"target", "client"}}));
    EXPECT_EQ(
        parse_as<BaseBackup>("BASE_BACKUP LABEL 'x' PROGRESS FAST WAL NOWAIT MAX_RATE 1024 TABLESPACE_MAP "
                             "NOVERIFY_CHECKSUMS MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256'")
            .options,
        (Options{{"label", "x"},
                 {"progress", std::nullopt},
                 {"checkpoint", "fast"},
                 {"wal", std::nullopt},
                 {"wait", "0"},
                 {"max_rate", "1024"},
                 {"tablespace_map", std::nullopt},
                 {"verify_checksums", "0"},
                 {"manifest", "yes"},
                 {"manifest_checksums", "SHA256"}}));
}

TEST(ReplicationCommand, SpaceAndOneSemicolonDoNotMatter) {
    for (const char* text :
         {" \n\tIDENTIFY_SYSTEM", "IDENTIFY_SYSTEM;", "IDENTIFY_SYSTEM \r\n ; ", "\v\fIDENTIFY_SYSTEM"})
        EXPECT_EQ(parse_command(text), ReplicationCommand(IdentifySystem{})) << text;
    EXPECT_EQ(parse_as<Show>("SHOW a . b").setting, "a.b");
    EXPECT_EQ(parse_as<StartLogicalReplication>("START_REPLICATION SLOT s LOGICAL 0/0(a'b',c)").options,
              (Options{{"a", "b"}, {"c", std::nullopt}}));
}

TEST(ReplicationCommand, BareNamesAreFoldedAndQuotedOnesKept) {
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT MySlot").slot, "myslot");
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT \"MySlot\"").slot, "MySlot");
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT \"a\"\"b\"").slot, "a\"b");
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT \"\"").slot, "");
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT É1$").slot, "É1$");
    EXPECT_EQ(parse_as<CreateReplicationSlot>("CREATE_REPLICATION_SLOT s PHYSICAL (\"RESERVE_WAL\")").options,
              (Options{{"RESERVE_WAL", std::nullopt}}));
}

TEST(ReplicationCommand, LongNamesAreCutAtAWholeCharacter) {
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT " + std::string(70, 'a')).slot,
              std::string(63, 'a'));
    EXPECT_EQ(parse_as<ReadReplicationSlot>("READ_REPLICATION_SLOT \"" + std::string(62, 'a') + "é\"").slot,
              std::string(62, 'a'));
}

TEST(ReplicationCommand, KeywordsAreTakenInAnyCaseWhereNoNameCanStand) {
    EXPECT_EQ(parse_command("identify_System;"), ReplicationCommand(IdentifySystem{}));
    EXPECT_EQ(parse_as<StartLogicalReplication>("start_replication slot s logical 0/0 (two_phase 'on')"),
              (StartLogicalReplication{.slot = "s", .start = {}, .options = {{"two_phase", "on"}}}));
    EXPECT_TRUE(parse_as<DropReplicationSlot>("DROP_REPLICATION_SLOT wait wait").wait);
    EXPECT_EQ(parse_as<Show>("show slot").setting, "slot");
}

TEST(ReplicationCommand, KeywordsInUpperCaseAreNoNames) {
    EXPECT_THAT(error_of("SHOW SLOT"), HasSubstr("at or near SLOT: expected is a setting's name"));
    EXPECT_THAT(error_of("READ_REPLICATION_SLOT SLOT"), HasSubstr("syntax error"));
    EXPECT_THAT(error_of("START_REPLICATION SLOT r LOGICAL 0/0 (TWO_PHASE 'on')"), HasSubstr("syntax error"));
    EXPECT_THAT(error_of("CREATE_REPLICATION_SLOT s PHYSICAL (RESERVE_WAL WAIT)"), HasSubstr("syntax error"));
    EXPECT_EQ(parse_as<AlterReplicationSlot>("ALTER_REPLICATION_SLOT s (SLOT 'x')").options,
              (Options{{"slot", "x"}}));
}

TEST(ReplicationCommand, EverythingElseIsSqlAndKeptAsItIs) {
    for (const char* text : {"",
                             " ",
                             ";",
                             "SELECT 1",
                             "select pg_catalog.set_config('search_path', '', false);",
                             "BEGIN; COMMIT",
                             "-- comment\nIDENTIFY_SYSTEM",
                             "/* c */ IDENTIFY_SYSTEM",
                             "'abc",
                             "\"abc",
                             "$$ ' $$",
                             "0/0",
                             "\"IDENTIFY_SYSTEM\"",
                             "SHOWING 1",
                             "SHOW1",
                             "SHOW$ x",
                             "IDENTIFY_SYSTEMé",
                             "show time zone",
                             "show a, b",
                             "COPY (SELECT 'it''s') TO STDOUT",
                             "start_replication without a place"})
        EXPECT_EQ(parse_as<Sql>(text).text, text);
}

TEST(ReplicationCommand, WhatIsNoCommandFailsAsOnTheServer) {
    for (const char* text : {"IDENTIFY_SYSTEM;;",
                             "IDENTIFY_SYSTEM x",
                             "IDENTIFY_SYSTEM # ",
                             "SHOW",
                             "SHOW TIME ZONE",
                             "SHOW 12ab",
                             "SHOW a.",
                             "READ_REPLICATION_SLOT 'x'",
                             "TIMELINE_HISTORY x",
                             "START_REPLICATION SLOT r1",
                             "START_REPLICATION 0/0 x",
                             "START_REPLICATION SLOT r1 LOGICAL 0/0 ()",
                             "START_REPLICATION SLOT r1 LOGICAL 0/0 (a b)",
                             "START_REPLICATION SLOT r1 LOGICAL 0/0 (a 1)",
                             "START_REPLICATION SLOT r1 LOGICAL 0/0 (a '1',)",
                             "START_REPLICATION SLOT r1 LOGICAL 0/0 (a '1'",
                             "START_REPLICATION LOGICAL 0/0",
                             "START_REPLICATION 0 /0",
                             "START_REPLICATION g/0",
                             "START_REPLICATION 0/0 TIMELINE 7 7",
                             "CREATE_REPLICATION_SLOT s1",
                             "CREATE_REPLICATION_SLOT s1 PHYSICAL ()",
                             "CREATE_REPLICATION_SLOT s LOGICAL",
                             "CREATE_REPLICATION_SLOT s LOGICAL \"\"",
                             "CREATE_REPLICATION_SLOT s2 PHYSICAL ('reserve_wal' 0)",
                             "CREATE_REPLICATION_SLOT s PHYSICAL FAILOVER",
                             "DROP_REPLICATION_SLOT",
                             "ALTER_REPLICATION_SLOT s1",
                             "ALTER_REPLICATION_SLOT s1 FAILOVER",
                             "UPLOAD_MANIFEST x",
                             "BASE_BACKUP LABEL",
                             "BASE_BACKUP LABEL x",
                             "BASE_BACKUP MAX_RATE 'x'",
                             "BASE_BACKUP (LABEL 1 2)",
                             "BASE_BACKUP LABEL 'x' PROGRESSX"})
        EXPECT_THAT(error_of(text), testing::StartsWith("syntax error / ")) << text;
    EXPECT_THAT(error_of("READ_REPLICATION_SLOT \""), testing::StartsWith("unterminated quoted string / "));
    EXPECT_THAT(error_of("IDENTIFY_SYSTEM 'x"), testing::StartsWith("unterminated quoted string / "));
    EXPECT_THAT(error_of("TIMELINE_HISTORY 0"), testing::StartsWith("invalid timeline 0 / "));
    EXPECT_THAT(error_of("START_REPLICATION 0/0 TIMELINE 0"), testing::StartsWith("invalid timeline 0 / "));
}

// The server lets these wrap around, and would serve timeline 1 to who asks for 4294967297.
TEST(ReplicationCommand, NumbersThatDoNotFitAreRefused) {
    EXPECT_EQ(parse_as<TimelineHistory>("TIMELINE_HISTORY 4294967295").timeline, TimelineId{4294967295});
    EXPECT_THAT(error_of("TIMELINE_HISTORY 4294967297"), HasSubstr("greater than 4294967295"));
    EXPECT_THAT(error_of("START_REPLICATION 123456789A/0"), HasSubstr("invalid streaming start location"));
}

TEST(ReplicationCommand, ErrorsSayWhereAndWhatWasExpected) {
    EXPECT_EQ(
        error_of("START_REPLICATION SLOT r1"),
        "syntax error / at the end of the command: expected is LOGICAL, PHYSICAL or a position such as 0/0");
    EXPECT_EQ(error_of("CREATE_REPLICATION_SLOT s1 PHYSICAL (A 1 2)"),
              "syntax error / at or near 2: expected is )");
}

TEST(ReplicationCommand, NumbersAndBooleansAreWrittenAsTheServerWantsThem) {
    const BaseBackup backup{
        .options = {
            {"wait", "0"}, {"max_rate", "1024"}, {"label", "007"}, {"target", "client"}, {"progress", {}}}};
    EXPECT_EQ(
        to_string(backup),
        "BASE_BACKUP (\"wait\" 0, \"max_rate\" 1024, \"label\" '007', \"target\" 'client', \"progress\")");
    const StartLogicalReplication start{.slot = "s", .start = {}, .options = {{"proto_version", "1"}}};
    EXPECT_EQ(to_string(start), "START_REPLICATION SLOT \"s\" LOGICAL 0/0 (\"proto_version\" '1')");
}

TEST(ReplicationCommand, QuotesAreDoubled) {
    EXPECT_EQ(quote_identifier("a\"b"), "\"a\"\"b\"");
    EXPECT_EQ(quote_literal("it's"), "'it''s'");
    EXPECT_EQ(quote_literal("back\\slash"), "'back\\slash'");
}

// Makes commands of every kind with names and values that are hard to quote.
class CommandGenerator {
  public:
    explicit CommandGenerator(unsigned seed) : random_(seed) {}

    ReplicationCommand command() {
        switch (below(12)) {
            case 0:
                return IdentifySystem{};
            case 1:
                return Show{.setting = text()};
            case 2:
                return TimelineHistory{.timeline = {1 + below(4'000'000'000)}};
            case 3:
                return ReadReplicationSlot{.slot = text()};
            case 4:
                return CreateReplicationSlot{.slot = text(),
                                             .temporary = flip(),
                                             .plugin = flip() ? "x" + text() : "",
                                             .options = options(0)};
            case 5:
                return DropReplicationSlot{.slot = text(), .wait = flip()};
            case 6:
                return AlterReplicationSlot{.slot = text(), .options = options(1)};
            case 7:
                return StartPhysicalReplication{
                    .slot = flip() ? std::optional(text()) : std::nullopt,
                    .start = lsn(),
                    .timeline = flip() ? std::optional(TimelineId{1 + below(9)}) : std::nullopt};
            case 8:
                return StartLogicalReplication{.slot = text(), .start = lsn(), .options = options(0)};
            case 9:
                return BaseBackup{.options = options(0)};
            case 10:
                return UploadManifest{};
            default:
                return Sql{.text = "SELECT " + text()};
        }
    }

  private:
    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }
    bool flip() { return below(2) == 0; }
    Lsn lsn() { return {(std::uint64_t{below(0xFFFFFFFF)} << 32) | below(0xFFFFFFFF)}; }

    std::string text() {
        static constexpr std::array<std::string_view, 20> kPieces = {
            "a", "B", "slot", "SLOT", "'", "\"",  " ",   ";", "(",  ")",
            ",", "é", "$",    "\n",   "1", "007", "0/0", ".", "\\", "日"};
        std::string made;
        for (std::uint32_t pieces = below(8); pieces > 0; --pieces) made += kPieces[below(kPieces.size())];
        return made;
    }

    std::vector<CommandOption> options(std::size_t least) {
        std::vector<CommandOption> made;
        while (made.size() < least || below(3) != 0) {
            CommandOption option{.name = text(), .value = {}};
            if (flip()) option.value = flip() ? text() : std::to_string(below(0xFFFFFFFF));
            made.push_back(std::move(option));
        }
        return made;
    }

    std::mt19937 random_;
};

TEST(ReplicationCommand, WhatIsWrittenIsReadBack) {
    for (unsigned seed = 0; seed < 20'000; ++seed) {
        const ReplicationCommand command = CommandGenerator(seed).command();
        ASSERT_EQ(parse_command(to_string(command)), command) << "seed " << seed;
    }
}

}  // namespace pgcascade::protocol
