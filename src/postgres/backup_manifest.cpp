#include "postgres/backup_manifest.hpp"

#include <array>
#include <cstring>
#include <optional>

#include <fmt/format.h>
#include <openssl/sha.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

namespace {

constexpr const char* kDamagedHint =
    "the backup was damaged or cut off on its way: run the same command again";

[[noreturn]] void refuse(const std::string& reason) {
    throw ProtocolError("the server's backup manifest " + reason, kDamagedHint);
}

// "0f…", two digits a byte.
std::optional<std::string> decode_hex(std::string_view digits) {
    const auto value = [](char digit) {
        if (digit >= '0' && digit <= '9') return digit - '0';
        if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
        if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
        return -1;
    };
    if (digits.size() % 2 != 0) return std::nullopt;
    std::string bytes;
    for (std::size_t i = 0; i < digits.size(); i += 2) {
        const int high = value(digits[i]);
        const int low = value(digits[i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        bytes += static_cast<char>(high * 16 + low);
    }
    return bytes;
}

// The manifest is JSON, but its checksum goes by lines: the last one is
//     "Manifest-Checksum": "<SHA-256 of all bytes before this line, in hex>"}
void check_own_checksum(std::string_view text) {
    constexpr std::string_view kKey = "\"Manifest-Checksum\": \"";
    if (!text.ends_with('\n')) refuse("does not end with a whole line");
    const auto line_start = text.rfind('\n', text.size() - 2) + 1;  // 0 where there is no other line
    const std::string_view line = text.substr(line_start);
    if (line_start == 0 || !line.starts_with(kKey)) refuse("does not end with its checksum");

    const auto stated = decode_hex(line.substr(kKey.size(), line.find('"', kKey.size()) - kKey.size()));
    std::array<unsigned char, SHA256_DIGEST_LENGTH> actual{};
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), line_start, actual.data());
    if (!stated || std::string_view{*stated} !=
                       std::string_view{reinterpret_cast<const char*>(actual.data()), actual.size()})
        refuse("does not match its own checksum");
}

// Takes the values as RapidJSON meets them: no tree, however many files there are. Returning false ends the
// parse; the reason is in `problem`.
class ManifestHandler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, ManifestHandler> {
  public:
    BackupFiles files;
    std::string problem;
    bool saw_version = false;
    bool saw_files = false;
    bool saw_wal_ranges = false;

    bool StartObject() {
        ++depth_;
        if (in_files()) file_ = {};
        return depth_ <= 2 || fail("is nested too deep");
    }

    bool EndObject(rapidjson::SizeType) {
        const bool ends_file = in_files();
        --depth_;
        return !ends_file || add_file();
    }

    bool StartArray() {
        if (depth_ == 1 && key_ == "Files") saw_files = true;
        if (depth_ == 1 && key_ == "WAL-Ranges") saw_wal_ranges = true;
        section_ = key_;
        return depth_ == 1 || fail("holds a list where none belongs");
    }

    bool EndArray(rapidjson::SizeType) {
        section_.clear();
        return true;
    }

    bool Key(const char* text, rapidjson::SizeType size, bool) {
        key_.assign(text, size);
        return true;
    }

    bool String(const char* text, rapidjson::SizeType size, bool) {
        const std::string_view value{text, size};
        if (!in_files()) return true;
        if (key_ == "Path") file_.path = value;
        if (key_ == "Encoded-Path") file_.path = decode_hex(value);
        if (key_ == "Checksum-Algorithm") file_.algorithm = value;
        if (key_ == "Checksum") file_.checksum = decode_hex(value);
        return true;
    }

    bool Uint(unsigned number) { return Uint64(number); }
    bool Uint64(std::uint64_t number) {
        if (in_files() && key_ == "Size") file_.bytes = number;
        if (depth_ == 1 && key_ == "PostgreSQL-Backup-Manifest-Version") {
            saw_version = true;
            if (number != 1 && number != 2)
                return fail(fmt::format("is of version {}, which this program does not know", number));
        }
        return true;
    }

  private:
    struct File {
        std::optional<std::string> path;
        std::optional<std::uint64_t> bytes;
        std::string algorithm;
        std::optional<std::string> checksum;
    };

    bool in_files() const { return depth_ == 2 && section_ == "Files"; }

    bool fail(std::string reason) {
        problem = std::move(reason);
        return false;
    }

    bool add_file() {
        if (!file_.path || !file_.bytes) return fail("holds a file without a path or a size");
        BackupFile file{.bytes = *file_.bytes};
        // The server writes the bytes of its integer (backup_manifest.c), and only a server of the same byte
        // order can be cloned.
        if (file_.algorithm != "CRC32C" || !file_.checksum || file_.checksum->size() != sizeof file.crc32c)
            return fail(fmt::format("has no CRC32C for \"{}\", as was asked for", *file_.path));
        std::memcpy(&file.crc32c, file_.checksum->data(), sizeof file.crc32c);
        if (!files.emplace(*file_.path, file).second)
            return fail(fmt::format("names \"{}\" twice", *file_.path));
        return true;
    }

    int depth_ = 0;  // of objects: 1 is the manifest, 2 an element of one of its lists
    std::string key_;
    std::string section_;  // key of the list we are in
    File file_;
};

}  // namespace

BackupFiles parse_backup_manifest(std::string_view text) {
    check_own_checksum(text);
    ManifestHandler handler;
    rapidjson::MemoryStream stream{text.data(), text.size()};
    rapidjson::Reader reader;
    const auto result =
        reader.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(stream, handler);
    if (!handler.problem.empty()) refuse(handler.problem);
    if (result.IsError())
        refuse(fmt::format("is no JSON at byte {}: {}", result.Offset(),
                           rapidjson::GetParseError_En(result.Code())));
    if (!handler.saw_version || !handler.saw_files || !handler.saw_wal_ranges)
        refuse("lacks its version, its list of files or its WAL ranges");
    return std::move(handler.files);
}

void check_against_manifest(const BackupFiles& received, const BackupFiles& manifest) {
    for (const auto& [path, file] : received) {
        const auto stated = manifest.find(path);
        if (stated == manifest.end())
            throw ProtocolError(
                fmt::format("the base backup holds \"{}\", which the server's manifest does not name", path),
                kDamagedHint);
        if (file.bytes != stated->second.bytes)
            throw ProtocolError(fmt::format("\"{}\" in the base backup has {} bytes, not {} as the server's "
                                            "manifest says",
                                            path, file.bytes, stated->second.bytes),
                                kDamagedHint);
        if (file.crc32c != stated->second.crc32c)
            throw ProtocolError(
                fmt::format("\"{}\" in the base backup does not have the checksum that the server's "
                            "manifest says",
                            path),
                kDamagedHint);
    }
    if (received.size() == manifest.size()) return;
    for (const auto& [path, file] : manifest)
        if (!received.contains(path))
            throw ProtocolError(
                fmt::format("the base backup lacks \"{}\", which the server's manifest names", path),
                kDamagedHint);
}

}  // namespace pgcascade::postgres
