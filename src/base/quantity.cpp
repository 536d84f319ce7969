#include "base/quantity.hpp"

#include <array>

#include <fmt/format.h>

namespace pgcascade {

std::string format_bytes(std::int64_t bytes) {
    static constexpr std::array kUnits{"kB", "MB", "GB", "TB", "PB"};
    if (bytes > -1024 && bytes < 1024) return fmt::format("{} B", bytes);
    double amount = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    // 1023.95 would be printed as 1024.0
    while ((amount >= 1023.95 || amount <= -1023.95) && unit + 1 < kUnits.size()) {
        amount /= 1024;
        ++unit;
    }
    std::string digits = fmt::format("{:.1f}", amount);
    if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
    return digits + " " + kUnits[unit];
}

std::string format_duration(std::chrono::milliseconds duration) {
    struct Unit {
        std::int64_t ms;
        const char* name;
    };
    static constexpr std::array kUnits{Unit{86'400'000, "d"}, Unit{3'600'000, "h"}, Unit{60'000, "min"},
                                       Unit{1'000, "s"}, Unit{1, "ms"}};
    const std::int64_t total = duration.count();
    for (std::size_t i = 0; i + 1 < kUnits.size(); ++i) {
        if (total < kUnits[i].ms) continue;
        const std::int64_t rest = total % kUnits[i].ms / kUnits[i + 1].ms;
        const std::string whole = fmt::format("{} {}", total / kUnits[i].ms, kUnits[i].name);
        const bool worth_telling = rest != 0 && kUnits[i + 1].ms >= 1'000;
        return worth_telling ? fmt::format("{} {} {}", whole, rest, kUnits[i + 1].name) : whole;
    }
    return fmt::format("{} ms", total);
}

}  // namespace pgcascade
