#include "base/diagnostics.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/message_json.hpp"

namespace pgcascade::diagnostics {

namespace {

constexpr const char* kTextPattern = "pgcascade: %^%v%$";
constexpr const char* kJsonPattern = "%v";

struct Level {
    spdlog::level::level_enum level;
    const char* name;    // in JSON
    const char* prefix;  // in text
};
constexpr Level kDetail{spdlog::level::debug, "debug", ""};
constexpr Level kInfo{spdlog::level::info, "info", ""};
constexpr Level kWarning{spdlog::level::warn, "warning", "warning: "};
constexpr Level kError{spdlog::level::err, "error", "error: "};

// Set before there is a second thread.
Format format = Format::kText;

void put(const Level& level, std::string_view text, std::string_view hint, const Fields& about) {
    if (!spdlog::should_log(level.level)) return;
    if (format == Format::kJson)
        return spdlog::log(level.level, to_json({now(), level.name, text, hint, about}));
    std::string lines{level.prefix};
    lines += text;
    if (!hint.empty()) lines.append("\nhint: ").append(hint);
    spdlog::log(level.level, lines);
}

}  // namespace

void start(Verbosity verbosity, Format wanted) {
    format = wanted;
    auto logger = spdlog::stderr_color_mt("pgcascade");
    logger->set_pattern(format == Format::kJson ? kJsonPattern : kTextPattern);
    logger->set_level(verbosity == Verbosity::kVerbose ? spdlog::level::debug
                      : verbosity == Verbosity::kQuiet ? spdlog::level::warn
                                                       : spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
}

bool shows_info() {
    return spdlog::should_log(spdlog::level::info);
}
bool is_text() {
    return format == Format::kText;
}

void detail(std::string_view text, const Fields& about) {
    put(kDetail, text, {}, about);
}
void info(std::string_view text, const Fields& about) {
    put(kInfo, text, {}, about);
}
void warning(std::string_view text, std::string_view hint, const Fields& about) {
    put(kWarning, text, hint, about);
}

void error(const std::exception& problem, const Fields& about) {
    const auto* known = dynamic_cast<const Error*>(&problem);
    Fields all{{"sqlstate", sqlstate_of(problem)}};
    all.insert(all.end(), about.begin(), about.end());
    put(kError, problem.what(), known != nullptr ? known->hint() : std::string{}, all);
}

std::string sqlstate_of(const std::exception& problem) {
    const auto* answer = dynamic_cast<const ServerError*>(&problem);
    return answer != nullptr ? answer->sqlstate() : "";
}

}  // namespace pgcascade::diagnostics
