#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "unit/temporary_directory.hpp"

// What the fuzzers of the logs share: a log as its files, and what can become of these.

namespace pgcascade::fuzz {

inline void require(bool holds) {
    if (!holds) std::abort();
}

using Files = std::map<std::string, std::string>;  // what is in them, by name

inline Files read_files(const std::filesystem::path& directory) {
    Files files;
    for (const auto& entry : std::filesystem::directory_iterator{directory})
        files[entry.path().filename().string()] = read_file(entry.path());
    return files;
}

// The directory that all runs work in, with just these files.
inline const std::filesystem::path& place_with(const Files& files) {
    static const TemporaryDirectory temporary;
    for (const auto& entry : std::filesystem::directory_iterator{temporary.path()})
        std::filesystem::remove_all(entry.path());
    for (const auto& [name, content] : files)
        std::ofstream{temporary.path() / name, std::ios::binary} << content;
    return temporary.path();
}

// A log, and how much of its files a sync had brought to disk.
struct Image {
    Files files;
    std::map<std::string, std::size_t> settled;
};

inline std::map<std::string, std::size_t> sizes(const Files& files) {
    std::map<std::string, std::size_t> found;
    for (const auto& [name, content] : files) found[name] = content.size();
    return found;
}

// So few that CRC-32C sees them all, whatever the input is made to be.
constexpr int kMostFlips = 3;

// Int8 what | Int8 file | Int24 where | Int16 more: flips a bit, cuts, makes longer, overwrites with zeroes
// or removes, again and again. What is settled does not change.
inline Files damaged(Files files, const std::map<std::string, std::size_t>& settled, ByteReader& input) {
    int flips = 0;
    while (!input.empty() && !files.empty()) {
        const unsigned what = input.u8();
        const auto chosen = std::next(files.begin(), input.u8() % static_cast<std::ptrdiff_t>(files.size()));
        const std::size_t high = input.u8();
        const std::size_t where = (high << 16) + input.u16();
        const std::size_t more = input.u16();
        if (input.failed()) break;
        std::string& content = chosen->second;
        const auto kept = settled.find(chosen->first);
        const std::size_t from = kept == settled.end() ? 0 : kept->second;
        if (content.size() < from || (from > 0 && content.size() == from)) continue;  // all of it is settled
        const std::size_t at = from + where % (content.size() - from + 1);
        const std::size_t left = content.size() - at;
        switch (what % 5) {
            case 0:
                if (left > 0 && ++flips <= kMostFlips)
                    content[at] = static_cast<char>(content[at] ^ (1 << more % 8));
                break;
            case 1:
                content.resize(at);
                break;
            case 2:
                content.append(more, '\0');
                break;
            case 3:
                std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(at), std::min(left, more), '\0');
                break;
            default:
                if (from == 0) files.erase(chosen);
        }
    }
    return files;
}

}  // namespace pgcascade::fuzz
