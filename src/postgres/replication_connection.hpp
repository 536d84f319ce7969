#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/lsn.hpp>

#include "postgres/connection.hpp"
#include "protocol/replication_command.hpp"
#include "protocol/replication_message.hpp"

// A replication connection: replication commands (and SQL, where it is a logical one) until start(), from
// then on the messages of the stream, both ways. One thread at a time; nothing but end() waits once the
// stream runs. Source: PostgreSQL manual, "Streaming Replication Protocol" and "Functions Associated with the
// COPY Command".

namespace pgcascade::postgres {

struct SystemIdentity {
    std::string system_identifier;
    TimelineId timeline;
    Lsn flushed;  // where the server's WAL ends; on a standby what it can send
};

// Where a historic timeline ends, and which one goes on from there.
struct NextTimeline {
    TimelineId timeline;
    Lsn switch_point;
};

class ReplicationConnection {
  public:
    using OnWarning = std::function<void(const std::string& text)>;

    // Logs in with replication=true where options.replication is kPhysical, with replication=database
    // otherwise. Throws as Connection does.
    // `on_warning`, which may be null, is told what the server warns of, within whichever call takes it in.
    explicit ReplicationConnection(const Conninfo& conninfo, ConnectOptions options = {},
                                   OnWarning on_warning = nullptr);
    ReplicationConnection(const ReplicationConnection&) = delete;  // libpq holds a pointer into it
    ReplicationConnection& operator=(const ReplicationConnection&) = delete;

    // For everything before start().
    Connection& commands() { return connection_; }

    SystemIdentity identify_system();

    // START_REPLICATION. Throws ServerError where the server refuses.
    void start(const protocol::StartLogicalReplication& command);

    // The same for WAL. False where the timeline that was asked for ends just there: nothing was started.
    bool start(const protocol::StartPhysicalReplication& command);

    // The server has sent all of the timeline, which is a historic one: receive() gives nothing more, and
    // end_timeline() tells what follows. Commands can be sent again after that, and start() called. Throws
    // ServerError, ConnectionError.
    bool timeline_has_ended() const { return timeline_has_ended_; }
    NextTimeline end_timeline();

    // The next CopyData message that libpq holds whole; nothing where it holds none. The view lives until the
    // next call. Throws ServerError for an error that ended the stream, ConnectionError where the connection
    // or the stream has ended, Error for a message that memory can't hold.
    std::optional<std::string_view> receive();

    // What consume_input() would find, as it comes over the network.
    int arrived_bytes() const;

    // Takes from the socket what is there, without waiting. Throws as receive() does.
    void consume_input();

    // Throws ConnectionError.
    void send(const protocol::StandbyStatusUpdate& update) { send_copy(to_bytes(update)); }
    void send(const protocol::HotStandbyFeedback& feedback) { send_copy(to_bytes(feedback)); }

    // Ends the stream in good order: tells the server, and takes what it still sends until it has ended its
    // side too and so has let go of the slot. False where that did not happen in time or the connection
    // broke.
    bool end(std::chrono::milliseconds timeout);

    int socket() const { return connection_.socket(); }
    const std::string& name() const { return connection_.name(); }

  private:
    struct FreeMemory {
        void operator()(char* memory) const { PQfreemem(memory); }
    };

    static void take_notice(void* self, const PGresult* notice);
    void take_end_of_stream();
    [[noreturn]] void throw_broken();
    bool drain_until_end(std::chrono::steady_clock::time_point deadline);
    void send_copy(const std::string& bytes);

    Connection connection_;
    OnWarning on_warning_;
    std::unique_ptr<char, FreeMemory> message_;
    bool streams_wal_ = false;
    bool timeline_has_ended_ = false;
};

}  // namespace pgcascade::postgres
