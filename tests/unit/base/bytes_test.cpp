#include "base/bytes.hpp"

#include <gtest/gtest.h>

namespace pgcascade {

TEST(Bytes, WhatIsWrittenIsRead) {
    ByteWriter writer;
    writer.u8(0xAB).u16(0x0102).u32(0x01020304).u64(0x0102030405060708).i64(-2).c_string("shop").bytes("xyz");
    EXPECT_EQ(writer.buffer().substr(0, 7), std::string_view("\xAB\x01\x02\x01\x02\x03\x04", 7));

    ByteReader reader{writer.buffer()};
    EXPECT_EQ(reader.u8(), 0xAB);
    EXPECT_EQ(reader.u16(), 0x0102);
    EXPECT_EQ(reader.u32(), 0x01020304U);
    EXPECT_EQ(reader.u64(), 0x0102030405060708U);
    EXPECT_EQ(reader.i64(), -2);
    EXPECT_EQ(reader.c_string(), "shop");
    EXPECT_EQ(reader.rest(), "xyz");
    EXPECT_FALSE(reader.failed());
}

TEST(Bytes, ReadPastTheEndLatches) {
    ByteReader reader{std::string_view{"\0\0\0", 3}};
    EXPECT_EQ(reader.u32(), 0U);
    EXPECT_TRUE(reader.failed());
    EXPECT_EQ(reader.u8(), 0);  // three bytes are left in the message, none in the reader
    EXPECT_TRUE(reader.empty());
}

TEST(Bytes, StringWithoutItsZeroFails) {
    ByteReader reader{"shop"};
    EXPECT_EQ(reader.c_string(), "");
    EXPECT_TRUE(reader.failed());
}

TEST(Bytes, LengthBeyondTheMessageFails) {
    ByteReader reader{"shop"};
    EXPECT_EQ(reader.bytes(0xFFFFFFFF), "");
    EXPECT_TRUE(reader.failed());
}

}  // namespace pgcascade
