#pragma once

#include <memory>

#include <pgcascade/format.hpp>

// One maker for each format; make_formatter() chooses.

namespace pgcascade {

std::unique_ptr<Formatter> make_json_formatter(const FormatOptions& options);
std::unique_ptr<Formatter> make_wal2json_formatter(const FormatOptions& options);
std::unique_ptr<Formatter> make_debezium_formatter(const FormatOptions& options);

}  // namespace pgcascade
