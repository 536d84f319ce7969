#include "log/scan.hpp"

#include <fmt/format.h>

namespace pgcascade::log {

std::string Flaw::to_string() const {
    return fmt::format("{}, offset {}: {}", file.string(), offset, what);
}

}  // namespace pgcascade::log
