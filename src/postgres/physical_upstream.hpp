#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <pgcascade/lsn.hpp>

#include "postgres/replication_connection.hpp"

// What a receiver of WAL asks of a server, or of a relay, before it starts. Source: PostgreSQL manual,
// "Streaming Replication Protocol"; replication/walreceiver.c and bin/pg_basebackup/streamutil.c.

namespace pgcascade::postgres {

struct PhysicalUpstream {
    std::unique_ptr<ReplicationConnection> connection;
    SystemIdentity identity;
    std::uint64_t segment_bytes = 0;  // wal_segment_size
};

// Logs in with replication=true, and asks who it is. `on_warning` as of ReplicationConnection. Throws
// ConnectionError, LoginError, ServerError, ProtocolError, Stopped.
PhysicalUpstream open_physical_upstream(const Conninfo& conninfo, int stop_fd,
                                        ReplicationConnection::OnWarning on_warning);

// What READ_REPLICATION_SLOT tells. Nothing where there is no such slot.
struct PhysicalSlotPosition {
    Lsn restart_lsn;  // 0/0: it reserves nothing yet
    TimelineId timeline;
};
std::optional<PhysicalSlotPosition> read_physical_slot(ReplicationConnection& connection,
                                                       const std::string& slot);

// CREATE_REPLICATION_SLOT … PHYSICAL, with WAL reserved at once.
void create_reserving_slot(ReplicationConnection& connection, const std::string& slot);

// The history file of a timeline, byte for byte. Nothing where the server does not have it.
std::optional<std::string> fetch_timeline_history(ReplicationConnection& connection, TimelineId timeline);

// That of the timeline which the server itself is on; empty for the first one. Throws ServerError where it is
// missing, with what to do.
std::string fetch_own_history(ReplicationConnection& connection, TimelineId timeline);

}  // namespace pgcascade::postgres
