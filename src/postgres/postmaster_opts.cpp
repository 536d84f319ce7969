#include "postgres/postmaster_opts.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include <pgcascade/error.hpp>

#include "base/file.hpp"

namespace pgcascade::postgres {

// The file: program "argument" "argument" …
std::vector<std::string> options_of_last_start(const std::filesystem::path& data_directory) {
    std::string text;
    try {
        text = read_file(data_directory / "postmaster.opts");
    } catch (const SystemError& problem) {
        if (problem.error_number() == ENOENT) return {};
        throw;
    }
    std::vector<std::string> options;
    for (std::size_t at = text.find(" \""); at != std::string::npos; at = text.find(" \"", at)) {
        const std::size_t end = text.find('"', at + 2);
        if (end == std::string::npos) break;
        options.push_back(text.substr(at + 2, end - at - 2));
        at = end;
    }
    for (std::size_t i = 0; i < options.size();) {
        const auto at = options.begin() + static_cast<std::ptrdiff_t>(i);
        if (!options[i].starts_with("-D"))
            ++i;
        else
            options.erase(at, options[i] == "-D" && i + 1 < options.size() ? at + 2 : at + 1);
    }
    return options;
}

std::vector<std::string> locations_of_files(const std::vector<std::string>& options) {
    const auto is_location = [](std::string_view setting) {
        std::string name{setting.substr(0, setting.find('='))};
        std::replace(name.begin(), name.end(), '-', '_');  // as postmaster.c has it
        return name == "config_file" || name == "hba_file" || name == "ident_file" ||
               name == "data_directory";
    };
    std::vector<std::string> locations;
    for (std::size_t i = 0; i < options.size(); ++i) {
        const std::string& option = options[i];
        if (option == "-c" && i + 1 < options.size()) {
            ++i;
            if (is_location(options[i])) locations.insert(locations.end(), {"-c", options[i]});
        } else if ((option.starts_with("-c") || option.starts_with("--")) &&
                   is_location(std::string_view{option}.substr(2))) {
            locations.push_back(option);
        }
    }
    return locations;
}

}  // namespace pgcascade::postgres
