#include "relay/session.hpp"

#include <algorithm>
#include <set>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "postgres/relay_server.hpp"
#include "protocol/backend_message.hpp"
#include "relay/answers.hpp"

namespace pgcascade::relay {

namespace {

constexpr std::size_t kLargestQuery = 1 << 20;
constexpr std::chrono::seconds kPatienceWithLastWords{1};  // a client may not listen any more

ServerError ended_by_administrator() {
    return {"terminating connection due to administrator command", "57P01"};
}

// For a relay behind this one: all that it is sent under one of these is of one history.
std::string run_of(const RelayState& relay) {
    std::uint64_t cuts = 0;
    for (const auto& feed : relay.feeds) cuts += feed->log().cuts();
    return fmt::format("{}.{}", relay.life, cuts);
}

}  // namespace

Session::Session(Wire wire, RelayState& relay, Bells& bells, std::shared_ptr<void> admission)
    : wire_(std::move(wire)), relay_(relay), bells_(bells), admission_(std::move(admission)) {}

Session::~Session() {
    if (identity_.pid == 0) return;
    relay_.sessions.remove(identity_.pid);
    if (relay_.wal) relay_.wal->forget_horizon(identity_.pid);
}

asio::awaitable<void> Session::run() {
    std::optional<protocol::Report> last_words;
    try {
        co_await log_in();
        greet();
        co_await serve();
    } catch (const SessionEnd& end) {
        last_words = end.last_words;
    } catch (const Error& problem) {
        last_words = report_of(problem, "FATAL");
    } catch (const boost::system::system_error& problem) {
        // The client is gone; it need not say goodbye.
        diagnostics::detail(
            fmt::format("client {} {}: {}", wire_.peer().to_string(), client_.user, problem.what()), about());
    } catch (const std::exception& problem) {
        last_words = {.severity = "FATAL", .sqlstate = "XX000", .message = problem.what()};
    }
    if (!last_words) co_return;
    diagnostics::info(
        fmt::format("client {} {}: {}", wire_.peer().to_string(), client_.user, last_words->message),
        about(*last_words));
    if (!wire_.is_whole()) co_return;
    try {
        using namespace asio::experimental::awaitable_operators;
        protocol::append_error_response(wire_.out(), *last_words);
        asio::steady_timer patience{wire_.executor(), kPatienceWithLastWords};
        co_await (wire_.flush() || patience.async_wait(asio::use_awaitable));
    } catch (const boost::system::system_error&) {  // it does not listen any more
    }
}

diagnostics::Fields Session::about(const protocol::Report& last_words) const {
    return {{"component", "session"},
            {"client", wire_.peer().to_string()},
            {"user", client_.user},
            {"database", client_.database},
            {"application_name", client_.application_name},
            {"slot", slot_},
            {"sqlstate", last_words.sqlstate},
            {"detail", last_words.detail},
            {"hint", last_words.hint}};
}

asio::awaitable<void> Session::log_in() {
    using namespace asio::experimental::awaitable_operators;
    asio::steady_timer deadline{wire_.executor(), relay_.config.login_timeout};
    std::exception_ptr failure;
    const auto outcome = co_await (try_to_log_in(failure) || deadline.async_wait(asio::use_awaitable));
    if (outcome.index() != 0) throw ConnectionError("canceling authentication due to timeout");
    if (failure) std::rethrow_exception(failure);
    admission_.reset();
    static_cast<void>(known_facts());
}

// A failure ends the wait for the deadline, too.
asio::awaitable<void> Session::try_to_log_in(std::exception_ptr& failure) {
    try {
        auto client = co_await relay::log_in(wire_, relay_);
        client_ = std::move(client);
    } catch (...) {
        failure = std::current_exception();
    }
}

void Session::greet() {
    enlist();
    std::string& out = wire_.out();
    // Who only asks how the relay is gets in even where that is why it could not be reached yet.
    const bool only_asks = client_.replication == Client::Replication::kNone;
    const UpstreamFacts known = only_asks ? known_facts().value_or(UpstreamFacts{}) : facts();
    for (const auto& [name, value] : known.parameters) protocol::append_parameter_status(out, name, value);
    protocol::append_parameter_status(out, postgres::kRelayParameter, run_of(relay_));
    protocol::append_parameter_status(out, "application_name", client_.application_name);
    protocol::append_parameter_status(out, "is_superuser", "off");
    protocol::append_parameter_status(out, "session_authorization", client_.user);
    protocol::append_backend_key_data(out, identity_.pid, identity_.key);
}

void Session::enlist() {
    SessionInfo info;
    info.client = wire_.peer();
    info.user = client_.user;
    info.database = client_.database;
    info.application_name = client_.application_name;
    info.heard = now();
    // Handlers are called by other threads, perhaps while this session ends on its own.
    const auto on_loop = [weak = weak_from_this(), loop = wire_.executor()](void (Session::*method)()) {
        return [weak, loop, method] {
            asio::post(loop, [weak, method] {
                if (const auto session = weak.lock()) (session.get()->*method)();
            });
        };
    };
    identity_ = relay_.sessions.add(std::move(info), {on_loop(&Session::cancel), on_loop(&Session::stop)});
}

void Session::cancel() {
    is_cancelled_ = true;
    if (stream_ != nullptr) stream_->cancel();
    if (upstream_) upstream_->cancel(relay_.for_upstream);
}

// A stream is brought to its end; what else runs is broken off, as by a server's fast shutdown.
void Session::stop() {
    is_stopping_ = true;
    if (stream_ != nullptr)
        stream_->stop();
    else if (!is_running_query_ || (upstream_ && upstream_->waits_for_client()))
        wire_.cancel();
    else if (upstream_)
        upstream_->cancel(relay_.for_upstream);
}

// For what waits within a command. Throws.
void Session::check_interrupts() const {
    if (is_stopping_) throw SessionEnd{report_of(ended_by_administrator(), "FATAL")};
    if (is_cancelled_) throw ServerError("canceling statement due to user request", "57014");
}

protocol::TransactionStatus Session::transaction_status() const {
    return upstream_ ? upstream_->transaction_status() : protocol::TransactionStatus::kIdle;
}

asio::awaitable<void> Session::serve() {
    bool skips_to_sync = false;
    bool is_ready = true;
    std::string query;
    for (;;) {
        if (is_ready) protocol::append_ready_for_query(wire_.out(), transaction_status());
        is_ready = false;
        co_await wire_.flush();
        // Not sooner: what is done is told as done. Who takes it for undone may never get on: a subscriber
        // that was not told of its slot's drop asks for that slot for ever.
        if (is_stopping_) throw ended_by_administrator();
        const protocol::FrontendMessage message = co_await next_message();
        switch (message.type) {
            case 'Q':
                skips_to_sync = false;
                query = protocol::parse_query(message.body);
                co_await run_query(query);
                is_ready = true;
                break;
            case 'X':
                co_return;
            case 'S':
                skips_to_sync = false;
                is_ready = true;
                break;
            case 'H':  // Flush: nothing is held back
            case 'd':  // of a copy that has ended already: ignored, as a server does
            case 'c':
            case 'f':
                break;
            case 'F':
                protocol::append_error_response(
                    wire_.out(),
                    {.sqlstate = "08P01",
                     .message = "fastpath function calls not supported in a replication connection"});
                is_ready = true;
                break;
            default:
                if (std::exchange(skips_to_sync, true)) break;
                protocol::append_error_response(
                    wire_.out(),
                    {.sqlstate = "08P01",
                     .message = "extended query protocol not supported in a replication connection"});
        }
    }
}

asio::awaitable<protocol::FrontendMessage> Session::next_message() {
    try {
        co_return co_await wire_.read_message(kLargestQuery);
    } catch (const boost::system::system_error&) {
        if (!is_stopping_) throw;
    }
    throw ended_by_administrator();
}

asio::awaitable<void> Session::run_query(const std::string& text) {
    is_running_query_ = true;
    is_cancelled_ = false;  // what came before it was not meant
    co_await end_export();
    bool has_failed = false;
    try {
        if (text.find_first_not_of(" \t\r\n;") == std::string::npos) {
            protocol::append_empty_query_response(wire_.out());
        } else {
            auto command = protocol::parse_command(text);
            check_transaction(command);
            co_await std::visit([this](auto& parsed) { return run(std::move(parsed)); }, command);
        }
    } catch (const Error& problem) {
        protocol::append_error_response(wire_.out(), report_of(problem));
        has_failed = true;
    }
    if (has_failed && transaction_status() == protocol::TransactionStatus::kInTransaction)
        co_await upstream_->fail_transaction();
    is_running_query_ = false;
}

// As exec_replication_command() and PreventInTransactionBlock().
void Session::check_transaction(const protocol::ReplicationCommand& command) const {
    using protocol::TransactionStatus;
    if (std::holds_alternative<protocol::Sql>(command)) return;
    if (transaction_status() == TransactionStatus::kFailed)
        throw ServerError("current transaction is aborted, commands ignored until end of transaction block",
                          "25P02");
    if (transaction_status() == TransactionStatus::kIdle) return;
    const bool starts = std::holds_alternative<protocol::StartLogicalReplication>(command) ||
                        std::holds_alternative<protocol::StartPhysicalReplication>(command);
    const char* name = starts ? "START_REPLICATION" : nullptr;
    if (std::holds_alternative<protocol::TimelineHistory>(command)) name = "TIMELINE_HISTORY";
    if (name == nullptr) return;
    throw ServerError(fmt::format("{} cannot run inside a transaction block", name), "25001");
}

// -- Whose feeds they are --

// Any feed of the client's database: they have one upstream, or upstreams of one cluster. Sooner one that
// receives than one that does not now, and that sooner than one that never has.
Feed* Session::find_home_feed() const {
    Feed* best = nullptr;
    const auto rank = [](const Feed& feed) {
        return (feed.facts() ? 2 : 0) + (feed.problem().empty() ? 1 : 0);
    };
    for (const auto& feed : relay_.feeds) {
        if (feed->config().database != client_.database || !client_.rights.may_read(feed->name())) continue;
        if (best == nullptr || rank(*feed) > rank(*best)) best = feed.get();
    }
    return best;
}

Feed& Session::home_feed() const {
    if (Feed* const feed = find_home_feed()) return *feed;
    throw ServerError(fmt::format("database \"{}\" does not exist", client_.database), "3D000",
                      "no feed of this relay that this user may read is of that database");
}

// Of the WAL, whose timeline is the log's, which may not have come to the upstream's yet; or of a feed.
std::optional<UpstreamFacts> Session::known_facts() const {
    if (!is_of_wal()) return home_feed().facts();
    const Wal& relayed = known_wal();
    auto facts = relayed.facts();
    if (facts) facts->timeline = relayed.log()->readable().timeline;
    return facts;
}

UpstreamFacts Session::facts() const {
    if (auto facts = known_facts()) return *facts;
    throw ServerError("the relay has not reached its upstream yet", "57P03",
                      is_of_wal() ? relay_.wal->problem() : home_feed().problem());
}

// Whoever only looks on needs no database where there is WAL.
bool Session::is_of_wal() const {
    return client_.replication == Client::Replication::kPhysical ||
           (client_.replication == Client::Replication::kNone && relay_.wal && find_home_feed() == nullptr);
}

Feed& Session::feed_for(const std::vector<std::string>& publications) const {
    const std::set<std::string> wanted{publications.begin(), publications.end()};
    for (const auto& feed : relay_.feeds)
        if (feed->config().database == client_.database && feed->config().publications == wanted &&
            client_.rights.may_read(feed->name()))
            return *feed;
    std::string names;
    for (const std::string& name : wanted) names += (names.empty() ? "\"" : "\", \"") + name;
    throw ServerError(
        fmt::format("no feed of database \"{}\" has just the publications {}\"", client_.database, names),
        "42704", "add one to relay.toml: [feed.NAME] with these publications");
}

// A slot is for its maker, and for whoever may have what is read through it: of one that nobody has read
// through yet, whatever could be.
bool Session::may_use(const Slot& slot) const {
    if (!slot.is_logical()) return client_.rights.physical;
    if (slot.owner == client_.user) return true;
    if (!slot.feed.empty()) return client_.rights.may_read(slot.feed);
    return std::all_of(relay_.feeds.begin(), relay_.feeds.end(), [&](const auto& feed) {
        return feed->config().database != slot.database || client_.rights.may_read(feed->name());
    });
}

// Nothing where there is none.
std::optional<Slot> Session::permitted_slot(const std::string& name) const {
    auto slot = relay_.slots.find(name);
    if (!slot || may_use(*slot)) return slot;
    throw ServerError(
        fmt::format("permission denied: user \"{}\" may not use replication slot \"{}\"", client_.user, name),
        "42501",
        slot->is_logical() ? "see to the user's feeds in the relay's users file"
                           : "set physical = true for this user in the relay's users file");
}

}  // namespace pgcascade::relay
