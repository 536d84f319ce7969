#pragma once

#include <compare>
#include <cstdint>

namespace pgcascade::log {

// A byte of a feed: how many bytes of frames came before it since the feed began. It only grows, over all
// segments, and survives restarts; a feed's readers and writer name places by it.
struct FeedPosition {
    std::uint64_t value = 0;

    constexpr auto operator<=>(const FeedPosition&) const = default;
};

constexpr FeedPosition operator+(FeedPosition position, std::uint64_t bytes) {
    return {position.value + bytes};
}

// `to` must not lie behind `from`.
constexpr std::uint64_t bytes_between(FeedPosition from, FeedPosition to) {
    return to.value - from.value;
}

}  // namespace pgcascade::log
