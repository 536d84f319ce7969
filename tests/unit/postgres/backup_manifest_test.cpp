#include "postgres/backup_manifest.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

namespace {

// As the server ends it (backup_manifest.c, SendBackupManifest).
std::string with_checksum(const std::string& lines) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(lines.data()), lines.size(), digest);
    std::string hex;
    for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
    return lines + "\"Manifest-Checksum\": \"" + hex + "\"}\n";
}

constexpr const char* kLabel =
    R"({ "Path": "backup_label", "Size": 225, "Last-Modified": "2024-05-01 10:00:00 GMT", )"
    R"("Checksum-Algorithm": "CRC32C", "Checksum": "78563412" })";

std::string manifest_with(const std::string& files, const std::string& version = "1") {
    return with_checksum("{ \"PostgreSQL-Backup-Manifest-Version\": " + version + ",\n\"Files\": [\n" +
                         files +
                         "],\n\"WAL-Ranges\": [\n"
                         R"({ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" })"
                         "\n],\n");
}

std::string failure_of(const std::string& text) {
    try {
        parse_backup_manifest(text);
    } catch (const ProtocolError& problem) {
        return problem.what();
    }
    return "no failure";
}

std::string mismatch(const BackupFiles& received, const BackupFiles& manifest) {
    try {
        check_against_manifest(received, manifest);
    } catch (const ProtocolError& problem) {
        return problem.what();
    }
    return "no mismatch";
}

}  // namespace

TEST(BackupManifest, FilesAreReadWithSizeAndChecksum) {
    const BackupFiles files = parse_backup_manifest(manifest_with(
        std::string{kLabel} + ",\n" +
        R"({ "Encoded-Path": "626173652fff", "Size": 5000000000, "Checksum-Algorithm": "CRC32C", "Checksum": "00000000" })"
        "\n"));
    const BackupFiles expected{{"backup_label", {225, 0x12345678}}, {"base/\xff", {5'000'000'000, 0}}};
    EXPECT_EQ(files, expected);
}

TEST(BackupManifest, SecondVersionHasASystemIdentifier) {
    EXPECT_EQ(
        parse_backup_manifest(with_checksum("{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n"
                                            "\"System-Identifier\": 7123456789012345678,\n\"Files\": [\n" +
                                            std::string{kLabel} + "\n],\n\"WAL-Ranges\": [\n],\n"))
            .size(),
        1U);
}

TEST(BackupManifest, CutAnywhereIsRefused) {
    const std::string whole = manifest_with(std::string{kLabel} + "\n");
    ASSERT_NO_THROW(parse_backup_manifest(whole));
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_THROW(parse_backup_manifest(whole.substr(0, size)), ProtocolError) << size;
}

TEST(BackupManifest, AnyChangedByteIsRefused) {
    std::string text = manifest_with(std::string{kLabel} + "\n");
    const std::size_t checksum_ends = text.rfind('"');
    for (std::size_t byte = 0; byte < checksum_ends; ++byte) {
        text[byte] ^= 0x01;
        EXPECT_THROW(parse_backup_manifest(text), ProtocolError) << byte;
        text[byte] ^= 0x01;
    }
}

TEST(BackupManifest, CutAnywhereIsRefusedEvenWithAFittingChecksum) {
    const std::string whole = manifest_with(std::string{kLabel} + "\n");
    const std::string lines = whole.substr(0, whole.rfind("\"Manifest-Checksum\""));
    ASSERT_EQ(with_checksum(lines), whole);
    for (std::size_t size = 1; size + 1 < lines.size(); ++size) {
        const std::string cut = lines.substr(0, size) + "\n";
        const std::string failure = failure_of(with_checksum(cut));
        EXPECT_NE(failure, "no failure") << cut;
    }
}

TEST(BackupManifest, WhatCannotBeCheckedIsRefused) {
    EXPECT_NE(failure_of(manifest_with(R"({ "Path": "a", "Size": 1 })")).find("no CRC32C"),
              std::string::npos);
    EXPECT_NE(
        failure_of(
            manifest_with(R"({ "Path": "a", "Size": 1, "Checksum-Algorithm": "SHA256", "Checksum": "00" })"))
            .find("no CRC32C"),
        std::string::npos);
    EXPECT_NE(
        failure_of(
            manifest_with(
                R"({ "Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "0000000g" })"))
            .find("no CRC32C"),
        std::string::npos);
    EXPECT_NE(failure_of(manifest_with(R"({ "Path": "a", "Size": -1 })")).find("without a path or a size"),
              std::string::npos);
    EXPECT_NE(failure_of(manifest_with(R"({ "Encoded-Path": "6", "Size": 1 })")).find("without a path"),
              std::string::npos);
    EXPECT_NE(failure_of(manifest_with(std::string{kLabel} + ",\n" + kLabel)).find("twice"),
              std::string::npos);
    EXPECT_NE(failure_of(manifest_with(kLabel, "3")).find("version 3"), std::string::npos);
    EXPECT_NE(failure_of(with_checksum("{ \"Files\": [\n],\n")).find("lacks its version"), std::string::npos);
    EXPECT_NE(failure_of(with_checksum("[\n1,\n")).find("list where none belongs"), std::string::npos);
    EXPECT_NE(failure_of(with_checksum("{ \"a\": {\"b\": {\"c\": 1}},\n")).find("nested too deep"),
              std::string::npos);
}

TEST(BackupManifest, EveryDifferenceIsFound) {
    const BackupFiles manifest{{"a", {1, 11}}, {"b", {2, 22}}};
    EXPECT_EQ(mismatch(manifest, manifest), "no mismatch");
    EXPECT_NE(mismatch({{"a", {1, 11}}}, manifest).find("lacks \"b\""), std::string::npos);
    EXPECT_NE(mismatch({{"a", {1, 11}}, {"b", {2, 22}}, {"c", {3, 33}}}, manifest).find("holds \"c\""),
              std::string::npos);
    EXPECT_NE(mismatch({{"a", {1, 11}}, {"b", {3, 22}}}, manifest).find("has 3 bytes, not 2"),
              std::string::npos);
    EXPECT_NE(mismatch({{"a", {1, 11}}, {"b", {2, 23}}}, manifest).find("checksum"), std::string::npos);
}

}  // namespace pgcascade::postgres
