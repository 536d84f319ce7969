#include "protocol/frontend_message.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"

namespace pgcascade::protocol {

namespace {

using testing::ElementsAre;
using testing::Pair;

constexpr std::uint32_t kVersion3 = 3U << 16U;

std::string packet(std::uint32_t code, const std::string& body) {
    return ByteWriter{}.u32(static_cast<std::uint32_t>(8 + body.size())).u32(code).bytes(body).take();
}

std::string message(char type, const std::string& body) {
    return type + ByteWriter{}.u32(static_cast<std::uint32_t>(4 + body.size())).bytes(body).take();
}

const std::string kParameters{"user\0reader\0replication\0database\0\0", 34};

}  // namespace

TEST(FirstPacket, KindsAreToldApart) {
    EXPECT_EQ(parse_first_packet(packet(80877103, "")), FirstPacket{SslRequest{}});
    EXPECT_EQ(parse_first_packet(packet(80877104, "")), FirstPacket{GssEncRequest{}});
    const std::string cancel = ByteWriter{}.u32(4711).bytes("key!").take();
    EXPECT_EQ(parse_first_packet(packet(80877102, cancel)), FirstPacket(CancelRequest{4711, "key!"}));
}

TEST(FirstPacket, StartupHasItsParametersInOrder) {
    const auto startup = std::get<StartupMessage>(parse_first_packet(packet(kVersion3 | 2U, kParameters)));
    EXPECT_EQ(startup.major, 3);
    EXPECT_EQ(startup.minor, 2);
    EXPECT_THAT(startup.parameters, ElementsAre(Pair("user", "reader"), Pair("replication", "database")));
    EXPECT_EQ(*startup.find("user"), "reader");
    EXPECT_EQ(startup.find("database"), nullptr);
}

TEST(FirstPacket, LastOfTwoParametersCounts) {
    const std::string twice{"user\0a\0user\0b\0\0", 15};
    EXPECT_EQ(*std::get<StartupMessage>(parse_first_packet(packet(kVersion3, twice))).find("user"), "b");
}

TEST(FirstPacket, LengthIsKnownFromItsFirstBytes) {
    const std::string whole = packet(kVersion3, kParameters);
    for (std::size_t size = 0; size < 4; ++size)
        EXPECT_EQ(first_packet_length(whole.substr(0, size)), std::nullopt);
    EXPECT_EQ(first_packet_length(whole.substr(0, 4)), whole.size());
}

TEST(FirstPacket, LengthThatNoneHasIsRefusedAtOnce) {
    for (const std::uint32_t length : {0U, 7U, 10'001U, 0x7FFFFFFFU, 0xFFFFFFFFU})
        EXPECT_THROW(first_packet_length(ByteWriter{}.u32(length).take()), ProtocolError) << length;
}

TEST(FirstPacket, CutAtEveryByteIsRefused) {
    const std::string whole = packet(kVersion3, kParameters);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_THROW(parse_first_packet(whole.substr(0, size)), ProtocolError) << size;
        if (size < 8) continue;
        // The same, with a length that fits.
        EXPECT_THROW(parse_first_packet(packet(kVersion3, whole.substr(8, size - 8))), ProtocolError) << size;
    }
    EXPECT_THROW(parse_first_packet(packet(kVersion3, kParameters + "x")), ProtocolError);
    EXPECT_THROW(parse_first_packet(packet(80877103, "x")), ProtocolError);
    EXPECT_THROW(parse_first_packet(packet(80877102, "1234")), ProtocolError);
}

TEST(FrontendMessages, AreTakenOneByOne) {
    const std::string bytes =
        message('Q', std::string{"SELECT 1\0", 9}) + message('c', "") + message('X', "");
    std::string_view received = bytes;
    const auto query = take_message(received, 100);
    ASSERT_TRUE(query);
    EXPECT_EQ(query->type, 'Q');
    EXPECT_EQ(parse_query(query->body), "SELECT 1");
    EXPECT_EQ(take_message(received, 100)->type, 'c');
    EXPECT_EQ(take_message(received, 100)->type, 'X');
    EXPECT_FALSE(take_message(received, 100));
}

TEST(FrontendMessages, OneThatIsNotWholeIsLeft) {
    const std::string bytes = message('d', "some data");
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        std::string_view received{bytes.data(), size};
        EXPECT_FALSE(take_message(received, 100));
        EXPECT_EQ(received.size(), size);
    }
}

TEST(FrontendMessages, WhatNoClientSendsIsRefusedBeforeItIsWhole) {
    const auto refused = [](std::string bytes) {
        std::string_view received = bytes;
        EXPECT_THROW(take_message(received, 100), ProtocolError);
    };
    refused("GET / HTTP/1.1\r\n");
    refused(std::string(1, '\0'));
    refused("Q" + ByteWriter{}.u32(0x7FFFFFFF).take());
    refused("Q" + ByteWriter{}.u32(105).take());
    refused("Q" + ByteWriter{}.u32(3).take());
    refused("Q" + ByteWriter{}.u32(0xFFFFFFFF).take());
}

TEST(FrontendMessages, QueryEndsWithItsZeroByte) {
    EXPECT_THROW(parse_query("SELECT 1"), ProtocolError);
    EXPECT_THROW(parse_query(""), ProtocolError);
    EXPECT_THROW(parse_query(std::string_view{"SELECT\0 1\0", 10}), ProtocolError);
}

TEST(FrontendMessages, CopyFailTellsWhy) {
    EXPECT_EQ(parse_copy_fail(std::string_view{"no more\0", 8}), "no more");
    EXPECT_THROW(parse_copy_fail("no end"), ProtocolError);
    EXPECT_THROW(parse_copy_fail(std::string_view{"two\0ends\0", 9}), ProtocolError);
}

TEST(FrontendMessages, SaslInitialResponseMayHaveNone) {
    const std::string with = ByteWriter{}.c_string("SCRAM-SHA-256").u32(3).bytes("n,,").take();
    EXPECT_EQ(parse_sasl_initial_response(with).mechanism, "SCRAM-SHA-256");
    EXPECT_EQ(parse_sasl_initial_response(with).response, "n,,");
    const std::string without = ByteWriter{}.c_string("PLAIN").u32(0xFFFFFFFF).take();
    EXPECT_EQ(parse_sasl_initial_response(without).response, std::nullopt);
    for (std::size_t size = 0; size < with.size(); ++size)
        EXPECT_THROW(parse_sasl_initial_response(with.substr(0, size)), ProtocolError) << size;
    EXPECT_THROW(parse_sasl_initial_response(with + "x"), ProtocolError);
    EXPECT_THROW(parse_sasl_initial_response(ByteWriter{}.c_string("X").u32(0xFFFFFFFE).take()),
                 ProtocolError);
}

}  // namespace pgcascade::protocol
