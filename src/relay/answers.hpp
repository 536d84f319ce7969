#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/error.hpp>
#include <pgcascade/lsn.hpp>

#include "protocol/backend_message.hpp"
#include "protocol/replication_command.hpp"
#include "relay/slot_store.hpp"
#include "relay/upstream_facts.hpp"

// What the relay answers to replication commands in its own right, as a walsender does. Each function appends
// a whole answer but for ReadyForQuery. Pure. Source: PostgreSQL manual, "Streaming Replication Protocol";
// replication/walsender.c.

namespace pgcascade::relay {

void append_identify_system(std::string& out, const UpstreamFacts& facts, Lsn position,
                            const std::string& database);
void append_timeline_history(std::string& out, TimelineId timeline, std::string_view content);

// What START_REPLICATION … PHYSICAL says where a timeline has ended that another one follows.
void append_next_timeline(std::string& out, TimelineId timeline, Lsn switch_point);

void append_show(std::string& out, const std::string& setting, const std::string& value);
void append_created_slot(std::string& out, const Slot& slot, const std::optional<std::string>& snapshot);

// As READ_REPLICATION_SLOT: nulls where there is no such slot.
void append_read_slot(std::string& out, const std::optional<Slot>& slot, TimelineId timeline);

// True for the statement by which PostgreSQL's clients secure their search path; append_search_path()
// answers.
bool is_search_path_reset(std::string_view sql);
void append_search_path_reset(std::string& out);

// The slot that a standby asks for, by SQL, before it synchronizes failover slots with its upstream; nothing
// where that is another statement. The answer makes it say, as behind any standby, that it can't. Source:
// replication/logical/slotsync.c, validate_remote_info.
std::optional<std::string> slot_of_synchronization(std::string_view sql);
void append_slot_synchronization(std::string& out, bool slot_exists);

// An error as the client is told it.
protocol::Report report_of(const Error& problem, const char* severity = "ERROR");

// What CREATE_REPLICATION_SLOT and ALTER_REPLICATION_SLOT ask for, checked as a walsender does it
// (parseCreateReplSlotOptions, ParseAlterReplSlotOptions). Throw ServerError.
struct CreateSlotOptions {
    enum class Snapshot { kExport, kNothing, kUse };
    Snapshot snapshot = Snapshot::kExport;
    bool names_snapshot = false;  // false: that is the default
    bool reserve_wal = false;
    bool two_phase = false;
    bool failover = false;
};
CreateSlotOptions read_options(const protocol::CreateReplicationSlot& command);
SlotChange read_options(const protocol::AlterReplicationSlot& command);

// What START_REPLICATION … LOGICAL asks of pgoutput, checked as pgoutput does it. Throws ServerError.
struct PgoutputOptions {
    std::vector<std::string> publications;
    bool only_local = false;  // origin 'none'
    bool messages = false;
};
PgoutputOptions read_pgoutput_options(const std::vector<protocol::CommandOption>& options);

}  // namespace pgcascade::relay
