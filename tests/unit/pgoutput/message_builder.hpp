#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

// Writes pgoutput messages (protocol version 1) by hand, for tests that need ones no server would send.

namespace pgcascade::pgoutput {

struct TestColumn {
    std::string_view name;
    std::uint32_t type_oid = 25;
    bool is_key = false;
};

inline std::string begin_message(std::uint64_t commit_lsn, std::uint32_t xid = 700) {
    return ByteWriter().u8('B').u64(commit_lsn).i64(1'000'000).u32(xid).take();
}

inline std::string commit_message(std::uint64_t commit_lsn, std::uint64_t end_lsn, std::uint8_t flags = 0) {
    return ByteWriter().u8('C').u8(flags).u64(commit_lsn).u64(end_lsn).i64(1'000'000).take();
}

inline std::string origin_message(std::string_view name) {
    return ByteWriter().u8('O').u64(0x99).c_string(name).take();
}

inline std::string type_message(std::uint32_t oid, std::string_view schema, std::string_view name) {
    return ByteWriter().u8('Y').u32(oid).c_string(schema).c_string(name).take();
}

inline std::string relation_message(std::uint32_t oid, std::string_view schema, std::string_view table,
                                    char identity, std::initializer_list<TestColumn> columns) {
    ByteWriter writer;
    writer.u8('R').u32(oid).c_string(schema).c_string(table).u8(static_cast<std::uint8_t>(identity));
    writer.u16(static_cast<std::uint16_t>(columns.size()));
    for (const TestColumn& column : columns)
        writer.u8(column.is_key ? 1 : 0).c_string(column.name).u32(column.type_oid).u32(0xFFFFFFFF);
    return writer.take();
}

// A column of a row: "n", "u", or 't' or 'b' followed by the bytes.
using TestRow = std::initializer_list<std::string_view>;

inline std::string row_bytes(TestRow row) {
    ByteWriter writer;
    writer.u16(static_cast<std::uint16_t>(row.size()));
    for (const std::string_view column : row) {
        writer.u8(static_cast<std::uint8_t>(column[0]));
        if (column[0] != 't' && column[0] != 'b') continue;
        writer.u32(static_cast<std::uint32_t>(column.size() - 1)).bytes(column.substr(1));
    }
    return writer.take();
}

inline std::string insert_message(std::uint32_t oid, TestRow row) {
    return ByteWriter().u8('I').u32(oid).u8('N').bytes(row_bytes(row)).take();
}

inline std::string update_message(std::uint32_t oid, TestRow row) {
    return ByteWriter().u8('U').u32(oid).u8('N').bytes(row_bytes(row)).take();
}

inline std::string update_message(std::uint32_t oid, char old_kind, TestRow old_row, TestRow row) {
    ByteWriter writer;
    writer.u8('U').u32(oid).u8(static_cast<std::uint8_t>(old_kind)).bytes(row_bytes(old_row));
    return writer.u8('N').bytes(row_bytes(row)).take();
}

inline std::string delete_message(std::uint32_t oid, char old_kind, TestRow old_row) {
    return ByteWriter()
        .u8('D')
        .u32(oid)
        .u8(static_cast<std::uint8_t>(old_kind))
        .bytes(row_bytes(old_row))
        .take();
}

inline std::string truncate_message(std::initializer_list<std::uint32_t> oids, std::uint8_t flags) {
    ByteWriter writer;
    writer.u8('T').u32(static_cast<std::uint32_t>(oids.size())).u8(flags);
    for (const std::uint32_t oid : oids) writer.u32(oid);
    return writer.take();
}

inline std::string logical_message(bool transactional, std::uint64_t lsn, std::string_view prefix,
                                   std::string_view content) {
    ByteWriter writer;
    writer.u8('M').u8(transactional ? 1 : 0).u64(lsn).c_string(prefix);
    return writer.u32(static_cast<std::uint32_t>(content.size())).bytes(content).take();
}

}  // namespace pgcascade::pgoutput
