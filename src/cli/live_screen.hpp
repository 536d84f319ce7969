#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgcascade::cli {

// Standard output as a screen that is redrawn in place. On a terminal it takes the alternate screen and gives
// the former one back, with the cursor, whichever way the scope is left; Ctrl-C is a descriptor here, not a
// death, so that holds for it too. Where there is no terminal, every frame is printed after the last one.
class LiveScreen {
  public:
    LiveScreen();
    ~LiveScreen();
    LiveScreen(const LiveScreen&) = delete;
    LiveScreen& operator=(const LiveScreen&) = delete;

    // Whole lines; on a terminal they are cut to its present size.
    void show(std::string_view frame);

  private:
    bool is_terminal_;
};

// The first `columns` of a line; colours go on to count as none, and end where they are cut.
std::string cut_to_columns(std::string_view line, std::size_t columns);

}  // namespace pgcascade::cli
