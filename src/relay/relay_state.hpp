#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>
#include <prometheus/histogram.h>

#include "relay/bell.hpp"
#include "relay/feed.hpp"
#include "relay/relay_file.hpp"
#include "relay/session_list.hpp"
#include "relay/slot_store.hpp"
#include "relay/tls.hpp"
#include "relay/users_file.hpp"
#include "relay/wal.hpp"

namespace pgcascade::relay {

// What all sessions of a relay share. It outlives them. Any thread; what can change is atomic or has a lock
// of its own.
struct RelayState {
    RelayConfig config;
    SlotStore& slots;
    std::vector<std::unique_ptr<Feed>>& feeds;
    std::unique_ptr<Wal>& wal;                          // null: this relay relays none
    boost::asio::thread_pool& for_disk;                 // what waits for the disk
    boost::asio::thread_pool& for_upstream;             // what waits for an upstream, which may be away
    std::function<void(std::exception_ptr)> fail = {};  // ends the relay; any thread
    std::string scram_key = {};                         // for the secrets of users that do not exist
    std::string life = {};                              // tells this process from those before it

    // Replaced whole on SIGHUP; never null, but for TLS where none is configured.
    std::atomic<std::shared_ptr<const Users>> users{std::make_shared<const Users>()};
    std::atomic<std::shared_ptr<const Tls>> tls{};

    SessionList sessions{};
    std::atomic<int> connections{0};  // those that have not logged in, too
    std::atomic<std::uint64_t> failed_logins{0};

    // How long it takes to bring what was received to disk.
    prometheus::Histogram log_sync_seconds{{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                            0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0}};
};

}  // namespace pgcascade::relay
