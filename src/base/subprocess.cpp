#include "base/subprocess.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"

namespace pgcascade {

namespace {

// Asks by one of the reentrant functions: several nodes of a tree are looked at at once.
template <typename Ask>
std::optional<Account> look_up(Ask ask) {
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> strings(1024);
    while (ask(&entry, strings.data(), strings.size(), &found) == ERANGE) strings.resize(2 * strings.size());
    if (found == nullptr) return std::nullopt;
    return Account{entry.pw_name, {entry.pw_uid, entry.pw_gid}, entry.pw_dir};
}

struct Pipe {
    FileDescriptor read_end;
    FileDescriptor write_end;

    Pipe() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw SystemError("can't make a pipe", errno);
        read_end = FileDescriptor{ends[0]};
        write_end = FileDescriptor{ends[1]};
    }
};

// Between fork and exec only async-signal-safe calls are allowed: everything is prepared before.
struct Prepared {
    std::vector<char*> arguments;
    std::vector<std::string> environment_strings;
    std::vector<char*> environment;
    const Command* command = nullptr;
    pid_t parent = -1;
};

Prepared prepare(const Command& command) {
    Prepared prepared;
    prepared.command = &command;
    prepared.parent = ::getpid();
    for (const std::string& argument : command.arguments)
        prepared.arguments.push_back(const_cast<char*>(argument.c_str()));
    prepared.arguments.push_back(nullptr);
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text{*entry};
        const std::string_view name = text.substr(0, text.find('='));
        if (command.takes_variable != nullptr && !command.takes_variable(name)) continue;
        if (command.account && (text.starts_with("HOME=") || text.starts_with("USER="))) continue;
        prepared.environment_strings.emplace_back(text);
    }
    if (command.account) {
        prepared.environment_strings.push_back("HOME=" + command.account->home.string());
        prepared.environment_strings.push_back("USER=" + command.account->name);
    }
    for (std::string& entry : prepared.environment_strings) prepared.environment.push_back(entry.data());
    prepared.environment.push_back(nullptr);
    return prepared;
}

[[noreturn]] void become(const Prepared& prepared, int input, int output, int failure) {
    const Command& command = *prepared.command;
    const auto fail = [failure] {
        const int error = errno;
        [[maybe_unused]] const ssize_t written = ::write(failure, &error, sizeof error);
        ::_exit(127);
    };
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    // A group of its own: a Ctrl-C at the terminal must not reach a database server before we stop it in
    // order.
    ::setpgid(0, 0);
    if (::dup2(input, STDIN_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0 ||
        ::dup2(output, STDERR_FILENO) < 0)
        fail();
    if (command.account && ::geteuid() == 0) {
        const FileOwner ids = command.account->ids;
        if (::setgroups(1, &ids.group) != 0 || ::setgid(ids.group) != 0 || ::setuid(ids.user) != 0) fail();
    }
    // A change of the user clears it, so it comes after; and the parent may be gone by now.
    if (command.end_with_parent &&
        (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || ::getppid() != prepared.parent))
        fail();
    const char* directory = !command.directory.empty() ? command.directory.c_str()
                            : command.account          ? "/"
                                                       : nullptr;
    if (directory != nullptr && ::chdir(directory) != 0) fail();
    ::execvpe(prepared.arguments[0], prepared.arguments.data(), prepared.environment.data());
    fail();
    ::_exit(127);
}

int shell_status(int status) {
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

class Child {
  public:
    explicit Child(pid_t pid) : pid_(pid), pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {
        if (!pidfd_) throw SystemError("can't watch a child process", errno);
    }
    ~Child() {
        if (pid_ > 0) end();
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    int fd() const { return pidfd_.get(); }

    int reap() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0)
            if (errno != EINTR) throw SystemError("can't wait for a child process", errno);
        pid_ = -1;
        return shell_status(status);
    }

  private:
    void end() {
        ::kill(pid_, SIGTERM);
        pollfd exited{pidfd_.get(), POLLIN, 0};
        if (::poll(&exited, 1, 5'000) == 0) ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }

    pid_t pid_;
    FileDescriptor pidfd_;
};

// The child's input is a file, not a pipe: it can be longer than a pipe holds, and nobody needs to feed it.
FileDescriptor input_file(const Command& command) {
    FileDescriptor input{::memfd_create("input", MFD_CLOEXEC)};
    if (!input) throw SystemError("can't make a memory file", errno);
    write_all(input.get(), command.input, "a memory file");
    ::lseek(input.get(), 0, SEEK_SET);
    return input;
}

// Takes what is there without waiting; false at the end of the output.
bool take_output(int fd, std::string& output) {
    char buffer[16 * 1024];
    for (;;) {
        const ssize_t count = ::read(fd, buffer, sizeof buffer);
        if (count > 0) output.append(buffer, static_cast<std::size_t>(count));
        if (count == 0) return false;
        if (count < 0 && errno == EAGAIN) return true;
        if (count < 0 && errno != EINTR) throw SystemError("can't read a child's output", errno);
    }
}

void throw_if_not_started(int failure_fd, const std::string& program) {
    int error = 0;
    ssize_t count;
    do count = ::read(failure_fd, &error, sizeof error);
    while (count < 0 && errno == EINTR);
    if (count == sizeof error) throw SystemError("can't run " + program, error);
}

}  // namespace

Account Account::named(const std::string& name) {
    const auto account = look_up([&](passwd* entry, char* strings, std::size_t size, passwd** found) {
        return ::getpwnam_r(name.c_str(), entry, strings, size, found);
    });
    if (!account) throw ConfigError("there is no operating system account \"" + name + "\"");
    return *account;
}

Account Account::of_user(uid_t user) {
    const auto account = look_up([&](passwd* entry, char* strings, std::size_t size, passwd** found) {
        return ::getpwuid_r(user, entry, strings, size, found);
    });
    if (!account) throw ConfigError("there is no operating system account with uid " + std::to_string(user));
    return *account;
}

Account Account::current() {
    return of_user(::geteuid());
}

CommandResult run(const Command& command, int stop_fd) {
    const Prepared prepared = prepare(command);
    const FileDescriptor input = input_file(command);
    Pipe output;
    Pipe failure;

    const pid_t pid = ::fork();
    if (pid < 0) throw SystemError("can't start " + command.arguments[0], errno);
    if (pid == 0) become(prepared, input.get(), output.write_end.get(), failure.write_end.get());
    Child child{pid};
    output.write_end.reset();
    failure.write_end.reset();
    throw_if_not_started(failure.read_end.get(), command.arguments[0]);

    ::fcntl(output.read_end.get(), F_SETFL, O_NONBLOCK);
    CommandResult result;
    bool open = true;
    for (;;) {
        pollfd fds[3] = {
            {child.fd(), POLLIN, 0}, {open ? output.read_end.get() : -1, POLLIN, 0}, {stop_fd, POLLIN, 0}};
        if (::poll(fds, 3, -1) < 0 && errno != EINTR) throw SystemError("poll failed", errno);
        if (fds[2].revents != 0) throw Stopped();
        if (open && fds[1].revents != 0) open = take_output(output.read_end.get(), result.output);
        if (fds[0].revents != 0) break;
    }
    if (open) take_output(output.read_end.get(), result.output);
    result.exit_status = child.reap();
    return result;
}

DetachedProcess start_detached(const Command& command, int output_fd) {
    const Prepared prepared = prepare(command);
    const FileDescriptor input = input_file(command);
    Pipe started;
    Pipe failure;

    // Two forks: the process is adopted by init, which reaps it whenever it ends.
    const pid_t middle = ::fork();
    if (middle < 0) throw SystemError("can't start " + command.arguments[0], errno);
    if (middle == 0) {
        ::setsid();
        const pid_t pid = ::fork();
        if (pid == 0) become(prepared, input.get(), output_fd, failure.write_end.get());
        const bool told = ::write(started.write_end.get(), &pid, sizeof pid) == sizeof pid;
        ::_exit(pid > 0 && told ? 0 : 1);
    }
    started.write_end.reset();
    failure.write_end.reset();
    const int status = Child{middle}.reap();
    DetachedProcess process;
    if (status != 0 || ::read(started.read_end.get(), &process.pid, sizeof process.pid) != sizeof process.pid)
        throw SystemError("can't start " + command.arguments[0], EAGAIN);
    process.pidfd = FileDescriptor{static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0))};
    throw_if_not_started(failure.read_end.get(), command.arguments[0]);
    return process;
}

}  // namespace pgcascade
