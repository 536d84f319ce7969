#include "postgres/physical_upstream.hpp"

#include <utility>

#include <fmt/format.h>

namespace pgcascade::postgres {

namespace {

// "16MB": the server gives a power of two in the largest unit that takes it whole (guc.c,
// convert_int_from_base_unit).
std::uint64_t parse_segment_size(std::string_view text) {
    constexpr std::uint64_t kMegabyte = std::uint64_t{1} << 20;
    const std::size_t digits = text.find_first_not_of("0123456789");
    if (digits == 0 || digits > 4 || digits == std::string_view::npos)
        throw ProtocolError(fmt::format("\"{}\" is no wal_segment_size", text));
    const auto number = static_cast<std::uint64_t>(std::stoi(std::string{text.substr(0, digits)}));
    const std::string_view unit = text.substr(digits);
    if (unit == "MB") return number * kMegabyte;
    if (unit == "GB") return number * kMegabyte * 1024;
    throw ProtocolError(fmt::format("\"{}\" is no wal_segment_size", text));
}

}  // namespace

PhysicalUpstream open_physical_upstream(const Conninfo& conninfo, int stop_fd,
                                        ReplicationConnection::OnWarning on_warning) {
    PhysicalUpstream upstream;
    upstream.connection = std::make_unique<ReplicationConnection>(
        conninfo, ConnectOptions{.replication = Replication::kPhysical, .stop_fd = stop_fd},
        std::move(on_warning));
    upstream.identity = upstream.connection->identify_system();
    const Result size =
        upstream.connection->commands().command(to_string(protocol::Show{.setting = "wal_segment_size"}));
    if (size.rows() != 1)
        throw ProtocolError(upstream.connection->name() + ": SHOW wal_segment_size was not answered");
    upstream.segment_bytes = parse_segment_size(size.at(0, 0));
    return upstream;
}

std::optional<PhysicalSlotPosition> read_physical_slot(ReplicationConnection& connection,
                                                       const std::string& slot) {
    const Result result =
        connection.commands().command(to_string(protocol::ReadReplicationSlot{.slot = slot}));
    if (result.rows() != 1 || result.columns() < 3)
        throw ProtocolError(connection.name() + ": READ_REPLICATION_SLOT was not answered with one row");
    if (result.is_null(0, 0)) return std::nullopt;
    return PhysicalSlotPosition{result.lsn(0, 1).value_or(Lsn{}),
                                {static_cast<std::uint32_t>(result.integer(0, 2))}};
}

void create_reserving_slot(ReplicationConnection& connection, const std::string& slot) {
    protocol::CreateReplicationSlot command;
    command.slot = slot;
    command.options = {{"reserve_wal", std::nullopt}};
    connection.commands().command(to_string(command));
}

// A server that lacks it says so as of any file that it can't open.
std::optional<std::string> fetch_timeline_history(ReplicationConnection& connection, TimelineId timeline) {
    try {
        const Result result =
            connection.commands().command(to_string(protocol::TimelineHistory{.timeline = timeline}));
        if (result.rows() != 1 || result.columns() != 2)
            throw ProtocolError(connection.name() + ": TIMELINE_HISTORY was not answered with one row");
        return std::string{result.at(0, 1)};
    } catch (const ServerError& refusal) {
        if (refusal.sqlstate() == "58P01") return std::nullopt;
        throw;
    }
}

std::string fetch_own_history(ReplicationConnection& connection, TimelineId timeline) {
    if (timeline.value == 1) return {};
    if (auto content = fetch_timeline_history(connection, timeline)) return *std::move(content);
    throw ServerError(
        fmt::format("{}: the history file of its timeline {} is missing", connection.name(), timeline.value),
        "58P01", "put it back into pg_wal there, from an archive or another server");
}

}  // namespace pgcascade::postgres
