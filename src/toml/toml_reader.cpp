#include "toml/toml_reader.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"

namespace pgcascade {

namespace {

// Levenshtein's: how many letters to change, add or take away.
std::size_t edit_distance(std::string_view from, std::string_view to) {
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < to.size(); ++j) {
            const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

std::string listed(const std::vector<std::string_view>& words) {
    std::string text;
    for (const std::string_view word : words) text.append(text.empty() ? "" : ", ").append(word);
    return text;
}

int line_of(const toml::key& key) {
    return static_cast<int>(key.source().begin.line);
}

}  // namespace

std::string nearest_word(std::string_view word, const std::vector<std::string_view>& known) {
    std::string_view nearest;
    std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
    for (const std::string_view candidate : known) {
        const std::size_t distance = edit_distance(word, candidate);
        if (distance >= least) continue;
        least = distance;
        nearest = candidate;
    }
    return std::string{nearest};
}

TomlFile::TomlFile(const std::filesystem::path& file) : TomlFile(file, read_file(file)) {}

TomlFile::TomlFile(const std::filesystem::path& file, const std::string& content) : file_(file) {
    try {
        root_ = toml::parse(content, file.string());
    } catch (const toml::parse_error& problem) {
        fail(static_cast<int>(problem.source().begin.line), std::string{problem.description()},
             "the file is TOML, see https://toml.io: [table], key = \"text\", key = 5432, key = true");
    }
}

std::vector<TomlFile::Entry> TomlFile::entries(const toml::table& table) {
    std::vector<Entry> entries;
    for (const auto& [key, value] : table) entries.push_back({std::string{key.str()}, &value, line_of(key)});
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry& left, const Entry& right) { return left.line < right.line; });
    return entries;
}

std::vector<TomlFile::Entry> TomlFile::entries(const toml::table& table, const std::string& where,
                                               const std::vector<std::string_view>& known) const {
    std::vector<Entry> found = entries(table);
    for (const Entry& entry : found) {
        if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
        const std::string nearest = nearest_word(entry.key, known);
        fail(entry.line, fmt::format("unknown key \"{}\" in {}", entry.key, where),
             nearest.empty() ? "known are: " + listed(known)
                             : fmt::format("did you mean \"{}\"? Known are: {}", nearest, listed(known)));
    }
    return found;
}

const toml::table& TomlFile::table(const Entry& entry) const {
    if (!entry.value->is_table()) wrong_type(entry, "a table");
    return *entry.value->as_table();
}

std::vector<TomlFile::Entry> TomlFile::items(const Entry& entry) const {
    if (!entry.value->is_array()) wrong_type(entry, "a list in brackets");
    std::vector<Entry> items;
    for (const toml::node& item : *entry.value->as_array())
        items.push_back({entry.key, &item, static_cast<int>(item.source().begin.line)});
    return items;
}

std::string TomlFile::text(const Entry& entry) const {
    if (!entry.value->is_string()) wrong_type(entry, "a text in quotes");
    const std::string text = entry.value->as_string()->get();
    if (text.empty()) fail(entry.line, fmt::format("\"{}\" must not be empty", entry.key));
    if (text.find('\0') != std::string::npos || text.find('\n') != std::string::npos)
        fail(entry.line, fmt::format("\"{}\" must be one line", entry.key));
    return text;
}

std::int64_t TomlFile::integer(const Entry& entry, std::int64_t lowest, std::int64_t highest) const {
    if (!entry.value->is_integer()) wrong_type(entry, "a whole number without quotes");
    const std::int64_t number = entry.value->as_integer()->get();
    if (number < lowest || number > highest)
        fail(entry.line, fmt::format("\"{}\" is {}, not from {} to {}", entry.key, number, lowest, highest));
    return number;
}

bool TomlFile::boolean(const Entry& entry) const {
    if (!entry.value->is_boolean()) wrong_type(entry, "true or false");
    return entry.value->as_boolean()->get();
}

std::string TomlFile::scalar(const Entry& entry) const {
    if (const auto* text = entry.value->as_string()) {
        if (text->get().find('\0') == std::string::npos && text->get().find('\n') == std::string::npos)
            return text->get();
        fail(entry.line, fmt::format("\"{}\" must be one line", entry.key));
    }
    if (const auto* number = entry.value->as_integer()) return std::to_string(number->get());
    if (const auto* number = entry.value->as_floating_point()) return fmt::format("{}", number->get());
    if (const auto* flag = entry.value->as_boolean()) return flag->get() ? "on" : "off";
    wrong_type(entry, "a text, a number, or true or false");
}

void TomlFile::wrong_type(const Entry& entry, const std::string& wanted) const {
    std::string found = fmt::format(
        "{}", toml::impl::node_type_friendly_names[static_cast<std::size_t>(entry.value->type())]);
    fail(entry.line, fmt::format("\"{}\" must be {}, not {}", entry.key, wanted, found));
}

void TomlFile::fail(int line, const std::string& what, const std::string& hint) const {
    throw ConfigError(fmt::format("{}:{}: {}", file_.string(), line, what), hint);
}

}  // namespace pgcascade
