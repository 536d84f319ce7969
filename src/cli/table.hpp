#pragma once

#include <string>
#include <string_view>
#include <vector>

// Columns of text for people, on standard output.

namespace pgcascade::cli {

enum class Colour { kNone, kGood, kWarning, kBad, kDim };

// True where standard output is a terminal that wants colours: not NO_COLOR, not TERM=dumb.
bool wants_colour();

// The text in that colour, or as it is where no colour is wanted.
std::string coloured(std::string_view text, Colour colour, bool enabled);

// Columns on a terminal, as far as a font of fixed width has them: one for each code point.
std::size_t width_of(std::string_view text);

struct Cell {
    std::string text;
    Colour colour = Colour::kNone;
};

class Table {
  public:
    struct Column {
        std::string name;
        bool right_aligned = false;  // numbers
    };

    explicit Table(std::vector<Column> columns);

    // As many cells as there are columns.
    void add_row(std::vector<Cell> cells);

    // With a line of names above; a column that is empty in every row is left out.
    std::string to_string(bool colour) const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<Cell>> rows_;
};

// Writes to standard output; throws SystemError where the reader is gone or the disk is full.
void print(std::string_view text);

}  // namespace pgcascade::cli
