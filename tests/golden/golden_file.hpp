#pragma once

#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

// Reads what tests/golden/capture.py writes: lines of "= session", "# comment" and "wal_start hex".

namespace pgcascade::golden {

struct Message {
    Lsn wal_start;
    std::string bytes;
};

// The messages of one step, under the SQL that caused them.
struct Step {
    std::string sql;
    std::vector<Message> messages;
};

struct Session {
    std::string name;
    std::vector<Step> steps;
};

inline std::string from_hex(std::string_view digits) {
    std::string bytes;
    bytes.reserve(digits.size() / 2);
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        bytes += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
    return bytes;
}

inline Message parse_message(const std::string& line) {
    const auto space = line.find(' ');
    const auto wal_start = Lsn::parse(std::string_view(line).substr(0, space));
    if (space == std::string::npos || !wal_start) throw std::runtime_error("no golden message: " + line);
    return Message{.wal_start = *wal_start, .bytes = from_hex(std::string_view(line).substr(space + 1))};
}

inline std::vector<Session> read_sessions(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("can't read " + path);
    std::vector<Session> sessions;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("= "))
            sessions.push_back(Session{.name = line.substr(2), .steps = {}});
        else if (sessions.empty())
            continue;  // the head of the file
        else if (line.starts_with("# "))
            sessions.back().steps.push_back(Step{.sql = line.substr(2), .messages = {}});
        else
            sessions.back().steps.back().messages.push_back(parse_message(line));
    }
    return sessions;
}

}  // namespace pgcascade::golden
