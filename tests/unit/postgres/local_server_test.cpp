#include "postgres/local_server.hpp"

#include <array>
#include <csignal>
#include <fstream>
#include <map>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"
#include "postgres/connection.hpp"
#include "postgres/data_directory.hpp"
#include "postgres/postmaster_pid.hpp"
#include "unit/temporary_directory.hpp"

// Real servers of this machine: its oldest and its newest PostgreSQL.

namespace pgcascade::postgres {

namespace fs = std::filesystem;
using testing::HasSubstr;

namespace {

constexpr const char* kPassword = "it's \\ 'secret'";

std::string free_port() {
    const FileDescriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw SystemError("no free port", errno);
    return std::to_string(ntohs(address.sin_port));
}

// The servers run as another account, which has to get through.
const fs::path& opened(const TemporaryDirectory& directory) {
    fs::permissions(directory.path(), fs::perms{0755});
    return directory.path();
}

Installation oldest_installation() {
    const auto found = find_installations();
    if (found.empty()) throw ConfigError("no PostgreSQL here");
    return *std::min_element(found.begin(), found.end(),
                             [](const Installation& left, const Installation& right) {
                                 return left.major_version < right.major_version;
                             });
}

void copy_cluster(const fs::path& from, const fs::path& to) {
    const CommandResult copy = run({.arguments = {"cp", "-a", from.string(), to.string()},
                                    .account = std::nullopt,
                                    .directory = {},
                                    .input = {}});
    ASSERT_EQ(copy.exit_status, 0) << copy.output;
}

// initdb takes seconds: it runs once a version, and the tests work on copies.
class LocalServerTest : public testing::TestWithParam<const char*> {
  protected:
    static void TearDownTestSuite() { templates().clear(); }

    void SetUp() override {
        installation_ =
            std::string_view{GetParam()} == "oldest" ? oldest_installation() : newest_installation(16);
        account_ = LocalServer::account_for(directory_);
    }

    void TearDown() override {
        for (const fs::directory_entry& entry : fs::directory_iterator{root_})
            if (entry.is_directory()) server(entry.path()).stop(StopMode::kImmediate);
    }

    LocalServer server(const fs::path& directory, int stop_fd = -1) const {
        return {installation_, account_, directory, stop_fd};
    }
    LocalServer server() const { return server(directory_); }

    LocalServer make_server() {
        auto& known = templates();
        if (!known.contains(installation_.version)) {
            const fs::path& root = opened(known[installation_.version]);
            server(root / "data").init({.superuser = "boss", .superuser_password = kPassword});
        }
        copy_cluster(known.at(installation_.version).path() / "data", directory_);
        configure(server());
        return server();
    }

    void configure(LocalServer one) {
        port_ = free_port();
        one.write_settings({{"port", port_}, {"fsync", "off"}, {"listen_addresses", "127.0.0.1"}});
    }

    Conninfo conninfo(const std::string& password = kPassword) const {
        return Conninfo{}
            .with("host", "127.0.0.1")
            .with("port", port_)
            .with("user", "boss")
            .with("dbname", "postgres")
            .with("password", password);
    }

    Installation installation_;
    Account account_;
    const TemporaryDirectory temporary_;
    const fs::path root_ = opened(temporary_);
    const fs::path directory_ = root_ / "data";
    std::string port_;

  private:
    static std::map<std::string, TemporaryDirectory>& templates() {
        static std::map<std::string, TemporaryDirectory> by_version;
        return by_version;
    }
};

std::string show(Connection& connection, const std::string& setting) {
    return std::string{connection.query("SHOW " + setting).at(0, 0)};
}

pid_t postmaster(const fs::path& directory) {
    const auto file = read_postmaster_pid(directory);
    if (!file) throw Error("no postmaster.pid in " + directory.string());
    return file->pid;
}

}  // namespace

TEST_P(LocalServerTest, NewClusterTakesLoginsWithThePasswordOnly) {
    LocalServer one = make_server();
    EXPECT_FALSE(one.is_running());
    one.start();
    EXPECT_TRUE(one.is_running());
    {
        Connection connection{conninfo()};
        EXPECT_EQ(show(connection, "data_checksums"), "on");
        EXPECT_EQ(show(connection, "server_encoding"), "UTF8");
        EXPECT_EQ(connection.query("SELECT datcollate FROM pg_database WHERE datname = 'postgres'").at(0, 0),
                  "C.UTF-8");
        EXPECT_EQ(
            connection.query("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'")
                .at(0, 0),
            "0");
    }
    EXPECT_THROW(Connection{conninfo("wrong")}, LoginError);
    one.stop();
    EXPECT_FALSE(one.is_running());
    EXPECT_THROW(Connection{conninfo()}, ConnectionError);
    EXPECT_EQ(inspect_data_directory(directory_).state, DataDirectory::State::kCluster);
    EXPECT_FALSE(fs::exists(directory_ / kUnfinishedMarker));
}

TEST_P(LocalServerTest, StartAndStopTwiceAreOnce) {
    LocalServer one = make_server();
    one.stop();
    one.start();
    const pid_t first = postmaster(directory_);
    one.start();
    EXPECT_EQ(postmaster(directory_), first);
    one.stop();
    one.stop();
    EXPECT_FALSE(one.is_running());
}

TEST_P(LocalServerTest, OutlivesTheProcessThatStartedIt) {
    make_server();
    const pid_t starter = ::fork();
    ASSERT_GE(starter, 0);
    if (starter == 0) {
        server().start();
        ::kill(::getpid(), SIGKILL);
    }
    ASSERT_EQ(::waitpid(starter, nullptr, 0), starter);
    EXPECT_TRUE(server().is_running());
    Connection connection{conninfo()};
    EXPECT_EQ(show(connection, "port"), port_);
}

TEST_P(LocalServerTest, KilledServerStartsAgain) {
    LocalServer one = make_server();
    one.start();
    Connection busy{conninfo()};
    const pid_t killed = postmaster(directory_);
    ASSERT_EQ(::kill(killed, SIGKILL), 0);
    const FileDescriptor nothing{::eventfd(0, EFD_CLOEXEC)};
    while (one.is_running()) wait_for(nothing.get(), POLLIN, 5, -1);
    one.start();
    EXPECT_NE(postmaster(directory_), killed);
    EXPECT_EQ(show(*std::make_unique<Connection>(conninfo()), "port"), port_);
}

TEST_P(LocalServerTest, NumberThatPassedToAnotherProcessDoesNotCount) {
    LocalServer one = make_server();
    one.start();
    const std::string file = read_file(directory_ / "postmaster.pid");
    one.stop();
    // A process of the same account keeps the server from starting, if nobody looks closer.
    const FileDescriptor out{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
    const DetachedProcess other = start_detached(
        {.arguments = {"sleep", "600"}, .account = account_, .directory = {}, .input = {}}, out.get());
    write_file_durably(directory_ / "postmaster.pid",
                       std::to_string(other.pid) + file.substr(file.find('\n')), 0600, account_.ids);
    EXPECT_FALSE(one.is_running());
    one.stop();
    one.start();
    EXPECT_TRUE(one.is_running());
    EXPECT_EQ(wait_for(other.pidfd.get(), POLLIN, 0, -1), 0) << "stop() ended a process that is no server";
    ::kill(other.pid, SIGKILL);
}

TEST_P(LocalServerTest, ServerThatDoesNotStartTellsItsLog) {
    LocalServer one = make_server();
    one.write_settings({{"shared_buffers", "plenty"}});
    try {
        one.start();
        FAIL() << "no error";
    } catch (const SystemError& error) {
        EXPECT_THAT(error.what(), HasSubstr("\"plenty\""));
        EXPECT_THAT(error.hint(), HasSubstr(one.log_file().string()));
    }
    EXPECT_FALSE(one.is_running());
}

TEST_P(LocalServerTest, LogOfTheCollectorIsToldToo) {
    LocalServer one = make_server();
    one.write_settings({{"logging_collector", "on"}, {"max_prepared_transactions", "10"}});
    one.start();
    one.stop();
    fs::remove_all(directory_ / "pg_wal");
    try {
        one.start();
        FAIL() << "no error";
    } catch (const SystemError& error) {
        EXPECT_THAT(error.what(), HasSubstr("pg_wal"));
    }
}

TEST_P(LocalServerTest, OptionsStayOverARestartAndNotOverAStop) {
    LocalServer one = make_server();
    one.start();
    std::ofstream{directory_ / "postmaster.opts"}
        << installation_.program("postgres").string()
        << " \"-D\" \"/moved/away\" \"-c\" \"cluster_name=by hand\" \"-D/moved/away\"\n";
    one.restart();
    EXPECT_EQ(show(*std::make_unique<Connection>(conninfo()), "cluster_name"), "by hand");
    one.restart();
    EXPECT_EQ(show(*std::make_unique<Connection>(conninfo()), "cluster_name"), "by hand");
    one.stop();
    one.start();
    EXPECT_EQ(show(*std::make_unique<Connection>(conninfo()), "cluster_name"), "");
}

TEST_P(LocalServerTest, SettingsMergeAndReachTheServer) {
    LocalServer one = make_server();
    one.write_settings({{"cluster_name", "it's \\ here"}, {"work_mem", "5MB"}});
    one.write_settings({{"work_mem", "6MB"}});
    one.start();
    {
        Connection connection{conninfo()};
        EXPECT_EQ(show(connection, "cluster_name"), "it's \\ here");
        EXPECT_EQ(show(connection, "work_mem"), "6MB");
        connection.query("ALTER SYSTEM SET application_name = 'a \\ ''b'''");
    }
    EXPECT_THROW(one.write_settings({{"work_mem", "7MB"}}), Error);
    EXPECT_EQ(one.read_settings().at("application_name"), "a \\ 'b'");
    EXPECT_EQ(one.read_settings().at("unix_socket_directories"), "/tmp");
}

TEST_P(LocalServerTest, SmartStopThatWaitsForAClientTimesOut) {
    LocalServer one = make_server();
    one.start();
    Connection connection{conninfo()};
    EXPECT_THROW(one.stop(StopMode::kSmart, std::chrono::milliseconds{200}), SystemError);
    EXPECT_TRUE(one.is_running());
    one.stop();
    EXPECT_FALSE(one.is_running());
}

TEST_P(LocalServerTest, StopRequestEndsInitWithAPartialDirectory) {
    const FileDescriptor stop{::eventfd(0, EFD_CLOEXEC)};
    // Stops it once initdb has begun to write.
    std::thread stopper{[&] {
        const FileDescriptor watch{::inotify_init1(IN_CLOEXEC)};
        fs::create_directory(directory_);
        ASSERT_EQ(::chown(directory_.c_str(), account_.ids.user, account_.ids.group), 0);
        ASSERT_GE(::inotify_add_watch(watch.get(), directory_.c_str(), IN_CREATE), 0);
        std::array<char, 4096> events;
        while (!fs::exists(directory_ / "initdb"))
            ASSERT_GT(::read(watch.get(), events.data(), events.size()), 0);
        const std::uint64_t one = 1;
        ASSERT_EQ(::write(stop.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    }};
    EXPECT_THROW(server(directory_, stop.get()).init({.superuser = "boss", .superuser_password = kPassword}),
                 Stopped);
    stopper.join();
    EXPECT_EQ(inspect_data_directory(directory_).state, DataDirectory::State::kPartialClone);
    EXPECT_TRUE(server_processes(directory_ / "initdb").empty());
}

TEST_P(LocalServerTest, KilledInitLeavesAPartialDirectoryThatTheNextOneFinishes) {
    const FileDescriptor watch{::inotify_init1(IN_CLOEXEC)};
    fs::create_directory(directory_);
    ASSERT_GE(::inotify_add_watch(watch.get(), directory_.c_str(), IN_CREATE), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        server().init({.superuser = "boss", .superuser_password = kPassword});
        ::_exit(0);
    }
    std::array<char, 4096> events;
    while (!fs::exists(directory_ / "initdb"))
        ASSERT_GT(::read(watch.get(), events.data(), events.size()), 0);
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(inspect_data_directory(directory_).state, DataDirectory::State::kPartialClone);

    server().init({.superuser = "boss", .superuser_password = kPassword});
    configure(server());
    server().start();
    EXPECT_EQ(show(*std::make_unique<Connection>(conninfo()), "data_checksums"), "on");
}

TEST_P(LocalServerTest, InitTouchesNoForeignDirectory) {
    fs::create_directory(directory_);
    std::ofstream{directory_ / "letter.txt"} << "dear";
    EXPECT_THROW(server().init({.superuser = "boss", .superuser_password = kPassword}), ConfigError);
    EXPECT_EQ(read_file(directory_ / "letter.txt"), "dear");
}

TEST_P(LocalServerTest, FailedInitTellsWhatInitdbSaid) {
    try {
        server().init({.superuser = "pg_boss", .superuser_password = kPassword});
        FAIL() << "no error";
    } catch (const SystemError& error) {
        EXPECT_THAT(error.what(), HasSubstr("pg_boss"));
    }
    EXPECT_EQ(inspect_data_directory(directory_).state, DataDirectory::State::kPartialClone);
}

TEST_P(LocalServerTest, ParentThatTheAccountCannotEnterIsNamed) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root runs servers as another account";
    fs::create_directories(root_ / "closed" / "below");
    fs::permissions(root_ / "closed", fs::perms::owner_all);
    LocalServer one{installation_, account_, root_ / "closed" / "below" / "missing" / "data"};
    try {
        one.init({.superuser = "boss", .superuser_password = kPassword});
        FAIL() << "no error";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("may not enter " + (root_ / "closed").string()));
        EXPECT_THAT(error.hint(), HasSubstr("chmod"));
    }
    EXPECT_FALSE(fs::exists(root_ / "closed" / "below" / "missing"));
}

// A standby that was copied while the primary ran, and whose upstream is away since.
class LocalServerStandbyTest : public LocalServerTest {
  protected:
    LocalServer make_standby(bool with_wal) {
        LocalServer primary = make_server();
        primary.start();
        const fs::path copy = root_ / "copy";
        {
            Connection connection{conninfo()};
            connection.query("SELECT pg_backup_start('copy', fast => true)");
            copy_cluster(directory_, copy);
            const Result label =
                connection.query("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)");
            write_file_durably(copy / "backup_label", label.at(0, 0), 0600, account_.ids);
        }
        primary.stop();
        fs::remove(copy / "postmaster.pid");
        write_file_durably(copy / "standby.signal", "", 0600, account_.ids);
        if (!with_wal)
            for (const fs::directory_entry& file : fs::directory_iterator{copy / "pg_wal"})
                if (file.is_regular_file()) fs::remove(file.path());
        LocalServer standby = server(copy);
        standby.write_settings({{"primary_conninfo", conninfo().to_string()}, {"port", free_port()}});
        return standby;
    }
};

TEST_P(LocalServerStandbyTest, CountsAsStartedWhileItReplays) {
    LocalServer standby = make_standby(true);
    standby.start();
    EXPECT_TRUE(standby.is_running());
    standby.stop();
    EXPECT_FALSE(standby.is_running());
}

TEST_P(LocalServerStandbyTest, WithoutAnyWalIsReportedAndLeftRunning) {
    LocalServer standby = make_standby(false);
    try {
        standby.start(std::chrono::milliseconds{1'500});
        FAIL() << "no error";
    } catch (const SystemError& error) {
        EXPECT_THAT(error.what(), HasSubstr("gets no WAL"));
        EXPECT_THAT(error.what(), HasSubstr("Connection refused"));
    }
    EXPECT_TRUE(standby.is_running());
    standby.stop();
    EXPECT_FALSE(standby.is_running());
}

INSTANTIATE_TEST_SUITE_P(Versions, LocalServerTest, testing::Values("oldest", "newest"),
                         [](const auto& version) { return std::string{version.param}; });
INSTANTIATE_TEST_SUITE_P(Versions, LocalServerStandbyTest, testing::Values("oldest", "newest"),
                         [](const auto& version) { return std::string{version.param}; });

}  // namespace pgcascade::postgres
