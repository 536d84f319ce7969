#pragma once

#include <string>
#include <string_view>

#include <pgcascade/change.hpp>

#include "base/diagnostics.hpp"

namespace pgcascade::diagnostics {

// One message as programs read it. docs/commands.md is the reference.
struct Message {
    Timestamp time;
    std::string_view level;  // "debug", "info", "warning", "error"
    std::string_view text;
    std::string_view hint = {};
    const Fields& fields;
};

// One object, without a line break, whatever bytes are in the texts: those that are no UTF-8 become U+FFFD.
// What is empty is left out.
std::string to_json(const Message& message);

}  // namespace pgcascade::diagnostics
