#include "base/message_json.hpp"

#include <chrono>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "base/utf8.hpp"

namespace pgcascade::diagnostics {

namespace {

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;

// "2024-05-01T12:34:56.123Z"
std::string utc_time(Timestamp time) {
    using namespace std::chrono;
    const auto second = floor<seconds>(time);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(system_clock::to_time_t(second)),
                       floor<milliseconds>(time - second).count());
}

// A message may quote what a client or a server in another encoding has sent.
std::string as_utf8(std::string_view bytes) {
    std::string text;
    const char* end = bytes.data() + bytes.size();
    for (const char* at = bytes.data(); at != end;) {
        const int length = static_cast<unsigned char>(*at) < 0x80 ? 1 : multibyte_length(at, end);
        text += length > 0 ? std::string_view{at, static_cast<std::size_t>(length)} : kReplacementCharacter;
        at += length > 0 ? length : 1;
    }
    return text;
}

void write_member(JsonWriter& json, std::string_view name, std::string_view value) {
    if (value.empty()) return;
    const std::string text = as_utf8(value);
    json.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
    json.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

}  // namespace

std::string to_json(const Message& message) {
    rapidjson::StringBuffer buffer;
    JsonWriter json{buffer};
    json.StartObject();
    write_member(json, "timestamp", utc_time(message.time));
    write_member(json, "level", message.level);
    write_member(json, "message", message.text);
    write_member(json, "hint", message.hint);
    for (const Field& field : message.fields) write_member(json, field.name, field.value);
    json.EndObject();
    return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace pgcascade::diagnostics
