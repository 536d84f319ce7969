#include "postgres/connection.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poll.h>

#include "base/clock.hpp"
#include "base/diagnostics.hpp"
#include "base/stop_signal.hpp"
#include "postgres/host_list.hpp"
#include "postgres/login_failure.hpp"

namespace pgcascade::postgres {

using std::chrono::milliseconds;

namespace {

std::string trimmed(const char* text) {
    std::string line = text != nullptr ? text : "";
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
    return line;
}

std::string field(const PGresult* result, int code) {
    const char* text = PQresultErrorField(result, code);
    return text != nullptr ? text : "";
}

std::string address(const Conninfo& conninfo) {
    const std::string host = conninfo.get("host").value_or(conninfo.get("hostaddr").value_or(""));
    const std::string port = conninfo.get("port").value_or("");
    if (host.empty() && port.empty()) return "the server";
    return (host.empty() ? "localhost" : host) + (port.empty() ? "" : ":" + port);
}

void report_notice(void* name, const PGresult* result) {
    // Asked for, as the text that the result holds is verbose where it came during the login.
    const std::unique_ptr<char, decltype(&PQfreemem)> text{
        PQresultVerboseErrorMessage(result, PQERRORS_DEFAULT, PQSHOW_CONTEXT_ERRORS), PQfreemem};
    diagnostics::detail(*static_cast<const std::string*>(name) + ": " + trimmed(text.get()));
}

}  // namespace

std::string_view Result::at(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column),
            static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

std::optional<std::string> Result::text(int row, int column) const {
    if (is_null(row, column)) return std::nullopt;
    return std::string{at(row, column)};
}

std::int64_t Result::integer(int row, int column) const {
    if (is_null(row, column)) return 0;
    const std::string_view digits = at(row, column);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc{} || end != digits.data() + digits.size())
        throw ProtocolError(fmt::format("the server answered \"{}\" where a number was expected", digits));
    return number;
}

std::optional<Lsn> Result::lsn(int row, int column) const {
    if (is_null(row, column)) return std::nullopt;
    const auto position = Lsn::parse(at(row, column));
    if (!position)
        throw ProtocolError(
            fmt::format("the server answered \"{}\" where an LSN was expected", at(row, column)));
    return position;
}

Connection::Connection(const Conninfo& conninfo, ConnectOptions options)
    : options_(std::move(options)),
      name_(options_.name.empty() ? address(conninfo) : options_.name),
      connection_(nullptr, PQfinish) {
    log_in(conninfo);
}

static Conninfo complete(const Conninfo& conninfo, Replication replication) {
    Conninfo whole =
        conninfo.with_default("fallback_application_name", "pgcascade").with("client_encoding", "UTF8");
    if (replication == Replication::kDatabase) return whole.with("replication", "database");
    if (replication == Replication::kPhysical)
        return whole.with("replication", "true").with("dbname", "replication");
    return whole;
}

static std::unique_ptr<PGconn, decltype(&PQfinish)> start_connecting(const Conninfo& conninfo) {
    // To libpq, PGPASSWORD goes before the password file, even one that the connection string names. An empty
    // password keeps PGPASSWORD out and has the file read; only the string form can give one (fe-connect.c:
    // conninfo_array_parse passes over empty values).
    if (conninfo.get("passfile") && !conninfo.get("password"))
        return {PQconnectStart(conninfo.with("password", "").to_string().c_str()), PQfinish};
    std::vector<const char*> keywords;
    std::vector<const char*> values;
    for (const auto& [keyword, value] : conninfo.pairs()) {
        keywords.push_back(keyword.c_str());
        values.push_back(value.c_str());
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    return {PQconnectStartParams(keywords.data(), values.data(), 0), PQfinish};
}

// As libpq took it: from the connection string, the service file or the environment. Empty where it has none.
static std::string effective(PGconn* connection, std::string_view keyword) {
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options{PQconninfo(connection),
                                                                               PQconninfoFree};
    if (!options) throw std::bad_alloc{};
    for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option)
        if (option->keyword == keyword && option->val != nullptr) return option->val;
    return "";
}

// 0: none.
static milliseconds login_timeout(PGconn* connection, milliseconds otherwise) {
    const std::string text = effective(connection, "connect_timeout");
    int seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (!text.empty() && (error != std::errc{} || end != text.data() + text.size()))
        throw ConfigError(fmt::format("connect_timeout: \"{}\" is no number of seconds", text));
    return seconds > 0 ? std::chrono::seconds{seconds} : otherwise;
}

static std::string current_host(PGconn* connection) {
    return fmt::format("{}:{}", PQhost(connection), PQport(connection));
}

// False where the host that libpq is at stays silent. Where one fails, libpq goes on to the next address or
// host by itself; each has the whole time.
static bool await_login(PGconn* connection, milliseconds timeout, int stop_fd) {
    SteadyTime deadline;
    std::string current;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (PQstatus(connection) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
           status != PGRES_POLLING_FAILED) {
        std::string now_at = current_host(connection) + " " + PQhostaddr(connection);
        if (now_at != current) deadline = steady_now() + timeout;
        current = std::move(now_at);
        const short wanted = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        int left = -1;
        if (timeout.count() > 0)
            left = static_cast<int>(
                std::clamp<std::int64_t>(std::chrono::ceil<milliseconds>(deadline - steady_now()).count(), 0,
                                         std::numeric_limits<int>::max()));
        if (wait_for(PQsocket(connection), wanted, left, stop_fd) == 0) return false;
        status = PQconnectPoll(connection);
    }
    return true;
}

// The hosts that libpq would still try, and those that it has passed by: what failed at once does so again,
// and target_session_attrs=prefer-standby goes over all of them twice.
static std::optional<Conninfo> without_silent_host(const Conninfo& conninfo, PGconn* connection) {
    Conninfo whole = conninfo;
    for (const char* keyword : {"host", "hostaddr", "port"})
        if (const std::string list = effective(connection, keyword); !list.empty())
            whole = whole.with(keyword, list);
    return without_host(whole, PQhost(connection), PQport(connection));
}

[[noreturn]] static void throw_login_error(PGconn* connection, const std::string& passfile,
                                           const std::string& doing) {
    const LoginFailure failure = read_login_failure(PQerrorMessage(connection));
    const std::string what = doing + failure.text;
    const std::optional<Refusal> refusal =
        PQconnectionNeedsPassword(connection) != 0 ? missing_password(passfile) : find_refusal(failure);
    if (refusal) throw LoginError(what, refusal->sqlstate, refusal->hint);
    if (is_not_ready(failure)) throw NotReadyError(what);
    const bool nobody_listens = failure.text.find("refused") != std::string::npos ||
                                failure.text.find("No such file") != std::string::npos;
    throw ConnectionError(
        what,
        nobody_listens
            ? "is the server running there, and does it listen on that address (listen_addresses, port)?"
            : "");
}

// PQconnectPoll leaves time-outs to its caller: past a silent host it is begun anew without that one.
void Connection::log_in(const Conninfo& conninfo) {
    Conninfo whole = complete(conninfo, options_.replication);
    std::string doing = name_ + ": can't connect: ";
    for (;;) {
        connection_ = start_connecting(whole);
        if (!connection_) throw std::bad_alloc{};
        PQsetErrorVerbosity(native(), PQERRORS_VERBOSE);  // for the SQLSTATE of a refusal
        PQsetNoticeReceiver(native(), report_notice, &name_);
        const milliseconds timeout = login_timeout(native(), options_.timeout);
        if (await_login(native(), timeout, options_.stop_fd)) break;
        const std::optional<Conninfo> others = without_silent_host(whole, native());
        if (!others)
            throw ConnectionError(fmt::format("{}: no answer within {} ms", name_, timeout.count()),
                                  "check host and port, and that no firewall stands between");
        doing += fmt::format("no answer from {} within {} ms; ", current_host(native()), timeout.count());
        whole = *others;
    }
    if (PQstatus(native()) != CONNECTION_OK)
        throw_login_error(native(), whole.get("passfile").value_or(""), doing);
    PQsetErrorVerbosity(native(), PQERRORS_DEFAULT);
    PQsetnonblocking(native(), 1);
}

void Connection::throw_error(const PGresult* result, const std::string& while_doing) const {
    const std::string primary = result != nullptr ? field(result, PG_DIAG_MESSAGE_PRIMARY) : "";
    if (!primary.empty()) {
        std::string what = fmt::format("{}: {}: {}", name_, while_doing, primary);
        if (const std::string detail = field(result, PG_DIAG_MESSAGE_DETAIL); !detail.empty())
            what += " (" + detail + ")";
        throw ServerError(what, field(result, PG_DIAG_SQLSTATE), field(result, PG_DIAG_MESSAGE_HINT));
    }
    const std::string reason = trimmed(PQerrorMessage(connection_.get()));
    throw ConnectionError(
        fmt::format("{}: {}: {}", name_, while_doing, reason.empty() ? "connection lost" : reason));
}

void Connection::flush(const std::string& while_doing) {
    for (;;) {
        const int left = PQflush(connection_.get());
        if (left == 0) return;
        if (left < 0) throw_error(nullptr, while_doing);
        const int timeout = options_.timeout.count() > 0 ? static_cast<int>(options_.timeout.count()) : -1;
        const short events = wait_for(socket(), POLLIN | POLLOUT, timeout, options_.stop_fd);
        if (events == 0)
            throw ConnectionError(fmt::format("{}: {}: the server takes nothing", name_, while_doing));
        if ((events & POLLIN) != 0 && PQconsumeInput(connection_.get()) == 0)
            throw_error(nullptr, while_doing);
    }
}

Result Connection::next_result(const std::string& while_doing) {
    flush(while_doing);
    const int timeout = options_.timeout.count() > 0 ? static_cast<int>(options_.timeout.count()) : -1;
    while (PQisBusy(connection_.get()) != 0) {
        if (wait_for(socket(), POLLIN, timeout, options_.stop_fd) == 0)
            throw ConnectionError(fmt::format("{}: {}: no answer within {} ms", name_, while_doing, timeout));
        if (PQconsumeInput(connection_.get()) == 0) throw_error(nullptr, while_doing);
    }
    return Result{PQgetResult(connection_.get())};
}

static bool failed(const PGresult* result) {
    const ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

static std::string headline(const std::string& sql) {
    const auto line = sql.substr(0, sql.find('\n'));
    return line.size() <= 80 ? line : line.substr(0, 77) + "…";
}

// Statements that carry a password must never be quoted in a message.
static std::string described(const std::string& sql) {
    const bool has_password =
        sql.find("PASSWORD") != std::string::npos || sql.find("password=") != std::string::npos;
    return has_password ? "setting a password" : headline(sql);
}

Result Connection::last_result(const std::string& sql) {
    const std::string doing = described(sql);
    std::optional<Result> last;
    for (;;) {
        Result result = next_result(doing);
        if (result.native() == nullptr) break;
        const ExecStatusType status = PQresultStatus(result.native());
        if (failed(result.native())) {
            // The rest of the answer is taken first, so that the connection stays usable for the caller.
            if (PQstatus(native()) == CONNECTION_OK)
                while (next_result(doing).native() != nullptr) {
                }
            throw_error(result.native(), doing);
        }
        last.emplace(std::move(result));
        if (status == PGRES_COPY_BOTH || status == PGRES_COPY_OUT || status == PGRES_COPY_IN) break;
    }
    if (!last) throw_error(nullptr, doing);
    return std::move(*last);
}

Result Connection::query(const std::string& sql, std::initializer_list<std::string_view> parameters) {
    const std::vector<std::string> texts{parameters.begin(), parameters.end()};
    std::vector<const char*> values;
    for (const std::string& text : texts) values.push_back(text.c_str());
    if (PQsendQueryParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                          values.data(), nullptr, nullptr, 0) == 0)
        throw_error(nullptr, described(sql));
    return last_result(sql);
}

Result Connection::command(const std::string& sql) {
    if (PQsendQuery(connection_.get(), sql.c_str()) == 0) throw_error(nullptr, described(sql));
    return last_result(sql);
}

Result Connection::command(const std::string& sql, milliseconds interval,
                           const std::function<void()>& while_waiting) {
    if (PQsendQuery(connection_.get(), sql.c_str()) == 0) throw_error(nullptr, described(sql));
    flush(described(sql));
    while (PQisBusy(connection_.get()) != 0) {
        if (wait_for(socket(), POLLIN, static_cast<int>(interval.count()), options_.stop_fd) == 0) {
            while_waiting();
            continue;
        }
        if (PQconsumeInput(connection_.get()) == 0) throw_error(nullptr, described(sql));
    }
    return last_result(sql);
}

bool Connection::cancel() {
    const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> request{PQgetCancel(native()), PQfreeCancel};
    char reason[256] = "";
    if (!request || PQcancel(request.get(), reason, sizeof reason) == 0)
        throw ConnectionError(fmt::format("{}: can't cancel the statement under way: {}", name_, reason));
    bool succeeded = true;
    for (;;) {
        const Result result = next_result("cancelling");
        if (result.native() == nullptr) return succeeded;
        if (failed(result.native())) succeeded = false;
    }
}

Conninfo Connection::pinned(const Conninfo& conninfo) const {
    const auto told = [](const char* text) { return std::string{text != nullptr ? text : ""}; };
    Conninfo narrowed = conninfo.with("host", told(PQhost(native()))).with("port", told(PQport(native())));
    if (conninfo.get("hostaddr")) narrowed = narrowed.with("hostaddr", told(PQhostaddr(native())));
    return narrowed;
}

std::string Connection::parameter(const char* name) const {
    const char* value = PQparameterStatus(connection_.get(), name);
    return value != nullptr ? value : "";
}

std::string Connection::literal(std::string_view text) const {
    const std::unique_ptr<char, decltype(&PQfreemem)> quoted{
        PQescapeLiteral(connection_.get(), text.data(), text.size()), PQfreemem};
    if (!quoted) throw_error(nullptr, "quoting a text");
    return quoted.get();
}

CleaningUp::CleaningUp(Connection& connection, milliseconds patience)
    : connection_(connection),
      timeout_(std::exchange(connection.options_.timeout, patience)),
      stop_fd_(std::exchange(connection.options_.stop_fd, -1)) {}

CleaningUp::~CleaningUp() {
    connection_.options_.timeout = timeout_;
    connection_.options_.stop_fd = stop_fd_;
}

}  // namespace pgcascade::postgres
