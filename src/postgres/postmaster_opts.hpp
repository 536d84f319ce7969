#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pgcascade::postgres {

// The command line of the last start, from postmaster.opts (postmaster.c CreateOptsFile), without the program
// and without -D, for the directory may have moved since. Empty where it was never started. Throws
// SystemError.
std::vector<std::string> options_of_last_start(const std::filesystem::path& data_directory);

// Of such options, those that say where the server's files are (config_file, hba_file, …): a later start
// can't do without them, and must not go by the others, such as what pg_upgrade had started the server with.
std::vector<std::string> locations_of_files(const std::vector<std::string>& options);

}  // namespace pgcascade::postgres
