#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

// What operators read, on standard error: "pgcascade: …", or one JSON object a line (base/message_json).
// Standard output is for data. Thread-safe.

namespace pgcascade::diagnostics {

enum class Verbosity { kQuiet, kNormal, kVerbose };
enum class Format { kText, kJson };

// Called once, from main().
void start(Verbosity verbosity, Format format = Format::kText);

bool shows_info();  // for what is not worth preparing when nobody sees it
bool is_text();     // so that bars may be drawn in between

// What a message is about, for programs; people find it in the text. Without a value it is left out. The
// names are those of docs/commands.md.
struct Field {
    std::string_view name;
    std::string value;
};
using Fields = std::vector<Field>;

void detail(std::string_view text, const Fields& about = {});  // shown with --verbose
void info(std::string_view text, const Fields& about = {});    // hidden by --quiet
void warning(std::string_view text, std::string_view hint = {}, const Fields& about = {});
// what(), and the hint where it is a pgcascade::Error
void error(const std::exception& problem, const Fields& about = {});

// Empty where it has none.
std::string sqlstate_of(const std::exception& problem);

}  // namespace pgcascade::diagnostics
