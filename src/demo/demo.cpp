#include "demo/demo.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <functional>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/diagnostics.hpp"
#include "base/file.hpp"
#include "base/stop_signal.hpp"
#include "demo/node_check.hpp"
#include "demo/shop_workload.hpp"
#include "demo/stage.hpp"
#include "demo/stream_reader.hpp"
#include "demo/table_contents.hpp"
#include "postgres/slots.hpp"
#include "tree/apply.hpp"
#include "tree/apply_lock.hpp"
#include "tree/probe.hpp"
#include "tree/stop.hpp"

namespace pgcascade::demo {

using postgres::Connection;
using postgres::Conninfo;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kCatchUpTimeout{120'000};

// The workload in a thread of its own, as long as the object lives or until finish().
class WorkloadThread {
  public:
    WorkloadThread(ShopWorkload& shop, int transactions_per_second) : stop_(::eventfd(0, EFD_CLOEXEC)) {
        if (!stop_) throw SystemError("can't make an eventfd", errno);
        thread_ = std::thread{[this, &shop, transactions_per_second] {
            try {
                shop.run(stop_.get(), transactions_per_second);
            } catch (...) {
                failure_ = std::current_exception();
            }
            is_running_ = false;
        }};
    }
    ~WorkloadThread() { join(); }
    WorkloadThread(const WorkloadThread&) = delete;
    WorkloadThread& operator=(const WorkloadThread&) = delete;

    bool is_running() const { return is_running_; }

    // Throws what the workload threw.
    void finish() {
        join();
        if (failure_) std::rethrow_exception(failure_);
    }

  private:
    void join() {
        if (!thread_.joinable()) return;
        ::eventfd_write(stop_.get(), 1);
        thread_.join();
    }

    FileDescriptor stop_;
    std::atomic<bool> is_running_ = true;
    std::exception_ptr failure_;  // of the thread; looked at once it is joined
    std::thread thread_;
};

class Demo {
  public:
    Demo(const DemoOptions& options, tree::Cascade cascade, tree::Cascade subscriber)
        : options_(options), cascade_(std::move(cascade)), subscriber_(std::move(subscriber)) {}

    Outcome play();

  private:
    void phase(const std::string& text) const { options_.events.on_phase(text); }

    Conninfo conninfo(const std::string& node) const {
        return cascade_.conninfo(cascade_.node(node)).with("dbname", kDatabase);
    }
    Connection connect(const std::string& node) const {
        return Connection{conninfo(node), {.name = node, .stop_fd = options_.stop_fd}};
    }

    void build(const tree::Cascade& cascade) const;
    void create_database(const tree::Cascade& cascade) const;
    void subscribe();
    void wait_for_copy(Connection& subscriber) const;
    void wait_for_subscriber(Lsn position) const;
    void wait_until(const std::string& what, const std::function<bool()>& is_done) const;
    StreamOptions stream_options() const;
    void run_workload(ShopWorkload& shop, StreamReader& reader) const;
    Progress progress(const ShopWorkload& shop, StreamReader& reader, const tree::TreeStatus& status,
                      SteadyTime end) const;
    Lsn end_of_workload() const;
    void wait_for_replay(const std::string& node, Lsn position) const;
    Outcome verify(const ShopWorkload& shop, const StreamCheck& streamed) const;
    void show_result() const;

    const DemoOptions& options_;
    tree::Cascade cascade_;
    const tree::Cascade subscriber_;
};

Outcome Demo::play() {
    build(cascade_);
    create_database(cascade_);
    ShopWorkload shop{conninfo("primary"), options_.seed};
    shop.create_schema(kPublication);
    wait_for_replay(kLeaf, end_of_workload());
    subscribe();

    phase(fmt::format("creating the slot \"{}\" on {} and streaming from it", kSlot, kLeaf));
    StreamReader reader{stream_options()};
    run_workload(shop, reader);

    const Lsn end = end_of_workload();
    phase(fmt::format("waiting until every node has replayed {}", end.to_string()));
    for (const tree::Node& node : cascade_.nodes)
        if (node.upstream && !node.is_relay()) wait_for_replay(node.name, end);
    wait_for_subscriber(end);
    reader.finish(end, kCatchUpTimeout, options_.stop_fd);
    phase("comparing the rows of all nodes, and the stream with what was committed");
    Outcome outcome = verify(shop, reader.check());
    show_result();
    return outcome;
}

void Demo::build(const tree::Cascade& cascade) const {
    const tree::ApplyLock lock{cascade.file};
    const tree::Plan plan =
        tree::plan(cascade, tree::probe(cascade, {.for_plan = true, .stop_fd = options_.stop_fd}));
    options_.events.on_plan(plan);
    tree::ApplyOptions how;
    how.stop_fd = options_.stop_fd;
    how.on_start = options_.events.on_step;
    tree::apply(cascade, plan, how);
}

void Demo::create_database(const tree::Cascade& cascade) const {
    Connection connection{cascade.conninfo(cascade.primary()),
                          {.name = cascade.primary().name, .stop_fd = options_.stop_fd}};
    connection.query(fmt::format("CREATE DATABASE {}", kDatabase));
}

// What apply builds ends at the relay; from there on it is PostgreSQL's own subscription.
void Demo::subscribe() {
    phase(fmt::format("the relay {} fetches the publication {}, and a server of its own subscribes there",
                      kRelay, kPublication));
    connect("primary").query(
        fmt::format("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", cascade_.replication_user));
    cascade_ = add_feed(cascade_, kDatabase, kPublication);
    build(cascade_);
    build(subscriber_);
    create_database(subscriber_);
    const Conninfo own = subscriber_.conninfo(subscriber_.primary()).with("dbname", kDatabase);
    ShopWorkload{own, options_.seed}.create_schema(kPublication);
    Connection connection{own, {.name = kSubscriber, .stop_fd = options_.stop_fd}};
    const tree::Node& relay = cascade_.node(kRelay);
    const std::string upstream = cascade_.conninfo(relay).with("user", cascade_.replication_user).to_string();
    connection.query(fmt::format("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {}", kSubscriber,
                                 connection.literal(upstream), kPublication));
    wait_for_copy(connection);
}

// The tables are copied one by one, through the relay from the primary.
void Demo::wait_for_copy(Connection& subscriber) const {
    wait_until("the subscriber has not copied the tables", [&] {
        return subscriber.query("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel").boolean(0, 0);
    });
}

void Demo::wait_for_subscriber(Lsn position) const {
    const tree::Node& relay = cascade_.node(kRelay);
    wait_until(fmt::format("the subscriber has not come to {}", position.to_string()), [&] {
        Connection connection{
            cascade_.conninfo(relay),
            {.replication = tree::replication_of(relay), .name = kRelay, .stop_fd = options_.stop_fd}};
        const auto slot = postgres::find_slot(connection, kSubscriber);
        return slot && slot->confirmed_flush_lsn >= position;
    });
}

void Demo::wait_until(const std::string& what, const std::function<bool()>& is_done) const {
    constexpr int kLookMs = 50;
    for (const SteadyTime deadline = steady_now() + kCatchUpTimeout; !is_done();) {
        if (steady_now() > deadline)
            throw Error(fmt::format("{} within {} s", what, kCatchUpTimeout.count() / 1000));
        wait_for(-1, 0, kLookMs, options_.stop_fd);
    }
}

StreamOptions Demo::stream_options() const {
    StreamOptions stream;
    stream.conninfo = conninfo(kLeaf).to_string();
    stream.slot = kSlot;
    stream.publications = {kPublication};
    stream.create_slot = true;
    stream.status_interval = milliseconds{500};  // so that the tree shows how far it really is
    stream.primary_conninfo = conninfo("primary").to_string();
    stream.on_notice = [](const std::string& text) { diagnostics::detail(text); };
    stream.stop_fd = options_.stop_fd;
    return stream;
}

Progress Demo::progress(const ShopWorkload& shop, StreamReader& reader, const tree::TreeStatus& status,
                        SteadyTime end) const {
    const auto left = std::chrono::duration_cast<milliseconds>(end - steady_now());
    return {.tree = status,
            .left = std::max(left, milliseconds{0}),
            .transactions = shop.transactions(),
            .row_changes = shop.row_changes(),
            .streamed = reader.row_changes(),
            .changes = reader.take_sample()};
}

void Demo::run_workload(ShopWorkload& shop, StreamReader& reader) const {
    constexpr milliseconds kLook{700};
    phase(fmt::format("a shop writes on primary for {} s", options_.workload.count()));
    WorkloadThread workload{shop, options_.transactions_per_second};
    const SteadyTime end = steady_now() + options_.workload;
    for (SteadyTime next = steady_now() + kLook; next < end; next += kLook) {
        const auto left = std::chrono::ceil<milliseconds>(next - steady_now()).count();
        wait_for(-1, 0, left > 0 ? static_cast<int>(left) : 0, options_.stop_fd);
        if (!workload.is_running() || !reader.is_reading()) break;
        const tree::Observation observation = tree::probe(cascade_, {.stop_fd = options_.stop_fd});
        options_.events.on_progress(progress(shop, reader, tree::status_of(cascade_, observation), end));
    }
    workload.finish();
    options_.events.on_workload_end();
}

// Everything that is committed lies before it.
Lsn Demo::end_of_workload() const {
    Connection connection = connect("primary");
    const auto end = connection.query("SELECT pg_current_wal_flush_lsn()").lsn(0, 0);
    // One record more: a walsender that decodes has then gone beyond the position, and says so.
    connection.query("SELECT pg_log_standby_snapshot()");
    return end.value();
}

void Demo::wait_for_replay(const std::string& node, Lsn position) const {
    constexpr int kLookMs = 20;
    Connection connection{cascade_.conninfo(cascade_.node(node)),
                          {.name = node, .stop_fd = options_.stop_fd}};
    const SteadyTime deadline = steady_now() + kCatchUpTimeout;
    for (;;) {
        const auto replayed = connection.query("SELECT pg_last_wal_replay_lsn()").lsn(0, 0);
        if (replayed && *replayed >= position) return;
        if (steady_now() > deadline)
            throw Error(fmt::format("{} has replayed {} only, within {} s; the primary is at {}", node,
                                    replayed.value_or(Lsn{}).to_string(), kCatchUpTimeout.count() / 1000,
                                    position.to_string()));
        wait_for(-1, 0, kLookMs, options_.stop_fd);
    }
}

Outcome Demo::verify(const ShopWorkload& shop, const StreamCheck& streamed) const {
    std::vector<NodeDigests> nodes;
    for (const tree::Node& node : cascade_.nodes) {
        if (node.is_relay()) continue;
        Connection connection = connect(node.name);
        nodes.push_back({node.name, read_digests(connection, ShopWorkload::tables())});
    }
    Connection subscriber{subscriber_.conninfo(subscriber_.primary()).with("dbname", kDatabase),
                          {.name = kSubscriber, .stop_fd = options_.stop_fd}};
    nodes.push_back({kSubscriber, read_digests(subscriber, ShopWorkload::tables())});
    Connection primary = connect("primary");
    Outcome outcome;
    outcome.servers = nodes.size() - 1;
    outcome.rows = total_rows(nodes.front().digests);
    outcome.row_changes = streamed.row_changes();
    outcome.differences = node_differences(nodes);
    const auto of_stream =
        streamed.differences(shop.ledger(), read_contents(primary, ShopWorkload::tables()));
    outcome.differences.insert(outcome.differences.end(), of_stream.begin(), of_stream.end());
    return outcome;
}

void Demo::show_result() const {
    const tree::Observation observation = tree::probe(cascade_, {.stop_fd = options_.stop_fd});
    options_.events.on_result(tree::status_of(cascade_, observation));
}

// What apply is going to take.
postgres::Installation installation_for_demo() {
    constexpr int kDecodesOnStandby = 16;
    postgres::newest_installation(kDecodesOnStandby);  // throws, and says where it has looked
    postgres::Installation installation = postgres::newest_installation(0);
    if (installation.major_version < kDecodesOnStandby)
        throw ConfigError(fmt::format("PGCASCADE_BINDIR names PostgreSQL {}; a standby decodes from {} on",
                                      installation.version, kDecodesOnStandby),
                          "name a newer one there, or unset it");
    return installation;
}

void stop_servers(const tree::Cascade& cascade, int stop_fd) {
    for (const tree::StopOutcome& outcome : tree::stop(cascade, {.stop_fd = stop_fd}))
        if (outcome.kind == tree::StopOutcome::Kind::kFailed)
            throw Error(outcome.node + ": " + outcome.problem.what, outcome.problem.hint);
}

}  // namespace

Outcome run_demo(const DemoOptions& options) {
    const postgres::Installation installation = installation_for_demo();
    // Left in the reverse order: servers stopped, then the directory removed.
    StageDirectory directory{options.directory};
    const tree::Cascade cascade = write_shop_cascade(directory.path());
    const tree::Cascade subscriber = write_subscriber_cascade(cascade);
    ServersOnStage servers{cascade};
    ServersOnStage subscribers{subscriber};

    options.events.on_phase(fmt::format("{} servers of PostgreSQL {} and a relay, as {} says",
                                        cascade.nodes.size() - 1, installation.version,
                                        cascade.file.string()));
    Outcome outcome = Demo{options, cascade, subscriber}.play();
    outcome.cascade = cascade;
    outcome.subscriber = subscriber;
    outcome.directory = directory.path();
    outcome.is_kept = options.keep;
    if (options.keep) {
        servers.keep();
        subscribers.keep();
        directory.keep();
    } else {
        options.events.on_phase("stopping the servers");
        try {
            stop_servers(cascade, options.stop_fd);
            stop_servers(subscriber, options.stop_fd);
        } catch (const Stopped&) {
            throw;
        } catch (const Error& problem) {
            outcome.not_stopped = problem;  // what was proven stays proven
        }
    }
    return outcome;
}

}  // namespace pgcascade::demo
