#include "relay/standby_horizon.hpp"

#include <algorithm>

namespace pgcascade::relay {

namespace {

constexpr int kEpochShift = 32;

// Without a number the epoch says nothing.
std::uint64_t full_id(std::uint32_t epoch, std::uint32_t number) {
    return number == 0 ? 0 : (std::uint64_t{epoch} << kEpochShift) | number;
}

std::uint64_t older(std::uint64_t one, std::uint64_t other) {
    if (one == 0 || other == 0) return std::max(one, other);
    return std::min(one, other);
}

}  // namespace

StandbyHorizon StandbyHorizon::of(const protocol::HotStandbyFeedback& feedback) {
    return {full_id(feedback.xmin_epoch, feedback.xmin),
            full_id(feedback.catalog_xmin_epoch, feedback.catalog_xmin)};
}

protocol::HotStandbyFeedback StandbyHorizon::feedback(Timestamp sent_at) const {
    return {.sent_at = sent_at,
            .xmin = static_cast<std::uint32_t>(xmin),
            .xmin_epoch = static_cast<std::uint32_t>(xmin >> kEpochShift),
            .catalog_xmin = static_cast<std::uint32_t>(catalog_xmin),
            .catalog_xmin_epoch = static_cast<std::uint32_t>(catalog_xmin >> kEpochShift)};
}

void StandbyHorizon::include(const StandbyHorizon& other) {
    xmin = older(xmin, other.xmin);
    catalog_xmin = older(catalog_xmin, other.catalog_xmin);
}

}  // namespace pgcascade::relay
