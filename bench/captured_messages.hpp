#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "golden/golden_file.hpp"

namespace pgcascade::bench {

// The messages of one captured session, apart by how often a server sends them.
struct CapturedMessages {
    std::vector<golden::Message> announcements;  // R and Y: once per relation and session
    std::vector<golden::Message> transactions;   // all others, in whole transactions
    std::size_t rows = 0;                        // inserts, updates and deletes among them
};

inline CapturedMessages read_captured(const std::string& path, const std::string& session_name) {
    CapturedMessages captured;
    for (golden::Session& session : golden::read_sessions(path)) {
        if (session.name != session_name) continue;
        for (golden::Step& step : session.steps)
            for (golden::Message& message : step.messages) {
                const char kind = message.bytes[0];
                if (kind == 'I' || kind == 'U' || kind == 'D') ++captured.rows;
                const bool announces = kind == 'R' || kind == 'Y';
                (announces ? captured.announcements : captured.transactions).push_back(std::move(message));
            }
    }
    if (captured.rows == 0) throw std::runtime_error(path + " has no rows of session " + session_name);
    return captured;
}

}  // namespace pgcascade::bench
