#include "cli/progress_bar.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/diagnostics.hpp"
#include "base/quantity.hpp"

namespace pgcascade::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kRedrawEvery{100};
constexpr seconds kLineEvery{10};
constexpr seconds kRateOver{5};
constexpr std::size_t kMinBarColumns = 10;
constexpr std::size_t kMaxBarColumns = 40;
constexpr std::string_view kClearLine = "\r\x1b[K";

double fraction(const Progress& progress) {
    if (progress.total_bytes == 0) return 0;
    return std::min(1.0,
                    static_cast<double>(progress.done_bytes) / static_cast<double>(progress.total_bytes));
}

std::string figures(const Progress& progress) {
    std::string text = fmt::format("{:.0f} %, {} of {}", fraction(progress) * 100,
                                   format_bytes(static_cast<std::int64_t>(progress.done_bytes)),
                                   format_bytes(static_cast<std::int64_t>(progress.total_bytes)));
    if (progress.bytes_per_second < 1) return text;
    const std::uint64_t left = progress.total_bytes - std::min(progress.done_bytes, progress.total_bytes);
    text += fmt::format(", {}/s", format_bytes(static_cast<std::int64_t>(progress.bytes_per_second)));
    if (left == 0) return text;
    const std::chrono::duration<double> time_left{static_cast<double>(left) / progress.bytes_per_second};
    return text + fmt::format(", {} left", format_duration(std::chrono::ceil<seconds>(time_left)));
}

std::size_t terminal_columns() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// What is shown can't be told about a standard error that takes nothing.
void draw(std::string_view text) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

std::string progress_text(const Progress& progress) {
    if (progress.total_bytes == 0) return progress.label + ": waiting for the server";
    return progress.label + ": " + figures(progress);
}

std::string progress_line(const Progress& progress, std::size_t columns) {
    const std::string text = progress_text(progress);
    const std::size_t around = std::string_view{" []"}.size();
    if (progress.total_bytes == 0 || text.size() + around + kMinBarColumns > columns)
        return text.substr(0, columns);
    const std::size_t width = std::min(kMaxBarColumns, columns - text.size() - around);
    const auto filled = static_cast<std::size_t>(fraction(progress) * static_cast<double>(width));
    std::string bar(filled, '=');
    if (filled < width) bar += '>';
    bar.resize(width, ' ');
    return fmt::format("{}: [{}] {}", progress.label, bar, figures(progress));
}

ProgressBar::ProgressBar(std::string label)
    : progress_{.label = std::move(label)},
      is_terminal_(::isatty(STDERR_FILENO) == 1 && diagnostics::is_text()) {}

ProgressBar::~ProgressBar() {
    if (is_drawn_) draw(kClearLine);
}

void ProgressBar::update(std::uint64_t done_bytes, std::uint64_t total_bytes) {
    const SteadyTime time = steady_now();
    progress_.done_bytes = done_bytes;
    progress_.total_bytes = total_bytes;
    if (samples_.empty() || time - samples_.back().time >= kRedrawEvery)
        samples_.push_back({time, done_bytes});
    while (samples_.size() > 2 && time - samples_.front().time > kRateOver) samples_.pop_front();
    const std::chrono::duration<double> span = time - samples_.front().time;
    if (span >= kRedrawEvery)
        progress_.bytes_per_second =
            static_cast<double>(done_bytes - std::min(done_bytes, samples_.front().done_bytes)) /
            span.count();
    show(time);
}

void ProgressBar::show(SteadyTime time) {
    if (!diagnostics::shows_info()) return;
    // The first line on no terminal comes after a while: short work needs none.
    if (!shown_at_ && !is_terminal_) shown_at_ = time;
    if (shown_at_ &&
        time - *shown_at_ < (is_terminal_ ? milliseconds{kRedrawEvery} : milliseconds{kLineEvery}))
        return;
    shown_at_ = time;
    if (!is_terminal_) return diagnostics::info(progress_text(progress_));
    is_drawn_ = true;
    draw(std::string{kClearLine} + progress_line(progress_, terminal_columns() - 1));
}

}  // namespace pgcascade::cli
