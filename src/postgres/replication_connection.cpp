#include "postgres/replication_connection.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"

namespace pgcascade::postgres {

using std::chrono::milliseconds;

namespace {

constexpr const char* kStreaming = "streaming";

ConnectOptions for_replication(ConnectOptions options) {
    if (options.replication == Replication::kNone) options.replication = Replication::kDatabase;
    return options;
}

// No network has packets as large as a loopback interface (64 kB), where they can be larger than the receive
// window that many small messages leave: the sender then waits for its persist timer (200 ms) each time. With
// room for a full window of small messages, whose memory is mostly overhead, that window stays. On a network
// the kernel itself finds the right size.
constexpr int kLargestNetworkSegment = 16'384;
constexpr int kRoomOnLoopback = 256 << 10;

void make_room_on_loopback(int socket) {
    int segment = 0;
    socklen_t size = sizeof segment;
    const bool is_tcp = ::getsockopt(socket, IPPROTO_TCP, TCP_MAXSEG, &segment, &size) == 0;
    if (!is_tcp || segment <= kLargestNetworkSegment) return;
    // The kernel gives the double, or what it allows (net.core.rmem_max: Debian's 416 kB are enough), and no
    // longer lets the window grow by itself (ip-sysctl, tcp_rmem). Left at the 64 kB that a connection starts
    // with, the window would hold one packet, and with bbr the sender would take up to twice as long.
    static_cast<void>(::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &kRoomOnLoopback, sizeof kRoomOnLoopback));
    static_cast<void>(
        ::setsockopt(socket, IPPROTO_TCP, TCP_WINDOW_CLAMP, &kRoomOnLoopback, sizeof kRoomOnLoopback));
}

// libpq takes at most what is free in its buffer, 8 kB or more. What is left of an encrypted record (up to 16
// kB) then waits inside the encryption library, where no poll of the socket sees it.
bool holds_decrypted(PGconn* connection) {
    auto* const ssl = static_cast<SSL*>(PQsslStruct(connection, "OpenSSL"));
    return ssl != nullptr && SSL_pending(ssl) > 0;
}

}  // namespace

ReplicationConnection::ReplicationConnection(const Conninfo& conninfo, ConnectOptions options,
                                             OnWarning on_warning)
    : connection_(conninfo, for_replication(std::move(options))), on_warning_(std::move(on_warning)) {
    if (on_warning_) PQsetNoticeReceiver(connection_.native(), take_notice, this);
}

void ReplicationConnection::take_notice(void* self, const PGresult* notice) {
    const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char* message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    if (severity == nullptr || message == nullptr || std::string_view{severity} != "WARNING") return;
    const auto& connection = *static_cast<ReplicationConnection*>(self);
    connection.on_warning_(fmt::format("{}: the server warns: {}", connection.name(), message));
}

SystemIdentity ReplicationConnection::identify_system() {
    const Result result = connection_.command(to_string(protocol::IdentifySystem{}));
    if (result.rows() != 1 || result.columns() < 3)
        throw ProtocolError(name() + ": IDENTIFY_SYSTEM was not answered with one row");
    SystemIdentity identity;
    identity.system_identifier = result.at(0, 0);
    identity.timeline.value = static_cast<std::uint32_t>(result.integer(0, 1));
    identity.flushed = result.lsn(0, 2).value_or(Lsn{});
    return identity;
}

void ReplicationConnection::start(const protocol::StartLogicalReplication& command) {
    const Result result = connection_.command(to_string(command));
    if (PQresultStatus(result.native()) != PGRES_COPY_BOTH)
        throw ProtocolError(name() +
                            ": the server answered START_REPLICATION with something else than a stream");
    make_room_on_loopback(socket());
}

bool ReplicationConnection::start(const protocol::StartPhysicalReplication& command) {
    const Result result = connection_.command(to_string(command));
    // Where nothing is left to be sent it tells the next timeline, and that it is done.
    if (PQresultStatus(result.native()) == PGRES_COMMAND_OK) return false;
    if (PQresultStatus(result.native()) != PGRES_COPY_BOTH)
        throw ProtocolError(name() +
                            ": the server answered START_REPLICATION with something else than a stream");
    streams_wal_ = true;
    return true;
}

NextTimeline ReplicationConnection::end_timeline() {
    timeline_has_ended_ = false;
    if (PQputCopyEnd(connection_.native(), nullptr) < 0 || PQflush(connection_.native()) < 0)
        connection_.throw_error(nullptr, kStreaming);
    std::optional<NextTimeline> next;
    for (;;) {
        const Result result = connection_.next_result(kStreaming);
        if (result.native() == nullptr) break;
        const ExecStatusType status = PQresultStatus(result.native());
        if (status == PGRES_TUPLES_OK && result.rows() == 1 && result.columns() == 2)
            next = {{static_cast<std::uint32_t>(result.integer(0, 0))}, result.lsn(0, 1).value_or(Lsn{})};
        else if (status != PGRES_COMMAND_OK)
            connection_.throw_error(result.native(), kStreaming);
    }
    if (!next) throw ProtocolError(name() + ": the server did not say what follows the end of a timeline");
    return *next;
}

std::optional<std::string_view> ReplicationConnection::receive() {
    char* buffer = nullptr;
    const int length = PQgetCopyData(connection_.native(), &buffer, /*async=*/1);
    message_.reset(buffer);
    if (length > 0) [[likely]]
        return std::string_view{buffer, static_cast<std::size_t>(length)};
    if (length == 0) return std::nullopt;
    if (length == -2) throw_broken();
    if (!timeline_has_ended_) take_end_of_stream();
    return std::nullopt;
}

// A server that ends the stream says so with a result: an error, or, when it shuts down in good order,
// success. Where only the timeline has ended it waits for our end of the copy.
void ReplicationConnection::take_end_of_stream() {
    const Result result = connection_.next_result(kStreaming);
    const ExecStatusType status = PQresultStatus(result.native());
    timeline_has_ended_ = streams_wal_ && status == PGRES_COPY_IN;
    if (timeline_has_ended_) return;
    if (result.native() == nullptr || status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
        connection_.throw_error(result.native(), kStreaming);
    throw ConnectionError(name() + ": the server has ended the stream; it is probably shutting down");
}

// libpq reports a message it can't hold only by its text (fe-misc.c pqCheckInBufferSpace, fe-protocol3.c).
void ReplicationConnection::throw_broken() {
    const std::string_view reason = PQerrorMessage(connection_.native());
    if (reason.find("out of memory") != std::string_view::npos ||
        reason.find("cannot allocate memory") != std::string_view::npos)
        throw Error(name() + ": the next message of the stream is too large for the memory of this process",
                    "a single row must fit in memory two times as it is sent, and a third time as it is "
                    "printed: give this process more memory (ulimit -v, MemoryMax), or leave the column with "
                    "the huge value out of the publication");
    connection_.throw_error(nullptr, kStreaming);
}

int ReplicationConnection::arrived_bytes() const {
    int bytes = 0;
    return ::ioctl(socket(), FIONREAD, &bytes) == 0 ? bytes : 0;
}

void ReplicationConnection::consume_input() {
    PGconn* const native = connection_.native();
    if (PQconsumeInput(native) == 0) [[unlikely]]
        throw_broken();
    while (holds_decrypted(native))
        if (PQconsumeInput(native) == 0) throw_broken();
    // GSSAPI can't be asked: its records are as large, and a second look takes most of what is left.
    if (PQgssEncInUse(native) != 0 && PQconsumeInput(native) == 0) throw_broken();
}

void ReplicationConnection::send_copy(const std::string& bytes) {
    // 0 of PQputCopyData, and 1 of PQflush, mean that it has to wait in libpq's buffer: the next
    // consume_input() or send() sends it.
    if (PQputCopyData(connection_.native(), bytes.data(), static_cast<int>(bytes.size())) < 0 ||
        PQflush(connection_.native()) < 0)
        connection_.throw_error(nullptr, "telling the server the position");
}

bool ReplicationConnection::end(milliseconds timeout) {
    message_.reset();
    if (PQputCopyEnd(connection_.native(), nullptr) < 0 || PQflush(connection_.native()) < 0) return false;
    return drain_until_end(steady_now() + timeout);
}

// Without taking what the server still sends, closing the socket would reset the connection, and the reset
// can overtake the position that was just confirmed.
bool ReplicationConnection::drain_until_end(SteadyTime deadline) {
    PGconn* const native = connection_.native();
    for (bool in_stream = true;;) {
        while (in_stream) {
            char* buffer = nullptr;
            const int length = PQgetCopyData(native, &buffer, /*async=*/1);
            message_.reset(buffer);
            if (length == -2) return false;
            if (length == 0) break;
            in_stream = length > 0;
        }
        while (!in_stream && PQisBusy(native) == 0) {
            const Result result{PQgetResult(native)};
            if (result.native() == nullptr) return true;
            if (PQresultStatus(result.native()) == PGRES_FATAL_ERROR) return false;
        }
        const auto left = std::chrono::ceil<milliseconds>(deadline - steady_now()).count();
        if (left <= 0 || wait_for(socket(), POLLIN, static_cast<int>(left), /*stop_fd=*/-1) == 0)
            return false;
        do
            if (PQconsumeInput(native) == 0) return false;
        while (holds_decrypted(native));
    }
}

}  // namespace pgcascade::postgres
