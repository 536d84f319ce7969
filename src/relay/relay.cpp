#include "relay/relay.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/service_manager.hpp"
#include "relay/directory_lock.hpp"
#include "relay/feed_receiver.hpp"
#include "relay/log_check.hpp"
#include "relay/log_keeper.hpp"
#include "relay/metrics.hpp"
#include "relay/server.hpp"
#include "relay/wal_receiver.hpp"

namespace pgcascade::relay {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds kPatienceWithClients{10};
constexpr unsigned kThreadsForDisk = 4;
constexpr unsigned kThreadsForUpstream = 16;
constexpr std::size_t kScramKeyBytes = 32;
constexpr const char* kScramKeyFile = "scram_key";

diagnostics::Fields about_relay() {
    return {{"component", "relay"}};
}

// Made once, and kept: a name that is not there must look the same tomorrow.
std::string load_scram_key(const fs::path& directory) {
    const fs::path file = directory / kScramKeyFile;
    if (fs::exists(file)) return read_file(file);
    std::string key(kScramKeyBytes, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), static_cast<int>(key.size())) != 1)
        throw Error("OpenSSL gives no random numbers");
    write_file_durably(file, key, 0600);
    return key;
}

// Each client takes a descriptor. What is started by hand has 1024, for the sake of programs that use
// select(2), and may raise that by itself.
void raise_file_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

// Clients must not take those that the logs and the slots need: without one the relay would have to end.
void limit_connections(RelayConfig& config) {
    constexpr int kReserved = 200;  // segments under way and in use, upstreams, the slots' file
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    const auto most = static_cast<std::int64_t>(limit.rlim_cur) - kReserved;
    if (config.connections <= most) return;
    diagnostics::warning(
        fmt::format("the relay may have {} files open: it takes {} connections, not {}", limit.rlim_cur,
                    std::max<std::int64_t>(most, 1), config.connections),
        "raise the limit of open files (ulimit -n, LimitNOFILE), or lower connections in [relay]");
    config.connections = static_cast<int>(std::max<std::int64_t>(most, 1));
}

class Relay {
  public:
    explicit Relay(RelayConfig config);
    ~Relay();
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    void reload();
    void serve(const RelayOptions& options);

  private:
    template <class Work>
    void start_thread(Work work);
    void fail(const std::exception_ptr& failure);
    void start_receiving();
    std::vector<log::LogPlace> logs_of_before() const;

    const DirectoryLock lock_;
    SlotStore slots_;
    std::vector<std::unique_ptr<Feed>> feeds_;
    std::unique_ptr<Wal> wal_;
    boost::asio::thread_pool for_disk_{kThreadsForDisk};
    boost::asio::thread_pool for_upstream_{kThreadsForUpstream};
    RelayState state_;

    Waker stop_receiving_;
    std::vector<std::unique_ptr<Receiver>> receivers_;
    std::unique_ptr<LogKeeper> keeper_;
    std::unique_ptr<Server> server_;
    std::unique_ptr<MetricsServer> metrics_;
    std::vector<std::thread> threads_;

    Waker failed_;
    std::mutex mutex_;  // the first thread that fails says why
    std::exception_ptr failure_;
};

Relay::Relay(RelayConfig config)
    : lock_(config.directory), slots_(config.directory), state_{std::move(config), slots_,       feeds_, wal_,
                                                                for_disk_,         for_upstream_} {
    state_.fail = [this](const std::exception_ptr& failure) { fail(failure); };
    state_.life = fmt::format("{:08x}", std::random_device{}());
    state_.scram_key = load_scram_key(state_.config.directory);
    for (const FeedConfig& feed : state_.config.feeds) {
        feeds_.push_back(std::make_unique<Feed>(feed, state_.config.directory, state_.config.max_bytes));
        if (const auto& cut = feeds_.back()->log().cut())
            diagnostics::warning(fmt::format("feed {}: {} bytes at the end of the log were not whole and are "
                                             "received again ({})",
                                             feed.name, cut->bytes, cut->reason),
                                 {}, feeds_.back()->about());
    }
    if (state_.config.wal) wal_ = std::make_unique<Wal>(*state_.config.wal, state_.config.directory);
    reload();
}

// Threads first: they use everything else.
Relay::~Relay() {
    stop_receiving_.wake();
    if (keeper_) keeper_->stop();
    for (std::thread& thread : threads_) thread.join();
    for_disk_.join();
    for_upstream_.join();
    server_.reset();
}

// All or nothing: a mistake in one of the files leaves everything as it was.
void Relay::reload() {
    std::vector<std::string> names;
    for (const FeedConfig& feed : state_.config.feeds) names.push_back(feed.name);
    auto users = state_.users.load();
    auto tls = state_.tls.load();
    if (state_.config.users)
        users = std::make_shared<const Users>(read_users_file(*state_.config.users, names));
    if (state_.config.tls) tls = std::make_shared<const Tls>(load_tls(*state_.config.tls));
    state_.users = std::move(users);
    state_.tls = std::move(tls);
}

template <class Work>
void Relay::start_thread(Work work) {
    threads_.emplace_back([this, work] {
        try {
            work();
        } catch (const Stopped&) {
        } catch (...) {
            fail(std::current_exception());
        }
    });
}

void Relay::fail(const std::exception_ptr& failure) {
    const std::lock_guard lock{mutex_};
    if (!failure_) failure_ = failure;
    failed_.wake();
}

void Relay::start_receiving() {
    const std::chrono::milliseconds timeout = state_.config.wal_receiver_timeout;
    std::vector<LogKeeper::Kept> kept;
    const auto add = [&](IncomingLog& log, std::unique_ptr<Receiver> receiver, auto is_held_by) {
        kept.push_back({&log, [receiver = receiver.get()] { receiver->on_durable(); }, is_held_by});
        receivers_.push_back(std::move(receiver));
        log.on_news = [this, &log] {
            server_->ring(log);
            keeper_->on_news();
        };
    };
    // A subscriber may go over to another set of publications, and so to another feed of its database: each
    // slot counts for all of them.
    for (const auto& feed : feeds_)
        add(*feed, std::make_unique<FeedReceiver>(*feed, slots_, timeout, stop_receiving_.fd()),
            [feed = feed.get()](const Slot& slot) { return slot.database == feed->config().database; });
    if (wal_)
        add(*wal_, std::make_unique<WalReceiver>(*wal_, slots_, timeout, stop_receiving_.fd()),
            [](const Slot& slot) { return !slot.is_logical(); });
    start_thread([this, logs = logs_of_before()] { check_logs(logs, stop_receiving_.fd()); });
    keeper_ = std::make_unique<LogKeeper>(std::move(kept), slots_, state_.config, state_.log_sync_seconds);
    start_thread([this] { keeper_->run(); });
    for (const auto& receiver : receivers_) start_thread([receiver = receiver.get()] { receiver->run(); });
}

// What an earlier process has left.
std::vector<log::LogPlace> Relay::logs_of_before() const {
    std::vector<log::LogPlace> logs;
    for (const auto& feed : feeds_)
        logs.push_back({log::LogPlace::Kind::kFeed, feed->name(), feed->directory()});
    if (wal_ && wal_->log() != nullptr) logs.push_back({log::LogPlace::Kind::kWal, "wal", wal_->directory()});
    return logs;
}

void Relay::serve(const RelayOptions& options) {
    if (state_.config.metrics) metrics_ = std::make_unique<MetricsServer>(state_);
    server_ = std::make_unique<Server>(state_);
    start_receiving();
    service_manager::tell_ready();
    for (;;) {
        std::array<pollfd, 3> waited{
            {{options.stop_fd, POLLIN, 0}, {options.reload_fd, POLLIN, 0}, {failed_.fd(), POLLIN, 0}}};
        ::poll(waited.data(), waited.size(), -1);
        if (waited[2].revents != 0) {
            const std::lock_guard lock{mutex_};
            std::rethrow_exception(failure_);
        }
        if (waited[0].revents != 0) break;
        if (waited[1].revents == 0) continue;
        signalfd_siginfo signal{};
        static_cast<void>(::read(options.reload_fd, &signal, sizeof signal));
        service_manager::tell_reloading();
        try {
            reload();
            diagnostics::info("users and certificates were read anew", about_relay());
        } catch (const Error& problem) {
            diagnostics::error(problem, about_relay());
            diagnostics::warning("users and certificates stay as they were", {}, about_relay());
        }
        service_manager::tell_ready();
    }
    diagnostics::info("stopping", about_relay());
    service_manager::tell_stopping();
    stop_receiving_.wake();
    server_->stop(kPatienceWithClients);
}

}  // namespace

void run_relay(const RelayOptions& options) {
    raise_file_limit();
    RelayConfig config = read_relay_file(options.file);
    limit_connections(config);
    Relay relay{std::move(config)};
    relay.serve(options);
}

}  // namespace pgcascade::relay
