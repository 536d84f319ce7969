#pragma once

#include <string>
#include <vector>

#include "log/scan.hpp"

namespace pgcascade::log {

// File and offset of each corruption that a FeedScan or WalScan has found, then the file of the torn tail.
template <class Scan>
std::vector<std::string> flaw_names(const Scan& scan) {
    std::vector<std::string> names;
    for (const Flaw& flaw : scan.corruptions)
        names.push_back(flaw.file.filename().string() + " " + std::to_string(flaw.offset));
    if (scan.torn) names.push_back("torn " + scan.torn->file.filename().string());
    return names;
}

}  // namespace pgcascade::log
