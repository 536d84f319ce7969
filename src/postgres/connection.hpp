#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <libpq-fe.h>

#include <pgcascade/error.hpp>
#include <pgcascade/lsn.hpp>

#include "postgres/conninfo.hpp"

// A connection to a real server over libpq. Every wait for the server ends at the time-out, or with Stopped
// when the stop descriptor gets readable. Two things block, as libpq does them in one call: a host's name is
// looked up for as long as the resolver takes (resolv.conf, 5 s a try by default), and cancel() waits without
// end. One thread at a time.

namespace pgcascade::postgres {

// What a query gave. Cells are text.
class Result {
  public:
    explicit Result(PGresult* result) : result_(result, PQclear) {}

    int rows() const { return PQntuples(result_.get()); }
    int columns() const { return PQnfields(result_.get()); }
    bool is_null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }

    // Empty for null.
    std::string_view at(int row, int column) const;
    std::optional<std::string> text(int row, int column) const;
    bool boolean(int row, int column) const { return at(row, column) == "t"; }
    std::int64_t integer(int row, int column) const;    // 0 for null; throws ProtocolError for no number
    std::optional<Lsn> lsn(int row, int column) const;  // throws ProtocolError for no LSN

    PGresult* native() const { return result_.get(); }

  private:
    std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

enum class Replication { kNone, kPhysical, kDatabase };

struct ConnectOptions {
    Replication replication = Replication::kNone;
    std::string name = {};  // how messages call the server: a node's name; empty: host and port
    std::chrono::milliseconds timeout{10'000};  // of each query, and of the login; 0: none
    int stop_fd = -1;
};

// A server that is there and takes no connections yet, or no more: it is starting up, shutting down or not
// yet consistent.
class NotReadyError : public ConnectionError {
  public:
    using ConnectionError::ConnectionError;
};

class Connection {
  public:
    // connect_timeout of the connection string, of a service or of PGCONNECT_TIMEOUT stands above the
    // time-out of the options. It counts for each host; a silent one is passed by where there are others.
    // A passfile that the connection string names is read instead of PGPASSWORD: who wrote it there meant
    // this server. Throws ConnectionError where nobody answers (NotReadyError: not yet), LoginError where we
    // are not let in, each with the hint that mends it.
    explicit Connection(const Conninfo& conninfo, ConnectOptions options = {});
    Connection(const Connection&) = delete;  // libpq holds a pointer into it, for notices
    Connection& operator=(const Connection&) = delete;

    // One statement, with parameters $1… as text (not on a replication connection, which takes only simple
    // queries). Throws ServerError (with the server's message, detail, hint and SQLSTATE) or ConnectionError.
    Result query(const std::string& sql, std::initializer_list<std::string_view> parameters = {});

    // As query(), by the simple protocol: replication commands, and SQL on a logical replication connection.
    // Returns the last result.
    Result command(const std::string& sql);

    // command() that may wait for long: `while_waiting` is called every `interval` until the answer comes.
    Result command(const std::string& sql, std::chrono::milliseconds interval,
                   const std::function<void()>& while_waiting);

    // Ends a statement that an exception (of a time-out, of `while_waiting`, Stopped) left under way, and
    // takes the rest of its answer; the connection can be used again. True where the statement had succeeded
    // before the request reached it. The request goes to where the server answered last; libpq waits for it
    // without end.
    bool cancel();

    // `conninfo`, by which this connection was made, narrowed to the very server that it reached: more than
    // one host may stand in it.
    Conninfo pinned(const Conninfo& conninfo) const;

    // The text as an SQL literal, quotes included: for command(), which takes no parameters.
    std::string literal(std::string_view text) const;

    int server_version() const { return PQserverVersion(connection_.get()); }  // 150018 for 15.18
    std::string parameter(const char* name) const;  // a ParameterStatus value; empty where there is none
    const std::string& name() const { return name_; }
    int stop_fd() const { return options_.stop_fd; }
    void set_timeout(std::chrono::milliseconds timeout) { options_.timeout = timeout; }

    PGconn* native() const { return connection_.get(); }
    int socket() const { return PQsocket(connection_.get()); }

    // An error of the last result or of the connection as the exception that fits.
    [[noreturn]] void throw_error(const PGresult* result, const std::string& while_doing) const;

    // Waits until the next result is whole; null when the statement is over. An error result is returned, not
    // thrown.
    Result next_result(const std::string& while_doing);

  private:
    friend class CleaningUp;
    void log_in(const Conninfo& conninfo);
    void flush(const std::string& while_doing);
    Result last_result(const std::string& sql);

    ConnectOptions options_;
    std::string name_;
    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

// While it lives, the connection ignores the stop descriptor and waits at most `patience` for an answer: for
// undoing, after Stopped, what was begun on the server.
class CleaningUp {
  public:
    CleaningUp(Connection& connection, std::chrono::milliseconds patience);
    ~CleaningUp();
    CleaningUp(const CleaningUp&) = delete;
    CleaningUp& operator=(const CleaningUp&) = delete;

  private:
    Connection& connection_;
    std::chrono::milliseconds timeout_;
    int stop_fd_;
};

}  // namespace pgcascade::postgres
