#pragma once

#include <pgcascade/stream.hpp>

namespace pgcascade {

// Throws ConfigError for options that no server could make sense of.
void check_options(const StreamOptions& options);

}  // namespace pgcascade
