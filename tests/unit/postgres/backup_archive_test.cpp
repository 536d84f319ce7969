#include "postgres/backup_archive.hpp"

#include <optional>
#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

namespace {

struct TarEntry {
    std::string path;
    unsigned type = AE_IFREG;
    std::string content = {};
    std::optional<std::string> hard_link = {};
};

la_ssize_t append(archive*, void* target, const void* bytes, std::size_t size) {
    static_cast<std::string*>(target)->append(static_cast<const char*>(bytes), size);
    return static_cast<la_ssize_t>(size);
}

// As a server would write it, but with whatever names and kinds one likes.
std::string make_tar(const std::vector<TarEntry>& entries) {
    std::string tar;
    const std::unique_ptr<archive, int (*)(archive*)> writer{archive_write_new(), archive_write_free};
    archive_write_set_format_ustar(writer.get());
    archive_write_set_bytes_in_last_block(writer.get(), 1);
    archive_write_open(writer.get(), &tar, nullptr, append, nullptr);
    for (const TarEntry& each : entries) {
        const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry{archive_entry_new(),
                                                                             archive_entry_free};
        archive_entry_set_pathname(entry.get(), each.path.c_str());
        archive_entry_set_filetype(entry.get(), each.type);
        archive_entry_set_perm(entry.get(), 0640);
        if (each.type == AE_IFLNK) archive_entry_set_symlink(entry.get(), each.content.c_str());
        if (each.hard_link) archive_entry_set_hardlink(entry.get(), each.hard_link->c_str());
        const bool has_content = each.type == AE_IFREG && !each.hard_link;
        archive_entry_set_size(entry.get(), has_content ? static_cast<la_int64_t>(each.content.size()) : 0);
        EXPECT_EQ(archive_write_header(writer.get(), entry.get()), ARCHIVE_OK)
            << archive_error_string(writer.get());
        if (has_content) archive_write_data(writer.get(), each.content.data(), each.content.size());
    }
    archive_write_close(writer.get());
    return tar;
}

// Gives the archive in pieces of that size, each in memory of its own, so that a view kept too long shows.
BackupArchive::Source in_pieces(std::string tar, std::size_t piece) {
    return [tar = std::move(tar), piece, offset = std::size_t{0},
            current = std::make_shared<std::string>()]() mutable -> std::string_view {
        *current = tar.substr(std::min(offset, tar.size()), piece);
        offset += piece;
        current->shrink_to_fit();
        return *current;
    };
}

std::string read_all(BackupArchive& archive) {
    std::string content;
    for (auto bytes = archive.read(); !bytes.empty(); bytes = archive.read()) content += bytes;
    return content;
}

// All entries' contents, or the error.
std::vector<std::string> read_archive(const std::string& tar) {
    BackupArchive archive{in_pieces(tar, 1000), "the test's archive"};
    std::vector<std::string> contents;
    ArchiveEntry entry;
    while (archive.next(entry)) contents.push_back(read_all(archive));
    return contents;
}

std::string failure_of(const std::vector<TarEntry>& entries) {
    try {
        read_archive(make_tar(entries));
    } catch (const ProtocolError& problem) {
        return problem.what();
    }
    return "no failure";
}

}  // namespace

TEST(BackupArchive, GivesEntriesWithTheirContentsWhateverThePieces) {
    const std::string large(100'000, 'x');
    const std::string tar = make_tar({{"backup_label", AE_IFREG, "START WAL"},
                                      {"base/", AE_IFDIR},
                                      {"base/5", AE_IFDIR},
                                      {"base/5/1", AE_IFREG, large},
                                      {"base/5/2", AE_IFREG, ""},
                                      {"pg_tblspc/16384", AE_IFLNK, "/srv/space"}});
    for (const std::size_t piece : {1UL, 511UL, 512UL, 32768UL, 1UL << 20}) {
        BackupArchive archive{in_pieces(tar, piece), "the test's archive"};
        ArchiveEntry entry;
        ASSERT_TRUE(archive.next(entry));
        EXPECT_EQ(entry.path, "backup_label");
        EXPECT_EQ(entry.mode, 0640U);
        EXPECT_EQ(entry.bytes, 9U);
        EXPECT_EQ(read_all(archive), "START WAL");
        ASSERT_TRUE(archive.next(entry));
        EXPECT_EQ(entry.kind, ArchiveEntry::Kind::kDirectory);
        EXPECT_EQ(entry.path, "base");
        ASSERT_TRUE(archive.next(entry));
        ASSERT_TRUE(archive.next(entry));
        EXPECT_EQ(entry.path, "base/5/1");
        EXPECT_EQ(read_all(archive), large);
        ASSERT_TRUE(archive.next(entry));
        EXPECT_EQ(read_all(archive), "");
        ASSERT_TRUE(archive.next(entry));
        EXPECT_EQ(entry.kind, ArchiveEntry::Kind::kLink);
        EXPECT_EQ(entry.link_target, "/srv/space");
        EXPECT_FALSE(archive.next(entry));
    }
}

TEST(BackupArchive, NamesAsOnlyTheServerWritesThemAreMadePlain) {
    const std::string tar =
        make_tar({{"./pg_wal/archive_status", AE_IFDIR}, {"pg_tblspc/16384/", AE_IFLNK, "/srv/space"}});
    BackupArchive archive{in_pieces(tar, 512), "the test's archive"};
    ArchiveEntry entry;
    ASSERT_TRUE(archive.next(entry));
    EXPECT_EQ(entry.path, "pg_wal/archive_status");
    ASSERT_TRUE(archive.next(entry));
    EXPECT_EQ(entry.path, "pg_tblspc/16384");
}

TEST(BackupArchive, NamesThatCouldLeadOutAreRefused) {
    for (const char* path : {"/etc/passwd", "../x", "base/../../x", "base/..", "..", ".", "base//x",
                             "base/./x", "./../x", "././x", ".//x"})
        EXPECT_NE(failure_of({{path, AE_IFREG, "x"}}).find("only plain relative names"), std::string::npos)
            << path;
    EXPECT_NE(failure_of({{"/etc/", AE_IFDIR}}).find("only plain relative names"), std::string::npos);
    EXPECT_THROW(check_archive_path(""), ProtocolError);
    EXPECT_THROW(check_archive_path(std::string_view{"a\0b", 3}), ProtocolError);
    EXPECT_THROW(check_archive_path("a/"), ProtocolError);
    EXPECT_NO_THROW(check_archive_path("a/.b/..c/d..e/f"));
}

TEST(BackupArchive, KindsThatNoBackupHoldsAreRefused) {
    for (const unsigned type : {AE_IFCHR, AE_IFBLK, AE_IFIFO})
        EXPECT_NE(failure_of({{"device", type}}).find("neither a file nor a directory nor a link"),
                  std::string::npos)
            << type;
    EXPECT_NE(failure_of({{"a", AE_IFREG, "x"}, {"b", AE_IFREG, "", "a"}})
                  .find("neither a file nor a directory nor a link"),
              std::string::npos);
}

TEST(BackupArchive, CutAnywhereInAFileIsAnError) {
    const std::string tar = make_tar({{"a", AE_IFREG, std::string(2000, 'a')}, {"b", AE_IFREG, "b"}});
    // Up to b's content; what follows is only padding and the archive's end.
    for (std::size_t size = 1; size < 512 + 2048 + 512 + 1; ++size) {
        if (size == 512 + 2048) continue;  // between two files: only the manifest can tell
        EXPECT_THROW(read_archive(tar.substr(0, size)), ProtocolError) << size;
    }
    EXPECT_EQ(read_archive(tar).size(), 2U);
}

TEST(BackupArchive, DamagedHeaderIsAnError) {
    std::string tar = make_tar({{"a", AE_IFREG, "content"}});
    for (std::size_t byte = 0; byte < 500; byte += 7) {
        tar[byte] ^= 0x10;
        EXPECT_THROW(read_archive(tar), ProtocolError) << byte;
        tar[byte] ^= 0x10;
    }
}

TEST(BackupArchive, WhatTheSourceThrowsComesThrough) {
    int calls = 0;
    const std::string tar = make_tar({{"a", AE_IFREG, std::string(5000, 'a')}});
    BackupArchive archive{[&]() -> std::string_view {
                              if (++calls > 2) throw Stopped{};
                              return std::string_view{tar}.substr(static_cast<std::size_t>(calls - 1) * 1024,
                                                                  1024);
                          },
                          "the test's archive"};
    ArchiveEntry entry;
    ASSERT_TRUE(archive.next(entry));
    EXPECT_THROW(read_all(archive), Stopped);
}

}  // namespace pgcascade::postgres
