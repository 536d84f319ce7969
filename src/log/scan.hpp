#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

// What the scans of the logs have in common.

namespace pgcascade::log {

enum class ScanDepth {
    kTail,  // what may not have been on disk when the writer died, and that the rest is there
    kAll,   // every byte, also behind what is corrupt
};

// Called while bytes are held against their checksums, with how many these were since the last call. What it
// throws ends the scan.
using OnRead = std::function<void(std::uint64_t bytes)>;

// Something that is missing, or has other bytes than its checksum says.
struct Flaw {
    std::filesystem::path file;
    std::uint64_t offset = 0;
    std::string what;

    bool operator==(const Flaw&) const = default;

    std::string to_string() const;  // file, offset and what it is
};

// A scan that has found so many corruptions ends there: a disk that lost all would have it list every block.
constexpr std::size_t kMostCorruptions = 1000;

}  // namespace pgcascade::log
