#include "stream/server_facts.hpp"

#include <memory>
#include <utility>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"
#include "postgres/backoff.hpp"
#include "postgres/connection.hpp"
#include "postgres/conninfo.hpp"
#include "postgres/healing.hpp"

namespace pgcascade {

using postgres::Connection;
using postgres::Conninfo;

namespace {

class TypeNames {
  public:
    TypeNames(Conninfo conninfo, int stop_fd) : conninfo_(std::move(conninfo)), stop_fd_(stop_fd) {}

    // As the stream itself, it waits while the server restarts; but not for ever, for the stream waits too.
    std::string find(std::uint32_t type_oid, std::int32_t type_modifier) {
        postgres::Backoff backoff{kLongestBackoff, type_oid};
        for (const SteadyTime deadline = steady_now() + kPatience;;) {
            try {
                if (!connection_) connect();
                return ask(type_oid, type_modifier);
            } catch (const Error& problem) {
                connection_.reset();
                if (postgres::healing_of(problem) == postgres::Healing::kNever || steady_now() > deadline)
                    throw;
            }
            wait_for(/*fd=*/-1, 0, static_cast<int>(backoff.next().count()), stop_fd_);
        }
    }

  private:
    static constexpr std::chrono::milliseconds kLongestBackoff{2'000};
    static constexpr std::chrono::seconds kPatience{60};

    void connect() {
        connection_ = std::make_unique<Connection>(conninfo_, postgres::ConnectOptions{.stop_fd = stop_fd_});
        // With nothing on it every name but the built-in ones is qualified.
        connection_->query("SELECT pg_catalog.set_config('search_path', '', false)");
    }

    std::string ask(std::uint32_t type_oid, std::int32_t type_modifier) {
        const postgres::Result name =
            connection_->query("SELECT pg_catalog.format_type($1, $2) FROM pg_catalog.pg_type WHERE oid = $1",
                               {std::to_string(type_oid), std::to_string(type_modifier)});
        return name.rows() == 0 ? "" : std::string{name.at(0, 0)};
    }

    Conninfo conninfo_;
    int stop_fd_;
    std::unique_ptr<Connection> connection_;
};

std::string database_name(const Conninfo& conninfo, int stop_fd) {
    Connection connection{conninfo, postgres::ConnectOptions{.stop_fd = stop_fd}};
    return std::string{connection.query("SELECT pg_catalog.current_database()").at(0, 0)};
}

}  // namespace

FormatOptions ask_server(FormatOptions options, const std::string& conninfo, int stop_fd) {
    const Conninfo parsed = Conninfo::parse(conninfo);
    if (options.format == Format::kDebezium && options.debezium.database.empty())
        options.debezium.database = database_name(parsed, stop_fd);
    if (options.format == Format::kWal2Json && !options.wal2json.format_type)
        options.wal2json.format_type = [names = std::make_shared<TypeNames>(parsed, stop_fd)](
                                           std::uint32_t type_oid, std::int32_t type_modifier) {
            return names->find(type_oid, type_modifier);
        };
    return options;
}

}  // namespace pgcascade
