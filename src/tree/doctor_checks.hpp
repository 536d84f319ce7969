#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tree/doctor.hpp"

// The checks of the doctor: each looks at one server, in the survey that it belongs to, and adds what it
// finds. Only check_reachable is called for a server that did not answer.

namespace pgcascade::tree {

class Findings {
  public:
    struct Words {
        std::string what;
        std::string why;
        std::string mend;
    };

    void problem(std::string_view check, const Patient& server, Words words);
    void advice(std::string_view check, const Patient& server, Words words);

    std::vector<Finding> take() { return std::move(found_); }

  private:
    std::vector<Finding> found_;
};

using Check = void(const Patient& server, const Survey& survey, Findings& findings);

// doctor_access.cpp: who gets in, and may what.
Check check_reachable;
Check check_replication_right;
Check check_replication_login;
Check check_snapshot_right;

// doctor_settings.cpp: the server for itself.
Check check_version;
Check check_wal_level;
Check check_free_slots;
Check check_free_wal_senders;
Check check_timeouts;
Check check_durability;
Check check_idle_slot_timeout;

// doctor_standby.cpp: a standby and its upstreams.
Check check_upstream_is_known;  // for a relay too
Check check_streaming;
Check check_replay;
Check check_slot_on_upstream;
Check check_feedback;
Check check_capacity_settings;
Check check_slot_synchronization;
Check check_restore_from_archive;

// doctor_slots.cpp: slots, and what is decoded.
Check check_invalidated_slots;
Check check_idle_slots;
Check check_slots_near_limit;
Check check_synchronized_standby_slots;
Check check_publications;
Check check_replica_identity;

// doctor_relay.cpp: a relay, for which only these are called.
Check check_relay_receives;
Check check_relay_slots;
Check check_relay_log;

// ── for the checks ─────────────────────────────────────────────────────────────────────────────────────────

// A standby that could decode, were everything else well.
bool can_have_logical_slots(const Patient& server);

// Empty where the server has no such setting, or does not show it to this role.
std::string setting(const Patient& server, const std::string& name);
std::optional<long long> number(const Patient& server, const std::string& name);

// "ALTER SYSTEM SET name = value; SELECT pg_reload_conf();"
std::string set_and_reload(const std::string& name, const std::string& value);

// "ALTER SYSTEM SET name = value; then restart …"; without the first part where the files say so already.
std::string set_and_restart(const Patient& server, const std::string& name, const std::string& value);

}  // namespace pgcascade::tree
