#include "postgres/base_backup_stream.hpp"

#include <numeric>

#include <fmt/format.h>
#include <poll.h>

#include "base/stop_signal.hpp"
#include "protocol/replication_command.hpp"

namespace pgcascade::postgres {

namespace {

constexpr const char* kDoing = "base backup";

// WAIT 0: the WAL up to the backup's end is kept by a slot, so nobody has to wait until it is archived.
std::string command_text(const std::string& label) {
    return to_string(protocol::BaseBackup{{{"label", label},
                                           {"progress", {}},
                                           {"checkpoint", "fast"},
                                           {"wait", "0"},
                                           {"manifest", "yes"},
                                           {"manifest_checksums", "CRC32C"},
                                           {"target", "client"}}});
}

Result next_result(Connection& connection, ExecStatusType wanted) {
    Result result = connection.next_result(kDoing);
    const ExecStatusType status = PQresultStatus(result.native());
    if (status == PGRES_FATAL_ERROR || PQstatus(connection.native()) != CONNECTION_OK)
        connection.throw_error(result.native(), kDoing);
    if (status != wanted)
        throw ProtocolError(fmt::format("{}: {}: the server answered with {} where {} belongs",
                                        connection.name(), kDoing, PQresStatus(status), PQresStatus(wanted)));
    return result;
}

// A row of (LSN text, timeline), which stands before the archives and after them.
Lsn position_of(Connection& connection, const Result& result) {
    const auto position =
        result.rows() == 1 && result.columns() >= 2 ? result.lsn(0, 0) : std::optional<Lsn>{};
    if (!position)
        throw ProtocolError(fmt::format("{}: {}: no WAL position in the answer", connection.name(), kDoing));
    return *position;
}

}  // namespace

BaseBackupStream::BaseBackupStream(Connection& connection, const std::string& label)
    : connection_(connection) {
    connection_.set_timeout(std::chrono::milliseconds{0});
    if (PQsendQuery(connection_.native(), command_text(label).c_str()) == 0)
        connection_.throw_error(nullptr, kDoing);
    read_header();
}

void BaseBackupStream::read_header() {
    const Result position = next_result(connection_, PGRES_TUPLES_OK);
    start_ = position_of(connection_, position);
    timeline_ = TimelineId{static_cast<std::uint32_t>(position.integer(0, 1))};

    // spcoid | spclocation | size in KiB; null, null for the data directory itself
    const Result archives = next_result(connection_, PGRES_TUPLES_OK);
    if (archives.columns() < 3)
        throw ProtocolError(fmt::format("{}: {}: no list of tablespaces", connection_.name(), kDoing));
    for (int row = 0; row < archives.rows(); ++row) {
        const auto bytes = static_cast<std::uint64_t>(archives.integer(row, 2)) * 1024;
        if (archives.is_null(row, 0))
            main_bytes_ = bytes;
        else
            tablespaces_.push_back(
                {std::string{archives.at(row, 0)}, std::string{archives.at(row, 1)}, bytes});
    }
    next_result(connection_, PGRES_COPY_OUT);
}

std::uint64_t BaseBackupStream::total_bytes() const {
    return std::accumulate(tablespaces_.begin(), tablespaces_.end(), main_bytes_,
                           [](std::uint64_t sum, const BackupTablespace& each) { return sum + each.bytes; });
}

// Leaves the next message in message_; false at the end of the copy.
bool BaseBackupStream::receive() {
    while (!message_ && !has_ended_) {
        char* bytes = nullptr;
        const int size = PQgetCopyData(connection_.native(), &bytes, 1);
        buffer_.reset(bytes);
        has_ended_ = size == -1;  // or broken off by an error, which finish() will meet
        if (size < -1) connection_.throw_error(nullptr, kDoing);
        if (size > 0) message_ = protocol::parse_backup_message({bytes, static_cast<std::size_t>(size)});
        if (size != 0) continue;
        wait_for(connection_.socket(), POLLIN, -1, connection_.stop_fd());
        if (PQconsumeInput(connection_.native()) == 0) connection_.throw_error(nullptr, kDoing);
    }
    return message_.has_value();
}

BaseBackupStream::Part BaseBackupStream::next_part() {
    while (receive()) {
        if (const auto* archive = std::get_if<protocol::BackupArchiveStart>(&*message_)) {
            archive_location_ = archive->tablespace_location;
            message_.reset();
            return Part::kArchive;
        }
        const bool is_manifest = std::holds_alternative<protocol::BackupManifestStart>(*message_);
        message_.reset();
        if (is_manifest) return Part::kManifest;
    }
    return Part::kEnd;
}

std::string_view BaseBackupStream::read() {
    while (receive()) {
        if (const auto* data = std::get_if<protocol::BackupData>(&*message_)) {
            const std::string_view bytes = data->bytes;
            message_.reset();
            if (!bytes.empty()) return bytes;
        } else if (std::holds_alternative<protocol::BackupProgress>(*message_)) {
            message_.reset();  // what has arrived is counted here anyway
        } else {
            return {};
        }
    }
    return {};
}

Lsn BaseBackupStream::finish() {
    const Lsn end = position_of(connection_, next_result(connection_, PGRES_TUPLES_OK));
    next_result(connection_, PGRES_COMMAND_OK);
    return end;
}

}  // namespace pgcascade::postgres
