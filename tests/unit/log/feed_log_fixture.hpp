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
#include "log/feed_log.hpp"
#include "log/feed_scan.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

// Logs of small entries, numbered, whose frames tell which one they are of.
class FeedLogTest : public testing::Test {
  protected:
    static FeedLogOptions small_segments() {
        FeedLogOptions options;
        options.segment_bytes = 100;
        return options;
    }

    static std::string frames_of(int number, std::size_t bytes = 40) {
        std::string frames = std::to_string(number) + ":";
        frames.resize(bytes, static_cast<char>('a' + number % 26));
        return frames;
    }

    static Lsn commit_lsn(int number) { return Lsn{1000 + 10 * static_cast<std::uint64_t>(number)}; }

    static void write_entry(FeedLog& log, int number, std::size_t bytes = 40) {
        log.append(frames_of(number, bytes));
        log.finish_entry(commit_lsn(number), Lsn{commit_lsn(number).value + 5});
        log.flush();
    }

    static void write_keepalive(FeedLog& log, Lsn position) {
        log.append("keepalive ");
        log.finish_entry(position, position, FeedEntry::kIsKeepalive);
        log.flush();
    }

    static std::string read_all(const FeedLog& log) {
        std::string frames;
        for (FeedPosition at = log.begin(); at < log.finished();) {
            const auto segment = log.segment_at(at);
            const std::string file = read_file(segment->frames_file());
            const FeedPosition end = std::min(log.finished(), segment->end());
            frames += file.substr(bytes_between(segment->position(), at), bytes_between(at, end));
            at = end;
        }
        return frames;
    }

    static std::string all_frames(int from, int to) {
        std::string frames;
        for (int number = from; number < to; ++number) frames += frames_of(number);
        return frames;
    }

    fs::path frames_file(std::uint64_t position) const {
        return FeedSegment::frames_file(directory_, {position});
    }
    fs::path index_file(std::uint64_t position) const {
        return FeedSegment::index_file(directory_, {position});
    }

    static void flip_bit(const fs::path& file, std::uint64_t offset) {
        std::fstream stream{file, std::ios::in | std::ios::out | std::ios::binary};
        stream.seekg(static_cast<std::streamoff>(offset));
        const int byte = stream.get();
        stream.seekp(static_cast<std::streamoff>(offset));
        stream.put(static_cast<char>(byte ^ 0x10));
    }

    const TemporaryDirectory temporary_;
    const fs::path directory_ = temporary_.path();
};

}  // namespace pgcascade::log
