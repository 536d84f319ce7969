#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/subprocess.hpp"

// Where a server of this machine prints what goes wrong: the file that start() gives it, and those of its own
// logging_collector.

namespace pgcascade::postgres {

// <data_directory>.log, so that it is no part of a base backup; or log/pgcascade.log within, where the parent
// directory is not writable.
std::filesystem::path log_beside(const std::filesystem::path& data_directory);

std::string last_lines(const std::string& text, int count);

// Opens the log to append to it; as root, gives it to the server's account. Makes the directory in which it
// lies where that is the data directory's own `log`. Throws SystemError.
FileDescriptor open_log(const std::filesystem::path& log, const std::filesystem::path& data_directory,
                        const Account& account);

// The last lines that the log has got after its first `begin` bytes, and the last ones of the collector's
// present file; however long the files are. For a message: never empty, never throws for a file.
std::string tail_of_log(const std::filesystem::path& log, std::uintmax_t begin,
                        const std::filesystem::path& data_directory);

}  // namespace pgcascade::postgres
