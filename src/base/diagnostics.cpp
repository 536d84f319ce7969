#include "base/diagnostics.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <pgcascade/error.hpp>

namespace pgcascade::diagnostics {

void start(Verbosity verbosity) {
    auto logger = spdlog::stderr_color_mt("pgcascade");
    logger->set_pattern("pgcascade: %^%v%$");
    logger->set_level(verbosity == Verbosity::kVerbose ? spdlog::level::debug
                      : verbosity == Verbosity::kQuiet ? spdlog::level::warn
                                                       : spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
}

static std::string with_hint(std::string_view prefix, std::string_view text, std::string_view hint) {
    std::string line{prefix};
    line += text;
    if (!hint.empty()) line.append("\nhint: ").append(hint);
    return line;
}

bool shows_info() {
    return spdlog::should_log(spdlog::level::info);
}

void detail(std::string_view text) {
    spdlog::debug(text);
}
void info(std::string_view text) {
    spdlog::info(text);
}
void warning(std::string_view text, std::string_view hint) {
    spdlog::warn(with_hint("warning: ", text, hint));
}

void error(const std::exception& problem) {
    const auto* known = dynamic_cast<const Error*>(&problem);
    spdlog::error(with_hint("error: ", problem.what(), known != nullptr ? known->hint() : std::string{}));
}

}  // namespace pgcascade::diagnostics
