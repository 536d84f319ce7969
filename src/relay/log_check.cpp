#include "relay/log_check.hpp"

#include <pgcascade/error.hpp>

#include "base/stop_signal.hpp"

namespace pgcascade::relay {

namespace {

// The disk has other things to do: 128 MB a second at most.
constexpr std::uint64_t kBytesAtOnce = 8 << 20;
constexpr int kPauseMs = 62;

// Paces whoever reads.
class Pace {
  public:
    explicit Pace(int stop_fd) : stop_fd_(stop_fd) {}

    void on_read(std::uint64_t bytes) {
        read_ += bytes;
        if (read_ < kBytesAtOnce) return;
        read_ = 0;
        wait_for(/*fd=*/-1, 0, kPauseMs, stop_fd_);
    }

  private:
    const int stop_fd_;
    std::uint64_t read_ = 0;
};

template <class Scan>
void expect_whole(const Scan& scan) {
    if (scan.corruptions.empty()) return;
    throw LogCorrupt(
        scan.corruptions.front().to_string() + ", though it was on disk",
        "`pgcascade log verify` tells what else is; restore the file, or begin the log anew: its "
        "downstreams need a new copy then");
}

}  // namespace

void check_logs(const std::vector<log::LogPlace>& logs, int stop_fd) {
    Pace pace{stop_fd};
    const log::OnRead on_read = [&](std::uint64_t bytes) { pace.on_read(bytes); };
    for (const log::LogPlace& place : logs) {
        if (place.kind == log::LogPlace::Kind::kFeed)
            expect_whole(log::inspect_feed(place.directory, log::ScanDepth::kAll, on_read));
        else
            expect_whole(log::inspect_wal(place.directory, log::ScanDepth::kAll, on_read));
    }
}

}  // namespace pgcascade::relay
