#include "relay/slot_file.hpp"

#include <charconv>
#include <vector>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/crc32c.hpp"

namespace pgcascade::relay {

namespace {

constexpr std::string_view kHeader = "pgcascade slots 4";
constexpr std::string_view kNothing = "-";
constexpr std::size_t kColumns = 14;

std::string closing_line(std::string_view before) {
    return fmt::format("crc32c {:08X}\n", crc32c(before));
}

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
    throw LogCorrupt(fmt::format("{}: {}", file.string(), what),
                     "put the file back from a copy; or remove it, and the relay starts without any slot: "
                     "every subscription and standby that had one must then be made anew");
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t end = text.find(separator);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

std::optional<std::uint64_t> parse_transaction(std::string_view text) {
    const auto number = parse_integer(text);
    if (!number || *number < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*number);
}

bool is_plain(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_';
}

// So that a name is one word, and never "-".
std::string encode(std::string_view name) {
    if (name.empty()) return std::string{kNothing};
    std::string word;
    for (const char byte : name)
        word += is_plain(byte) ? std::string{byte} : fmt::format("%{:02X}", static_cast<unsigned char>(byte));
    return word;
}

std::optional<std::string> decode(std::string_view word) {
    if (word == kNothing) return std::string{};
    std::string name;
    for (std::size_t at = 0; at < word.size(); ++at) {
        if (word[at] != '%') {
            if (!is_plain(word[at])) return std::nullopt;
            name += word[at];
            continue;
        }
        unsigned byte = 0;
        const std::string_view digits = word.substr(at + 1, 2);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
        if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2) return std::nullopt;
        name += static_cast<char>(byte);
        at += 2;
    }
    return name;
}

std::optional<Slot> parse_line(std::string_view line) {
    const std::vector<std::string_view> column = split(line, ' ');
    if (column.size() != kColumns) return std::nullopt;
    const auto is_flag = [](std::string_view text) { return text == "yes" || text == "no"; };
    const bool is_logical = column[1] == "logical";
    const auto database = decode(column[2]);
    const bool has_feed = column[3] != kNothing;
    const auto owner = decode(column[4]);
    const auto position = Lsn::parse(column[5]);
    const auto created = parse_integer(column[8]);
    const auto xmin = parse_transaction(column[10]);
    const auto catalog_xmin = parse_transaction(column[11]);
    const auto left_at = Lsn::parse(column[12]);
    const auto lost = Lsn::parse(column[13]);
    if (!is_slot_name(column[0]) || (!is_logical && column[1] != "physical") || !database || !owner ||
        !position || database->empty() == is_logical ||
        (has_feed && !(is_logical && is_slot_name(column[3]))) || !is_flag(column[6]) ||
        !is_flag(column[7]) || !created || !xmin || !catalog_xmin || !left_at || !lost)
        return std::nullopt;

    Slot slot;
    slot.name = column[0];
    slot.kind = is_logical ? Slot::Kind::kLogical : Slot::Kind::kPhysical;
    slot.database = *database;
    if (has_feed) slot.feed = column[3];
    slot.owner = *owner;
    slot.position = slot.persisted = *position;
    slot.two_phase = column[6] == "yes";
    slot.failover = column[7] == "yes";
    slot.created = from_postgres_time(*created);
    if (column[9] != kNothing) slot.invalidation_reason = column[9];
    slot.left_at = *left_at;
    slot.lost = *lost;
    slot.horizon = slot.persisted_horizon = {*xmin, *catalog_xmin};
    return slot;
}

}  // namespace

std::string to_text(const Slots& slots) {
    const auto word = [](bool flag) { return flag ? "yes" : "no"; };
    const auto or_nothing = [](const std::string& text) { return text.empty() ? kNothing : text; };
    std::string text = fmt::format("{}\n", kHeader);
    for (const auto& [name, slot] : slots) {
        if (slot.temporary) continue;
        text += fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {}\n", name,
                            slot.is_logical() ? "logical" : "physical", encode(slot.database),
                            or_nothing(slot.feed), encode(slot.owner), slot.position.to_string(),
                            word(slot.two_phase), word(slot.failover), to_postgres_time(slot.created),
                            or_nothing(slot.invalidation_reason), slot.horizon.xmin,
                            slot.horizon.catalog_xmin, slot.left_at.to_string(), slot.lost.to_string());
    }
    return text + closing_line(text);
}

Slots parse_slots(std::string_view text, const std::filesystem::path& file) {
    const std::size_t closing_bytes = closing_line("").size();
    if (text.size() < closing_bytes) refuse(file, "it is cut short");
    const std::string_view body = text.substr(0, text.size() - closing_bytes);
    if (text.substr(body.size()) != closing_line(body)) refuse(file, "its checksum is wrong: it is damaged");

    Slots slots;
    const std::vector<std::string_view> lines = split(body, '\n');
    if (lines.front() != kHeader) refuse(file, "it is of another version of pgcascade");
    // Each line has an end, so the last part is empty.
    for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
        const auto slot = parse_line(lines[i]);
        if (!slot || !slots.emplace(slot->name, *slot).second)
            refuse(file, fmt::format("line {} is no slot", i + 1));
    }
    return slots;
}

}  // namespace pgcascade::relay
