#pragma once

#include <cerrno>
#include <csignal>
#include <functional>

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

// Runs `prepare` and `act` in a process of its own, and kills that one with SIGKILL as soon as `act` has made
// so many system calls. False where it was done before.
inline bool killed_at_call(int calls, const std::function<void()>& prepare,
                           const std::function<void()>& act) {
    const pid_t child = ::fork();
    if (child < 0) throw SystemError("can't fork", errno);
    if (child == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        prepare();
        ::raise(SIGSTOP);
        act();
        ::_exit(0);
    }
    int status = 0;
    const auto wait = [&] {
        if (::waitpid(child, &status, 0) < 0) throw SystemError("can't wait", errno);
        return WIFSTOPPED(status);
    };
    if (!wait()) throw Error("the process ended before it acted");
    // A call stops it twice, when it begins and when it is done.
    for (int stop = 0; stop < 2 * calls; ++stop) {
        if (::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) != 0) throw SystemError("can't trace", errno);
        if (wait()) continue;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw Error("the process did not end well");
        return false;
    }
    ::kill(child, SIGKILL);
    wait();
    return true;
}

}  // namespace pgcascade
