#include "relay/pass_through.hpp"

#include <utility>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "protocol/frontend_message.hpp"
#include "relay/blocking.hpp"

namespace pgcascade::relay {

using asio::use_awaitable;
using postgres::Connection;
using postgres::Result;

namespace {

constexpr const char* kDoing = "passing a statement through";
constexpr std::size_t kGatheredBytes = 64 * 1024;
constexpr std::size_t kLargestCopiedMessage = 64 << 20;

protocol::Report report_of(const PGresult* result) {
    const auto field = [result](int code) {
        const char* text = PQresultErrorField(result, code);
        return std::string{text == nullptr ? "" : text};
    };
    return {.severity = field(PG_DIAG_SEVERITY_NONLOCALIZED),
            .sqlstate = field(PG_DIAG_SQLSTATE),
            .message = field(PG_DIAG_MESSAGE_PRIMARY),
            .detail = field(PG_DIAG_MESSAGE_DETAIL),
            .hint = field(PG_DIAG_MESSAGE_HINT)};
}

void append_description(std::string& out, const PGresult* result) {
    std::vector<protocol::Column> columns;
    for (int column = 0; column < PQnfields(result); ++column)
        columns.push_back({PQfname(result, column), PQftype(result, column),
                           static_cast<std::int16_t>(PQfsize(result, column))});
    append_row_description(out, columns);
}

std::vector<std::int16_t> formats_of(const PGresult* copy) {
    std::vector<std::int16_t> formats;
    for (int column = 0; column < PQnfields(copy); ++column)
        formats.push_back(static_cast<std::int16_t>(PQfformat(copy, column)));
    return formats;
}

void append_rows(std::string& out, const PGresult* result) {
    protocol::Row row(static_cast<std::size_t>(PQnfields(result)));
    for (int number = 0; number < PQntuples(result); ++number) {
        for (int column = 0; column < PQnfields(result); ++column) {
            auto& cell = row[static_cast<std::size_t>(column)];
            cell.reset();
            if (PQgetisnull(result, number, column) == 0)
                cell.emplace(PQgetvalue(result, number, column),
                             static_cast<std::size_t>(PQgetlength(result, number, column)));
        }
        protocol::append_data_row(out, row);
    }
}

}  // namespace

asio::awaitable<std::unique_ptr<PassThrough>> PassThrough::open(asio::thread_pool& blocking,
                                                                const postgres::Conninfo& conninfo,
                                                                postgres::Replication replication) {
    const auto log_in = [&] {
        return std::make_unique<Connection>(conninfo, postgres::ConnectOptions{.replication = replication});
    };
    std::unique_ptr<Connection> connection = co_await run_blocking(blocking, log_in);
    const asio::any_io_executor loop = co_await asio::this_coro::executor;
    co_return std::unique_ptr<PassThrough>{new PassThrough{std::move(connection), loop}};
}

PassThrough::PassThrough(std::unique_ptr<Connection> connection, const asio::any_io_executor& loop)
    : connection_(std::move(connection)), socket_(loop, connection_->socket()) {
    PQsetnonblocking(connection_->native(), 1);
    PQsetNoticeReceiver(connection_->native(), take_notice, this);
}

// The socket is libpq's to close.
PassThrough::~PassThrough() {
    socket_.release();
}

void PassThrough::take_notice(void* self, const PGresult* notice) {
    append_notice_response(static_cast<PassThrough*>(self)->notices_, report_of(notice));
}

asio::awaitable<void> PassThrough::wait_for_input() {
    co_await socket_.async_wait(asio::posix::stream_descriptor::wait_read, use_awaitable);
    if (PQconsumeInput(connection_->native()) == 0) connection_->throw_error(nullptr, kDoing);
}

asio::awaitable<void> PassThrough::send_query(const std::string& sql) {
    if (PQsendQuery(connection_->native(), sql.c_str()) == 0) connection_->throw_error(nullptr, kDoing);
    co_await flush();
}

asio::awaitable<void> PassThrough::flush() {
    PGconn* const native = connection_->native();
    for (int left = PQflush(native); left != 0; left = PQflush(native)) {
        if (left < 0) connection_->throw_error(nullptr, kDoing);
        co_await socket_.async_wait(asio::posix::stream_descriptor::wait_write, use_awaitable);
    }
}

// What has come so far: notices, too, must not gather while a statement runs.
asio::awaitable<void> PassThrough::hand_on(Wire& client) {
    client.out() += std::exchange(notices_, {});
    co_await client.flush();
}

asio::awaitable<Result> PassThrough::next_result(Wire* client) {
    while (PQisBusy(connection_->native()) != 0) {
        if (client != nullptr) co_await hand_on(*client);
        co_await wait_for_input();
    }
    co_return Result{PQgetResult(connection_->native())};
}

asio::awaitable<Result> PassThrough::command(const std::string& sql) {
    co_await send_query(sql);
    Result last{nullptr};
    for (;;) {
        Result result = co_await next_result(nullptr);
        if (result.native() == nullptr) break;
        last = std::move(result);
    }
    const ExecStatusType status = PQresultStatus(last.native());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) co_return last;
    if (PQstatus(connection_->native()) != CONNECTION_OK) connection_->throw_error(last.native(), kDoing);
    // In the words of the server, which the client asked for it.
    const protocol::Report report = report_of(last.native());
    throw ServerError(report.message, report.sqlstate, report.hint);
}

asio::awaitable<void> PassThrough::fail_transaction() {
    try {
        co_await command(
            "DO $$ BEGIN RAISE EXCEPTION 'a command of this transaction failed at the relay'; END $$");
    } catch (const ServerError&) {  // it is aborted
    }
}

asio::awaitable<void> PassThrough::run(const std::string& sql, Wire& client) {
    co_await send_query(sql);
    PQsetSingleRowMode(connection_->native());
    bool is_described = false;
    for (;;) {
        const Result result = co_await next_result(&client);
        client.out() += std::exchange(notices_, {});
        if (result.native() == nullptr) break;
        switch (PQresultStatus(result.native())) {
            case PGRES_SINGLE_TUPLE:
            case PGRES_TUPLES_OK:
                if (!std::exchange(is_described, true)) append_description(client.out(), result.native());
                append_rows(client.out(), result.native());
                if (PQresultStatus(result.native()) == PGRES_SINGLE_TUPLE) break;
                is_described = false;
                protocol::append_command_complete(client.out(), PQcmdStatus(result.native()));
                break;
            case PGRES_COMMAND_OK:
                protocol::append_command_complete(client.out(), PQcmdStatus(result.native()));
                break;
            case PGRES_EMPTY_QUERY:
                protocol::append_empty_query_response(client.out());
                break;
            case PGRES_COPY_OUT:
                co_await send_copy(result.native(), client);
                break;
            case PGRES_COPY_IN:
                co_await take_copy(result.native(), client);
                break;
            default:
                // Where the connection is gone there is nothing that could be passed on.
                if (PQstatus(connection_->native()) != CONNECTION_OK)
                    connection_->throw_error(result.native(), kDoing);
                append_error_response(client.out(), report_of(result.native()));
        }
        if (client.out().size() >= kGatheredBytes) co_await client.flush();
    }
}

asio::awaitable<void> PassThrough::send_copy(const PGresult* start, Wire& client) {
    protocol::append_copy_out_response(client.out(), formats_of(start));
    for (;;) {
        char* bytes = nullptr;
        const int length = PQgetCopyData(connection_->native(), &bytes, /*async=*/1);
        const std::unique_ptr<char, decltype(&PQfreemem)> owner{bytes, PQfreemem};
        if (length == -2) connection_->throw_error(nullptr, kDoing);
        if (length == -1) break;
        if (length > 0)
            protocol::append_copy_data(client.out(), {bytes, static_cast<std::size_t>(length)});
        else
            co_await wait_for_input();
        if (client.out().size() + notices_.size() >= kGatheredBytes) co_await hand_on(client);
    }
    // An error that ended it follows as a result of its own.
    protocol::append_copy_done(client.out());
}

asio::awaitable<void> PassThrough::take_copy(const PGresult* start, Wire& client) {
    protocol::append_copy_in_response(client.out(), formats_of(start));
    co_await client.flush();
    for (bool is_over = false; !is_over;) {
        waits_for_client_ = true;
        const protocol::FrontendMessage message = co_await client.read_message(kLargestCopiedMessage);
        waits_for_client_ = false;
        is_over = co_await take_copied(message);
    }
}

// True with the last one. What the upstream has against it is the result that follows.
asio::awaitable<bool> PassThrough::take_copied(const protocol::FrontendMessage& message) {
    PGconn* const native = connection_->native();
    const bool is_last = message.type == 'c' || message.type == 'f';
    int is_taken = 1;
    if (message.type == 'd')
        is_taken = PQputCopyData(native, message.body.data(), static_cast<int>(message.body.size()));
    else if (message.type == 'c')
        is_taken = PQputCopyEnd(native, nullptr);
    else if (message.type == 'f')
        is_taken = PQputCopyEnd(native, std::string{protocol::parse_copy_fail(message.body)}.c_str());
    else if (message.type != 'H' && message.type != 'S')
        throw ProtocolError(fmt::format("unexpected message type 0x{:02X} during COPY from stdin",
                                        static_cast<unsigned char>(message.type)));
    if (is_taken < 1) connection_->throw_error(nullptr, kDoing);
    co_await flush();
    co_return is_last;
}

protocol::TransactionStatus PassThrough::transaction_status() const {
    switch (PQtransactionStatus(connection_->native())) {
        case PQTRANS_INTRANS:
            return protocol::TransactionStatus::kInTransaction;
        case PQTRANS_INERROR:
            return protocol::TransactionStatus::kFailed;
        default:
            return protocol::TransactionStatus::kIdle;
    }
}

void PassThrough::cancel(asio::thread_pool& blocking) const {
    std::shared_ptr<PGcancel> cancel{PQgetCancel(connection_->native()), PQfreeCancel};
    if (!cancel) return;
    asio::post(blocking, [cancel] {
        char reason[256];
        PQcancel(cancel.get(), static_cast<char*>(reason), sizeof reason);
    });
}

}  // namespace pgcascade::relay
