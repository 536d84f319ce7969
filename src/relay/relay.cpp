#include "relay/relay.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
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
#include "relay/log_keeper.hpp"
#include "relay/metrics.hpp"
#include "relay/server.hpp"
#include "relay/tls.hpp"
#include "relay/wal_receiver.hpp"

namespace pgcascade::relay {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds kPatienceWithClients{10};
constexpr unsigned kBlockingThreads = 8;
constexpr std::size_t kScramKeyBytes = 32;
constexpr const char* kScramKeyFile = "scram_key";

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
    void start_receiving();
    bool is_of_database(const Slot& slot, const Feed& feed) const;

    const DirectoryLock lock_;
    SlotStore slots_;
    std::vector<std::unique_ptr<Feed>> feeds_;
    std::unique_ptr<Wal> wal_;
    boost::asio::thread_pool blocking_{kBlockingThreads};
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
    : lock_(config.directory),
      slots_(config.directory),
      state_{std::move(config), slots_, feeds_, wal_, blocking_} {
    state_.scram_key = load_scram_key(state_.config.directory);
    for (const FeedConfig& feed : state_.config.feeds) {
        feeds_.push_back(std::make_unique<Feed>(feed, state_.config.directory));
        if (const auto& cut = feeds_.back()->log().cut())
            diagnostics::warning(
                fmt::format("feed {}: {} bytes at the end of the log were not whole and are "
                            "received again ({})",
                            feed.name, cut->bytes, cut->reason));
    }
    if (state_.config.wal) wal_ = std::make_unique<Wal>(*state_.config.wal, state_.config.directory);
    reload();
}

// Threads first: they use everything else.
Relay::~Relay() {
    stop_receiving_.wake();
    if (keeper_) keeper_->stop();
    for (std::thread& thread : threads_) thread.join();
    blocking_.join();
    server_.reset();
}

void Relay::reload() {
    std::vector<std::string> names;
    for (const FeedConfig& feed : state_.config.feeds) names.push_back(feed.name);
    if (state_.config.users)
        state_.users = std::make_shared<const Users>(read_users_file(*state_.config.users, names));
    if (!state_.config.tls) return;
    Tls tls = load_tls(*state_.config.tls);
    state_.tls_binding = std::make_shared<const std::string>(std::move(tls.binding));
    state_.tls = std::move(tls.context);
}

template <class Work>
void Relay::start_thread(Work work) {
    threads_.emplace_back([this, work] {
        try {
            work();
        } catch (...) {
            const std::lock_guard lock{mutex_};
            if (!failure_) failure_ = std::current_exception();
            failed_.wake();
        }
    });
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
    for (const auto& feed : feeds_)
        add(*feed, std::make_unique<FeedReceiver>(*feed, timeout, stop_receiving_.fd()),
            [this, feed = feed.get()](const Slot& slot) { return is_of_database(slot, *feed); });
    if (wal_)
        add(*wal_, std::make_unique<WalReceiver>(*wal_, slots_, timeout, stop_receiving_.fd()),
            [](const Slot& slot) { return !slot.is_logical(); });
    keeper_ = std::make_unique<LogKeeper>(std::move(kept), slots_, state_.config, state_.log_sync_seconds);
    start_thread([this] { keeper_->run(); });
    for (const auto& receiver : receivers_) start_thread([receiver = receiver.get()] { receiver->run(); });
}

// A subscriber may go over to another set of publications, and so to another feed of its database: each slot
// counts for all of them.
bool Relay::is_of_database(const Slot& slot, const Feed& feed) const {
    return slot.is_logical() && std::any_of(feeds_.begin(), feeds_.end(), [&](const auto& other) {
               return other->name() == slot.feed && other->config().database == feed.config().database;
           });
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
            diagnostics::info("users and certificates were read anew");
        } catch (const Error& problem) {
            diagnostics::error(problem);
            diagnostics::warning("users and certificates stay as they were");
        }
        service_manager::tell_ready();
    }
    diagnostics::info("stopping");
    service_manager::tell_stopping();
    stop_receiving_.wake();
    server_->stop(kPatienceWithClients);
}

}  // namespace

void run_relay(const RelayOptions& options) {
    raise_file_limit();
    Relay relay{read_relay_file(options.file)};
    relay.serve(options);
}

}  // namespace pgcascade::relay
