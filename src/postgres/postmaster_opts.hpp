#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pgcascade::postgres {

// The command line of the last start, from postmaster.opts (postmaster.c CreateOptsFile), without the program
// and without -D, for the directory may have moved since. Empty where it was never started. Throws
// SystemError.
std::vector<std::string> options_of_last_start(const std::filesystem::path& data_directory);

}  // namespace pgcascade::postgres
