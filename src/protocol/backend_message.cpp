#include "protocol/backend_message.hpp"

#include "base/bytes.hpp"

namespace pgcascade::protocol {

namespace {

constexpr std::size_t kLengthBytes = 4;

void append(std::string& out, char type, std::string_view body) {
    ByteWriter writer;
    writer.u8(static_cast<std::uint8_t>(type))
        .u32(static_cast<std::uint32_t>(body.size() + kLengthBytes))
        .bytes(body);
    out += writer.buffer();
}

enum class Authentication : std::uint32_t { kOk = 0, kSasl = 10, kSaslContinue = 11, kSaslFinal = 12 };

void append_authentication(std::string& out, Authentication kind, std::string_view data) {
    append(out, 'R', ByteWriter{}.u32(static_cast<std::uint32_t>(kind)).bytes(data).buffer());
}

std::string fields_of(const Report& report) {
    ByteWriter fields;
    const auto add = [&fields](char field, const std::string& text) {
        if (!text.empty()) fields.u8(static_cast<std::uint8_t>(field)).c_string(text);
    };
    add('S', report.severity);
    add('V', report.severity);
    add('C', report.sqlstate);
    add('M', report.message);
    add('D', report.detail);
    add('H', report.hint);
    return fields.u8(0).take();
}

}  // namespace

void append_authentication_ok(std::string& out) {
    append_authentication(out, Authentication::kOk, "");
}

void append_authentication_sasl(std::string& out, const std::vector<std::string>& mechanisms) {
    ByteWriter names;
    for (const std::string& name : mechanisms) names.c_string(name);
    append_authentication(out, Authentication::kSasl, names.u8(0).buffer());
}

void append_authentication_sasl_continue(std::string& out, std::string_view data) {
    append_authentication(out, Authentication::kSaslContinue, data);
}

void append_authentication_sasl_final(std::string& out, std::string_view data) {
    append_authentication(out, Authentication::kSaslFinal, data);
}

void append_parameter_status(std::string& out, std::string_view name, std::string_view value) {
    append(out, 'S', ByteWriter{}.c_string(name).c_string(value).buffer());
}

void append_backend_key_data(std::string& out, std::uint32_t pid, std::string_view key) {
    append(out, 'K', ByteWriter{}.u32(pid).bytes(key).buffer());
}

void append_negotiate_protocol_version(std::string& out, std::uint16_t major, std::uint16_t minor,
                                       const std::vector<std::string>& unknown) {
    ByteWriter body;
    body.u16(major).u16(minor).u32(static_cast<std::uint32_t>(unknown.size()));
    for (const std::string& name : unknown) body.c_string(name);
    append(out, 'v', body.buffer());
}

void append_ready_for_query(std::string& out, TransactionStatus status) {
    const char byte = static_cast<char>(status);
    append(out, 'Z', {&byte, 1});
}

// Int16 columns | each: String name | Int32 table | Int16 column | Int32 type | Int16 size | Int32 modifier |
// Int16 format, 0: text
void append_row_description(std::string& out, const std::vector<Column>& columns) {
    ByteWriter body;
    body.u16(static_cast<std::uint16_t>(columns.size()));
    for (const Column& column : columns)
        body.c_string(column.name)
            .u32(0)
            .u16(0)
            .u32(column.type)
            .u16(static_cast<std::uint16_t>(column.type_bytes))
            .u32(~std::uint32_t{0})
            .u16(0);
    append(out, 'T', body.buffer());
}

void append_data_row(std::string& out, const Row& row) {
    ByteWriter body;
    body.u16(static_cast<std::uint16_t>(row.size()));
    for (const auto& cell : row) {
        if (cell)
            body.u32(static_cast<std::uint32_t>(cell->size())).bytes(*cell);
        else
            body.u32(~std::uint32_t{0});
    }
    append(out, 'D', body.buffer());
}

void append_command_complete(std::string& out, std::string_view tag) {
    append(out, 'C', ByteWriter{}.c_string(tag).buffer());
}

void append_empty_query_response(std::string& out) {
    append(out, 'I', "");
}

void append_error_response(std::string& out, const Report& report) {
    append(out, 'E', fields_of(report));
}

void append_notice_response(std::string& out, const Report& report) {
    append(out, 'N', fields_of(report));
}

// Int8 format of the whole, 0: text | Int16 columns: none, as a walsender has it
void append_copy_both_response(std::string& out) {
    append(out, 'W', ByteWriter{}.u8(0).u16(0).buffer());
}

// Int8 format of the whole | Int16 columns | Int16 format of each
static std::string copy_format(const std::vector<std::int16_t>& formats) {
    ByteWriter body;
    body.u8(!formats.empty() && formats.front() != 0 ? 1 : 0).u16(static_cast<std::uint16_t>(formats.size()));
    for (const std::int16_t format : formats) body.u16(static_cast<std::uint16_t>(format));
    return body.buffer();
}

void append_copy_in_response(std::string& out, const std::vector<std::int16_t>& formats) {
    append(out, 'G', copy_format(formats));
}

void append_copy_out_response(std::string& out, const std::vector<std::int16_t>& formats) {
    append(out, 'H', copy_format(formats));
}

void append_copy_data(std::string& out, std::string_view data) {
    append_copy_data_header(out, data.size());
    out += data;
}

void append_copy_done(std::string& out) {
    append(out, 'c', "");
}

void append_copy_data_header(std::string& out, std::size_t bytes) {
    out += ByteWriter{}.u8('d').u32(static_cast<std::uint32_t>(bytes + kLengthBytes)).buffer();
}

}  // namespace pgcascade::protocol
