#include "cli/table.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include <unistd.h>

#include "base/file.hpp"

namespace pgcascade::cli {

namespace {

const char* escape_code(Colour colour) {
    switch (colour) {
        case Colour::kGood:
            return "\033[32m";
        case Colour::kWarning:
            return "\033[33m";
        case Colour::kBad:
            return "\033[1;31m";
        case Colour::kDim:
            return "\033[2m";
        case Colour::kNone:
            break;
    }
    return "";
}

}  // namespace

bool wants_colour() {
    const char* no_colour = std::getenv("NO_COLOR");
    const char* terminal = std::getenv("TERM");
    if (no_colour != nullptr && *no_colour != '\0') return false;
    if (terminal != nullptr && std::string_view{terminal} == "dumb") return false;
    return ::isatty(STDOUT_FILENO) == 1;
}

std::string coloured(std::string_view text, Colour colour, bool enabled) {
    if (!enabled || colour == Colour::kNone) return std::string{text};
    std::string whole = escape_code(colour);
    return whole.append(text).append("\033[0m");
}

std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
        return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;  // not a continuation byte of UTF-8
    }));
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add_row(std::vector<Cell> cells) {
    if (cells.size() != columns_.size()) throw std::logic_error("a row of a table has the wrong length");
    rows_.push_back(std::move(cells));
}

std::string Table::to_string(bool colour) const {
    std::vector<std::size_t> widths;
    for (std::size_t column = 0; column < columns_.size(); ++column) {
        std::size_t widest = 0;
        for (const auto& row : rows_) widest = std::max(widest, width_of(row[column].text));
        widths.push_back(widest == 0 ? 0 : std::max(widest, width_of(columns_[column].name)));
    }
    std::string text;
    const auto add_line = [&](const std::vector<Cell>& cells) {
        std::string line;
        std::string gap;  // put before the next cell, so that no line ends in spaces
        for (std::size_t column = 0; column < columns_.size(); ++column) {
            if (widths[column] == 0) continue;
            const std::string padding(widths[column] - width_of(cells[column].text), ' ');
            const std::string shown = coloured(cells[column].text, cells[column].colour, colour);
            const bool right = columns_[column].right_aligned;
            if (right) gap += padding;
            if (!cells[column].text.empty()) {
                line += gap + shown;
                gap.clear();
            }
            if (!right) gap += padding;
            gap += "  ";
        }
        text += line + "\n";
    };
    std::vector<Cell> names;
    for (const Column& column : columns_) names.push_back({column.name, Colour::kDim});
    add_line(names);
    for (const auto& row : rows_) add_line(row);
    return text;
}

void print(std::string_view text) {
    write_all(STDOUT_FILENO, text, "standard output");
}

}  // namespace pgcascade::cli
