#include "relay/slot.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

namespace {

constexpr std::size_t kMostBytes = 63;  // NAMEDATALEN - 1
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789_";

}  // namespace

bool is_slot_name(std::string_view name) {
    return !name.empty() && name.size() <= kMostBytes &&
           name.find_first_not_of(kLetters) == std::string_view::npos;
}

void check_slot_name(std::string_view name) {
    if (is_slot_name(name)) return;
    const auto refuse = [&](const char* problem, const char* sqlstate, const char* hint = "") {
        throw ServerError(fmt::format("replication slot name \"{}\" {}", name, problem), sqlstate, hint);
    };
    if (name.empty()) refuse("is too short", "42602");
    if (name.size() > kMostBytes) refuse("is too long", "42622");
    refuse("contains invalid character", "42602",
           "Replication slot names may only contain lower case letters, numbers, and the underscore "
           "character.");
}

}  // namespace pgcascade::relay
