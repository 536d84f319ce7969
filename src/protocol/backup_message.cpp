#include "protocol/backup_message.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"

namespace pgcascade::protocol {

namespace {

BackupMessage parse_body(std::uint8_t type, ByteReader& reader) {
    switch (type) {
        case 'n': {
            const std::string_view name = reader.c_string();
            return BackupArchiveStart{name, reader.c_string()};
        }
        case 'm':
            return BackupManifestStart{};
        case 'd':
            return BackupData{reader.bytes(reader.rest().size())};
        case 'p':
            return BackupProgress{reader.u64()};
        default:
            throw ProtocolError(fmt::format("unknown message of type 0x{:02X} in a base backup", type));
    }
}

}  // namespace

BackupMessage parse_backup_message(std::string_view bytes) {
    ByteReader reader{bytes};
    const std::uint8_t type = reader.u8();
    if (reader.failed()) throw ProtocolError("empty message in a base backup");
    const BackupMessage message = parse_body(type, reader);
    if (reader.failed() || !reader.empty())
        throw ProtocolError(fmt::format("message of type '{}' in a base backup has the wrong length ({})",
                                        static_cast<char>(type), bytes.size()));
    return message;
}

}  // namespace pgcascade::protocol
