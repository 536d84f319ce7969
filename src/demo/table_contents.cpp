#include "demo/table_contents.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "protocol/replication_command.hpp"

namespace pgcascade::demo {

namespace {

// The columns of the primary key, in the table's order.
std::vector<std::string> key_columns(postgres::Connection& connection, const std::string& table) {
    const postgres::Result rows = connection.query(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY "
        "(i.indkey) "
        "WHERE i.indrelid = $1::regclass AND i.indisprimary ORDER BY a.attnum",
        {protocol::quote_identifier(table)});
    std::vector<std::string> columns;
    for (int row = 0; row < rows.rows(); ++row) columns.emplace_back(rows.at(row, 0));
    if (columns.empty()) throw Error("table " + table + " has no primary key");
    return columns;
}

TableRows read_rows(postgres::Connection& connection, const std::string& table) {
    const std::vector<std::string> key = key_columns(connection, table);
    const postgres::Result result = connection.query("SELECT * FROM " + protocol::quote_identifier(table));
    std::vector<int> key_positions;
    for (const std::string& column : key)
        key_positions.push_back(PQfnumber(result.native(), protocol::quote_identifier(column).c_str()));
    TableRows rows;
    for (int row = 0; row < result.rows(); ++row) {
        RowText key_values;
        RowText values;
        for (const int column : key_positions) key_values.push_back(result.text(row, column));
        for (int column = 0; column < result.columns(); ++column) values.push_back(result.text(row, column));
        rows.emplace(std::move(key_values), std::move(values));
    }
    return rows;
}

}  // namespace

Contents read_contents(postgres::Connection& connection, const std::vector<std::string>& tables) {
    Contents contents;
    for (const std::string& table : tables) contents.emplace(table, read_rows(connection, table));
    return contents;
}

Digests read_digests(postgres::Connection& connection, const std::vector<std::string>& tables) {
    Digests digests;
    for (const std::string& table : tables) {
        std::vector<std::string> order;
        for (const std::string& column : key_columns(connection, table))
            order.push_back(protocol::quote_identifier(column));
        const postgres::Result row = connection.query(fmt::format(
            "SELECT count(*), md5(coalesce(string_agg(md5(t::text), '' ORDER BY {}), '')) FROM {} t",
            fmt::join(order, ", "), protocol::quote_identifier(table)));
        digests.emplace(table, Digest{row.integer(0, 0), std::string{row.at(0, 1)}});
    }
    return digests;
}

}  // namespace pgcascade::demo
