#include "postgres/server_log.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

namespace fs = std::filesystem;

namespace {

constexpr int kLines = 20;
constexpr std::uintmax_t kLongestTail = 64 * 1024;

// The end of the file from `begin` on, cut to what a message needs: nobody rotates these logs for us.
std::string read_end(const fs::path& path, std::uintmax_t begin) {
    const FileDescriptor fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd) throw SystemError("can't open " + path.string(), errno);
    const std::uintmax_t size = fs::file_size(path);
    const std::uintmax_t from = std::max(begin, size > kLongestTail ? size - kLongestTail : 0);
    std::string text(size > from ? size - from : 0, '\0');
    const ssize_t count = ::pread(fd.get(), text.data(), text.size(), static_cast<off_t>(from));
    if (count < 0) throw SystemError("can't read " + path.string(), errno);
    text.resize(static_cast<std::size_t>(count));
    return text;
}

// A logging_collector names its present file in current_logfiles: "stderr log/postgresql-….log".
std::string collected_log(const fs::path& data_directory) {
    try {
        const std::string line = read_file(data_directory / "current_logfiles");
        const auto space = line.find(' ');
        if (space == std::string::npos) return {};
        return read_end(data_directory / line.substr(space + 1, line.find('\n') - space - 1), 0);
    } catch (const std::exception&) {
        return {};
    }
}

}  // namespace

fs::path log_beside(const fs::path& data_directory) {
    fs::path beside = data_directory;
    beside += ".log";
    const bool writable = fs::exists(beside) ? ::access(beside.c_str(), W_OK) == 0
                                             : ::access(beside.parent_path().c_str(), W_OK) == 0;
    return writable ? beside : data_directory / "log" / "pgcascade.log";
}

std::string last_lines(const std::string& text, int count) {
    std::size_t begin = text.size();
    while (begin > 0 && (text[begin - 1] == '\n')) --begin;
    const std::size_t end = begin;
    for (; begin > 0; --begin)
        if (text[begin - 1] == '\n' && --count == 0) break;
    return text.substr(begin, end - begin);
}

FileDescriptor open_log(const fs::path& log, const fs::path& data_directory, const Account& account) {
    const bool is_root = ::geteuid() == 0;
    const fs::path directory = log.parent_path();
    if (directory == data_directory / "log" && ::mkdir(directory.c_str(), 0700) == 0 && is_root &&
        ::lchown(directory.c_str(), account.ids.user, account.ids.group) != 0)
        throw SystemError("can't give away " + directory.string(), errno);
    FileDescriptor fd{::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (!fd) throw SystemError("can't open the server's log " + log.string(), errno);
    if (is_root && ::fchown(fd.get(), account.ids.user, account.ids.group) != 0)
        throw SystemError("can't give away " + log.string(), errno);
    return fd;
}

std::string tail_of_log(const fs::path& log, std::uintmax_t begin, const fs::path& data_directory) {
    std::string text;
    try {
        text = read_end(log, begin);
    } catch (const std::exception&) {
        return "(its log " + log.string() + " can't be read)";
    }
    const std::string collected = collected_log(data_directory);
    std::string tail = last_lines(text, kLines);
    if (!collected.empty()) tail += "\n" + last_lines(collected, kLines);
    return tail.empty() ? "(it logged nothing)" : tail;
}

}  // namespace pgcascade::postgres
