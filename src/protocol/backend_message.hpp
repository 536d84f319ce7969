#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// What a server sends, written for a client. Each function appends one whole message to `out`.
// Source: PostgreSQL manual, "Message Formats"; libpq/pqformat.c.

namespace pgcascade::protocol {

// Of the session, in ReadyForQuery.
enum class TransactionStatus : char { kIdle = 'I', kInTransaction = 'T', kFailed = 'E' };

// What went wrong, as a server tells it: ErrorResponse and NoticeResponse.
struct Report {
    std::string severity = "ERROR";  // or FATAL, WARNING, …: never translated
    std::string sqlstate;
    std::string message;
    std::string detail = {};
    std::string hint = {};
};

struct Column {
    std::string name;
    std::uint32_t type = 25;       // its OID; 25: text
    std::int16_t type_bytes = -1;  // of its values; -1: they differ
};

// A cell without a value is null.
using Row = std::vector<std::optional<std::string_view>>;

void append_authentication_ok(std::string& out);
void append_authentication_sasl(std::string& out, const std::vector<std::string>& mechanisms);
void append_authentication_sasl_continue(std::string& out, std::string_view data);
void append_authentication_sasl_final(std::string& out, std::string_view data);
void append_parameter_status(std::string& out, std::string_view name, std::string_view value);
void append_backend_key_data(std::string& out, std::uint32_t pid, std::string_view key);

// The newest version that is spoken, and the names of the parameters that begin with _pq_. and are not known.
void append_negotiate_protocol_version(std::string& out, std::uint16_t major, std::uint16_t minor,
                                       const std::vector<std::string>& unknown);

void append_ready_for_query(std::string& out, TransactionStatus status);
void append_row_description(std::string& out, const std::vector<Column>& columns);
void append_data_row(std::string& out, const Row& row);
void append_command_complete(std::string& out, std::string_view tag);
void append_empty_query_response(std::string& out);
void append_error_response(std::string& out, const Report& report);
void append_notice_response(std::string& out, const Report& report);

void append_copy_both_response(std::string& out);

// 0: text, 1: binary, a number for each column.
void append_copy_in_response(std::string& out, const std::vector<std::int16_t>& column_formats);
void append_copy_out_response(std::string& out, const std::vector<std::int16_t>& column_formats);
void append_copy_data(std::string& out, std::string_view data);
void append_copy_done(std::string& out);

// 'd' | Int32 length, in front of `bytes` of data that the caller sends itself.
constexpr std::size_t kCopyDataHeaderBytes = 5;
void append_copy_data_header(std::string& out, std::size_t bytes);

}  // namespace pgcascade::protocol
