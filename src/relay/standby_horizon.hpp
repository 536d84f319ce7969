#pragma once

#include <cstdint>

#include <pgcascade/change.hpp>

#include "protocol/replication_message.hpp"

namespace pgcascade::relay {

// The oldest transactions whose rows the queries of standbys may still need, as hot_standby_feedback tells
// it. Each is an epoch and a transaction's number, as in a FullTransactionId; 0: none. Source: PostgreSQL,
// replication/walsender.c, ProcessStandbyHSFeedbackMessage.
struct StandbyHorizon {
    std::uint64_t xmin = 0;
    std::uint64_t catalog_xmin = 0;

    bool operator==(const StandbyHorizon&) const = default;

    static StandbyHorizon of(const protocol::HotStandbyFeedback& feedback);
    protocol::HotStandbyFeedback feedback(Timestamp sent_at) const;

    // That of both: the older of each.
    void include(const StandbyHorizon& other);
};

}  // namespace pgcascade::relay
