#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "postgres/connection.hpp"

// The rows of the demo's tables: as a server has them now, and as its digest.

namespace pgcascade::demo {

// The values of a row as text, in the order of the table's columns; nothing: null.
using RowText = std::vector<std::optional<std::string>>;

// By the values of the key.
using TableRows = std::map<RowText, RowText>;

// By table.
using Contents = std::map<std::string, TableRows>;

// All rows of these tables.
Contents read_contents(postgres::Connection& connection, const std::vector<std::string>& tables);

// What two servers can be compared by: the number of rows, and a checksum over all of them in the order of
// the key.
struct Digest {
    std::int64_t rows = 0;
    std::string checksum;

    bool operator==(const Digest&) const = default;
};
using Digests = std::map<std::string, Digest>;

// Computed by the server.
Digests read_digests(postgres::Connection& connection, const std::vector<std::string>& tables);

}  // namespace pgcascade::demo
