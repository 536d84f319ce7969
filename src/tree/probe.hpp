#pragma once

#include <chrono>

#include "postgres/connection.hpp"
#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"

namespace pgcascade::tree {

struct ProbeOptions {
    std::chrono::milliseconds timeout{5'000};  // of each login and each query
    // All that plan() needs, which takes longer: the replication role is tried at every upstream that needs
    // it, and the program of each server that is down tells its settings.
    bool for_plan = false;
    int stop_fd = -1;
};

// Asks all nodes at once, a thread each, so that it takes as long as the slowest answer. What can't be
// reached or looked at is part of the answer. Throws Stopped.
Observation probe(const Cascade& cascade, const ProbeOptions& options = {});

// Whether that connection string gets in as a walreceiver's would. Throws Stopped.
ReplicationLogin try_replication_login(const postgres::Conninfo& conninfo, postgres::ConnectOptions options);

// What one connection tells; `setting_names` are the settings that are wanted. Throws ServerError,
// ConnectionError, Stopped.
ServerState observe(postgres::Connection& connection, const std::string& replication_user,
                    const std::vector<std::string>& setting_names);

// The same of a relay, which is asked nothing but SHOW and IDENTIFY_SYSTEM.
ServerState observe_relay(postgres::Connection& relay);

// What relays need, from the primary. Throws as observe() does.
RelaySources look_at_relay_sources(postgres::Connection& primary, const Cascade& cascade,
                                   const postgres::ConnectOptions& options);

// The settings that a probe asks every node for: those of any node of the file (who answers knows the type
// and unit for one that is down), and those that plan() has an opinion on.
std::vector<std::string> settings_of_interest(const Cascade& cascade);

}  // namespace pgcascade::tree
