#include "protocol/frontend_message.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"

namespace pgcascade::protocol {

namespace {

// pqcomm.h: major 1234, a code no version has
constexpr std::uint32_t kCancelRequest = 80877102;
constexpr std::uint32_t kSslRequest = 80877103;
constexpr std::uint32_t kGssEncRequest = 80877104;

constexpr std::size_t kSmallestFirstPacket = 8;  // length and code
constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kLargestCancelKey = 256;

// Bind, Close, CopyData, CopyDone, CopyFail, Describe, Execute, Flush, FunctionCall, Parse, password or SASL
// response, Query, Sync, Terminate
constexpr std::string_view kTypes = "BCdcfDEHFPpQSX";

StartupMessage parse_startup(ByteReader& reader, std::uint32_t version) {
    StartupMessage message{.major = static_cast<std::uint16_t>(version >> 16U),
                           .minor = static_cast<std::uint16_t>(version & 0xFFFFU),
                           .parameters = {}};
    for (;;) {
        const std::string_view name = reader.c_string();
        if (name.empty()) break;
        const std::string_view value = reader.c_string();
        message.parameters.emplace_back(name, value);
    }
    if (reader.failed() || !reader.empty())
        throw ProtocolError("invalid startup packet layout: expected terminator as last byte");
    return message;
}

}  // namespace

const std::string* StartupMessage::find(std::string_view name) const {
    for (auto pair = parameters.rbegin(); pair != parameters.rend(); ++pair)
        if (pair->first == name) return &pair->second;
    return nullptr;
}

std::optional<std::size_t> first_packet_length(std::string_view received) {
    if (received.size() < kLengthBytes) return std::nullopt;
    const std::size_t length = ByteReader{received}.u32();
    if (length < kSmallestFirstPacket || length > kLargestFirstPacket)
        throw ProtocolError("invalid length of startup packet");
    return length;
}

FirstPacket parse_first_packet(std::string_view packet) {
    ByteReader reader{packet};
    const std::size_t length = reader.u32();
    const std::uint32_t code = reader.u32();
    if (reader.failed() || length != packet.size()) throw ProtocolError("invalid length of startup packet");
    if (code == kCancelRequest) {
        CancelRequest request;
        request.pid = reader.u32();
        request.key = reader.rest();
        if (request.key.empty() || request.key.size() > kLargestCancelKey)
            throw ProtocolError("invalid length of cancel request packet");
        return request;
    }
    if (code != kSslRequest && code != kGssEncRequest) return parse_startup(reader, code);
    if (!reader.empty()) throw ProtocolError("invalid length of startup packet");
    if (code == kSslRequest) return SslRequest{};
    return GssEncRequest{};
}

std::optional<FrontendMessage> take_message(std::string_view& received, std::size_t limit) {
    if (received.empty()) return std::nullopt;
    const char type = received[0];
    if (kTypes.find(type) == std::string_view::npos)
        throw ProtocolError(
            fmt::format("invalid frontend message type {}", static_cast<unsigned char>(type)));
    ByteReader reader{received.substr(1)};
    const std::size_t length = reader.u32();
    if (reader.failed()) return std::nullopt;
    if (length < kLengthBytes || length - kLengthBytes > limit)
        throw ProtocolError(fmt::format("invalid message length {} of message type '{}'", length, type));
    if (reader.rest().size() < length - kLengthBytes) return std::nullopt;
    const FrontendMessage message{type, reader.bytes(length - kLengthBytes)};
    received.remove_prefix(1 + length);
    return message;
}

std::string_view parse_query(std::string_view body) {
    ByteReader reader{body};
    const std::string_view text = reader.c_string();
    if (reader.failed() || !reader.empty()) throw ProtocolError("invalid message format of a query");
    return text;
}

std::string_view parse_copy_fail(std::string_view body) {
    ByteReader reader{body};
    const std::string_view reason = reader.c_string();
    if (reader.failed() || !reader.empty()) throw ProtocolError("invalid message format of a CopyFail");
    return reason;
}

SaslInitialResponse parse_sasl_initial_response(std::string_view body) {
    ByteReader reader{body};
    SaslInitialResponse message;
    message.mechanism = reader.c_string();
    const std::int32_t length = reader.i32();
    if (length >= 0) message.response = reader.bytes(static_cast<std::size_t>(length));
    if (reader.failed() || !reader.empty() || length < -1)
        throw ProtocolError("malformed SASL initial response");
    return message;
}

}  // namespace pgcascade::protocol
