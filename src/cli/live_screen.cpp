#include "cli/live_screen.hpp"

#include <algorithm>

#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/table.hpp"

namespace pgcascade::cli {

namespace {

// Source: XTerm Control Sequences (ctlseqs), CSI and DEC private modes 25 and 1049.
constexpr const char* kEnter = "\033[?1049h\033[?25l";
constexpr const char* kLeave = "\033[?25h\033[?1049l";
constexpr const char* kHome = "\033[H";
constexpr const char* kClearLine = "\033[K";
constexpr const char* kClearBelow = "\033[J";
constexpr const char* kPlain = "\033[0m";

struct Size {
    std::size_t rows = 24;
    std::size_t columns = 80;
};

Size terminal_size() {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return {};
    return {size.ws_row, size.ws_col};
}

bool continues_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

}  // namespace

std::string cut_to_columns(std::string_view line, std::size_t columns) {
    std::size_t used = 0;
    bool is_coloured = false;
    for (std::size_t at = 0; at < line.size(); ++at) {
        if (line[at] == '\033') {
            at = std::min(line.find('m', at), line.size() - 1);
            is_coloured = true;
        } else if (!continues_character(line[at]) && ++used > columns) {
            return std::string{line.substr(0, at)} + (is_coloured ? kPlain : "");
        }
    }
    return std::string{line};
}

LiveScreen::LiveScreen() : is_terminal_(::isatty(STDOUT_FILENO) == 1) {
    if (is_terminal_) print(kEnter);
}

LiveScreen::~LiveScreen() {
    // A terminal that is gone needs nothing given back.
    if (is_terminal_) [[maybe_unused]]
        const ssize_t written = ::write(STDOUT_FILENO, kLeave, std::string_view{kLeave}.size());
}

void LiveScreen::show(std::string_view frame) {
    if (!is_terminal_) {
        print(frame);
        return;
    }
    const Size size = terminal_size();
    std::string drawn = kHome;
    for (std::size_t row = 0; row < size.rows && !frame.empty(); ++row) {
        const std::size_t end = std::min(frame.find('\n'), frame.size());
        if (row > 0) drawn += "\r\n";
        drawn += cut_to_columns(frame.substr(0, end), size.columns) + kClearLine;
        frame.remove_prefix(std::min(end + 1, frame.size()));
    }
    print(drawn + kClearBelow);
}

}  // namespace pgcascade::cli
