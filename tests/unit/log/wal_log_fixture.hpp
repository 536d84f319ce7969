#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "log/wal_log.hpp"
#include "log/wal_scan.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::log {

// Logs of the smallest segments, whose bytes tell where they belong.
class WalLogTest : public testing::Test {
  protected:
    static constexpr std::uint64_t kSegment = kSmallestWalSegment;
    static constexpr Lsn kStart{0x5'FFE0'0000};  // the third segment crosses into another `high`
    static constexpr TimelineId kFirst{1};
    static constexpr TimelineId kSecond{2};
    static constexpr TimelineId kThird{3};
    static constexpr WalLogOptions kOptions{.segment_bytes = kSegment};

    static Lsn at(std::uint64_t bytes_after_start) { return {kStart.value + bytes_after_start}; }

    // The WAL of the timelines at that place; after a switch point each timeline has its own.
    static std::string wal(Lsn from, Lsn to, TimelineId writer = kFirst) {
        std::string bytes(to.value - from.value, '\0');
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            const std::uint64_t place = from.value + i + (std::uint64_t{writer.value} << 48);
            bytes[i] = static_cast<char>(place * 0x9E3779B97F4A7C15 >> 56);
        }
        return bytes;
    }

    // Goes on to `end` with the bytes of that writer.
    static void write(WalLog& log, Lsn end, TimelineId writer = kFirst) {
        if (log.next() == WalPosition{}) log.begin_at(kFirst, kStart);
        const WalPosition next = log.next();
        log.append(next.timeline, next.lsn, wal(next.lsn, end, writer));
        log.flush();
    }

    static std::string read(const WalLog& log, TimelineId timeline, Lsn from, Lsn to) {
        std::string bytes;
        while (from < to) {
            const auto segment = log.segment_at(timeline, from);
            if (!segment) break;
            std::string part(to.value - from.value, '\0');
            part.resize(segment->read(from, part.data(), part.size()));
            if (part.empty()) break;
            bytes += part;
            from.value += part.size();
        }
        return bytes;
    }

    std::filesystem::path file(const std::string& name) const { return directory_ / name; }

    static std::string name_of(std::uint64_t number, TimelineId timeline = kFirst) {
        const WalPosition start{timeline, at(number * kSegment)};
        return WalDirectory{"", kSegment}.complete_file(start).string();
    }

    static std::map<std::string, std::string> contents(const std::filesystem::path& directory) {
        std::map<std::string, std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator{directory})
            found[entry.path().filename().string()] = read_file(entry.path());
        return found;
    }

    static std::vector<std::string> names(const std::filesystem::path& directory) {
        std::vector<std::string> found;
        for (const auto& [name, content] : contents(directory)) found.push_back(name);
        return found;
    }

    static void flip_bit(const std::filesystem::path& file, std::uint64_t offset) {
        std::fstream stream{file, std::ios::in | std::ios::out | std::ios::binary};
        stream.seekg(static_cast<std::streamoff>(offset));
        const int byte = stream.get();
        stream.seekp(static_cast<std::streamoff>(offset));
        stream.put(static_cast<char>(byte ^ 0x10));
    }

    static std::string refusal(const std::filesystem::path& directory) {
        try {
            const WalLog log{directory, kOptions};
        } catch (const LogCorrupt& problem) {
            return problem.what();
        }
        return "";
    }

    static std::string found_by_reading_all(const std::filesystem::path& directory) {
        const WalScan scan = scan_wal(directory, ScanDepth::kAll);
        return scan.corruptions.empty() ? "" : scan.corruptions.front().to_string();
    }

    const TemporaryDirectory temporary_;
    const std::filesystem::path directory_ = temporary_.path();
};

}  // namespace pgcascade::log
