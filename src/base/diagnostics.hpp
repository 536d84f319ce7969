#pragma once

#include <exception>
#include <string>
#include <string_view>

// What operators read, on standard error: "pgcascade: …". Standard output is for data. Thread-safe.

namespace pgcascade::diagnostics {

enum class Verbosity { kQuiet, kNormal, kVerbose };

// Called once, from main().
void start(Verbosity verbosity);

bool shows_info();  // for what is not worth preparing when nobody sees it

void detail(std::string_view text);  // shown with --verbose
void info(std::string_view text);    // hidden by --quiet
void warning(std::string_view text, std::string_view hint = {});
void error(const std::exception& problem);  // what(), and the hint where it is a pgcascade::Error

}  // namespace pgcascade::diagnostics
