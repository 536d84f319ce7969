#pragma once

#include <atomic>
#include <cstdint>

namespace pgcascade::relay {

// What has come and gone since the relay was started, for operators. Whoever does it counts it, without a
// lock.
struct Traffic {
    std::atomic<bool> is_connected{false};      // to the upstream
    std::atomic<std::uint64_t> connections{0};  // to the upstream, that were made
    std::atomic<std::uint64_t> received_bytes{0};

    // To all sessions that stream it: not where the receiver's thread would wait for that cache line.
    alignas(64) std::atomic<std::uint64_t> sent_bytes{0};

    void on_connected() {
        is_connected = true;
        connections.fetch_add(1, std::memory_order_relaxed);
    }
    void on_received(std::uint64_t bytes) { received_bytes.fetch_add(bytes, std::memory_order_relaxed); }
};

}  // namespace pgcascade::relay
