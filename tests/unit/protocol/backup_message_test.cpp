#include "protocol/backup_message.hpp"

#include <string>

#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"

namespace pgcascade::protocol {

TEST(BackupMessage, EachKindIsRead) {
    const std::string archive = ByteWriter{}.u8('n').c_string("16384.tar").c_string("/srv/space").take();
    const auto start = std::get<BackupArchiveStart>(parse_backup_message(archive));
    EXPECT_EQ(start.name, "16384.tar");
    EXPECT_EQ(start.tablespace_location, "/srv/space");

    const std::string progress = ByteWriter{}.u8('p').u64(5'000'000'000).take();
    EXPECT_EQ(std::get<BackupProgress>(parse_backup_message(progress)).done_bytes, 5'000'000'000);

    EXPECT_EQ(std::get<BackupData>(parse_backup_message("dbytes")).bytes, "bytes");
    EXPECT_EQ(std::get<BackupData>(parse_backup_message("d")).bytes, "");
    EXPECT_TRUE(std::holds_alternative<BackupManifestStart>(parse_backup_message("m")));
}

TEST(BackupMessage, CutOrLongerMessagesAreRefused) {
    const std::string whole[] = {
        ByteWriter{}.u8('n').c_string("base.tar").c_string("").take(),
        ByteWriter{}.u8('p').u64(1).take(),
        "m",
    };
    for (const std::string& message : whole) {
        for (std::size_t size = 0; size < message.size(); ++size)
            EXPECT_THROW(parse_backup_message(message.substr(0, size)), ProtocolError) << message[0] << size;
        EXPECT_THROW(parse_backup_message(message + "x"), ProtocolError) << message[0];
    }
}

TEST(BackupMessage, UnknownTypesAreRefused) {
    for (const char* message : {"x", "N", "w1234567890", "\x01"})
        EXPECT_THROW(parse_backup_message(message), ProtocolError) << message;
}

}  // namespace pgcascade::protocol
