#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// What a client sends, read by a server. Pure: the session owns the bytes, and everything here is a view into
// them unless it is a std::string. Source: PostgreSQL manual, "Message Formats"; tcop/backend_startup.c
// (postmaster.c before 18), libpq/pqcomm.c.

namespace pgcascade::protocol {

// -- The first packet of a connection: Int32 length | Int32 code | … --

struct SslRequest {
    bool operator==(const SslRequest&) const = default;
};

struct GssEncRequest {
    bool operator==(const GssEncRequest&) const = default;
};

// On a connection of its own; never answered.
struct CancelRequest {
    std::uint32_t pid = 0;
    std::string key;  // 4 bytes; up to 256 from protocol 3.2 on
    bool operator==(const CancelRequest&) const = default;
};

struct StartupMessage {
    std::uint16_t major = 0;
    std::uint16_t minor = 0;
    std::vector<std::pair<std::string, std::string>> parameters;  // in the client's order

    // The last one of that name, as a server has it; null where there is none.
    const std::string* find(std::string_view name) const;

    bool operator==(const StartupMessage&) const = default;
};

using FirstPacket = std::variant<SslRequest, GssEncRequest, CancelRequest, StartupMessage>;

// As a server limits it (pqcomm.h, MAX_STARTUP_PACKET_LENGTH).
constexpr std::size_t kLargestFirstPacket = 10'000;

// Its length, once that is received; throws ProtocolError where no first packet can be that long.
std::optional<std::size_t> first_packet_length(std::string_view received);

// From the whole packet. Throws ProtocolError where it breaks the grammar. A version is taken as it is: which
// ones are spoken is for the session to say.
FirstPacket parse_first_packet(std::string_view packet);

// -- Every message after it: Byte1 type | Int32 length | body --

struct FrontendMessage {
    char type = 0;
    std::string_view body;
};

// Takes the first message off `received`; nothing where it is not whole yet. Throws ProtocolError, before it
// is whole, for one that is longer than `limit` or shorter than its own length, and for a type that no client
// sends.
std::optional<FrontendMessage> take_message(std::string_view& received, std::size_t limit);

// The text of a Query ('Q'); throws ProtocolError where it does not end with its zero byte.
std::string_view parse_query(std::string_view body);

// The reason of a CopyFail ('f'); throws ProtocolError where it does not end with its zero byte.
std::string_view parse_copy_fail(std::string_view body);

// SASLInitialResponse ('p'): String mechanism | Int32 length, -1: none | response
struct SaslInitialResponse {
    std::string_view mechanism;
    std::optional<std::string_view> response;
};

SaslInitialResponse parse_sasl_initial_response(std::string_view body);

}  // namespace pgcascade::protocol
