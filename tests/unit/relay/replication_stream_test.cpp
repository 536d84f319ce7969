#include "relay/replication_stream.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "protocol/backend_message.hpp"
#include "relay/bell.hpp"
#include "relay/wire.hpp"

namespace pgcascade::relay {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::string_view kNews = "news";

// A feed of which nothing concerns the client, so that it is told positions; and something happens as it is
// told the first.
class TalkingSource : public StreamSource {
  public:
    explicit TalkingSource(std::function<void()> happens) : happens_(std::move(happens)) {}

    void add_news() { has_news_ = true; }

    asio::awaitable<std::uint64_t> send_some(Wire& wire) override {
        if (!std::exchange(has_news_, false)) co_return 0;
        protocol::append_copy_data(wire.out(), kNews);
        co_await wire.flush();
        co_return kNews.size();
    }
    Lsn given() const override {
        if (const auto happens = std::exchange(happens_, nullptr)) happens();
        return {1000};
    }
    bool tells_given() const override { return true; }
    void on_status(const protocol::StandbyStatusUpdate& /*status*/) override {}
    void on_feedback(const protocol::HotStandbyFeedback& /*feedback*/) override {}

  private:
    mutable std::function<void()> happens_;
    bool has_news_ = false;
};

class ReplicationStreamTest : public ::testing::Test {
  protected:
    ReplicationStreamTest() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
        client_ = ends[0];
        wire_.emplace(Wire::Socket{loop_, {AF_UNIX, 0}, ends[1]});
    }
    ~ReplicationStreamTest() override { ::close(client_); }

    // Streams to a client that says nothing, until that is so, or the stream has ended.
    void stream(TalkingSource& source, const std::function<bool()>& is_so) {
        std::atomic<Lsn> sent;
        ReplicationStream stream{*wire_, source, bell_, std::chrono::milliseconds{0}, sent};
        stream_ = &stream;
        asio::co_spawn(loop_, stream.run(), [&](const std::exception_ptr& failure, ReplicationStream::End) {
            failure_ = failure;
            has_ended_ = true;
        });
        const SteadyTime deadline = steady_now() + kPatience;
        while (!is_so() && !has_ended_ && steady_now() < deadline) loop_.run_one_until(deadline);
        EXPECT_TRUE(is_so());
        ::shutdown(client_, SHUT_RDWR);
        while (!has_ended_) loop_.run_one();
    }

    std::string received() {
        std::array<char, 4096> bytes{};
        const ssize_t count = ::recv(client_, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (count > 0) received_.append(bytes.data(), static_cast<std::size_t>(count));
        return received_;
    }

    asio::io_context loop_{1};
    Bell bell_{loop_.get_executor()};
    std::optional<Wire> wire_;
    int client_ = -1;
    ReplicationStream* stream_ = nullptr;
    std::exception_ptr failure_;
    bool has_ended_ = false;

  private:
    std::string received_;
};

TEST_F(ReplicationStreamTest, WhatComesWhileAPositionIsToldIsSentAtOnce) {
    TalkingSource* told = nullptr;
    TalkingSource source{[&] {
        told->add_news();
        bell_.ring();
    }};
    told = &source;
    stream(source, [&] { return received().find(kNews) != std::string::npos; });
}

TEST_F(ReplicationStreamTest, CancelledWhileAPositionIsToldItEnds) {
    TalkingSource source{[&] { asio::post(loop_, [&] { stream_->cancel(); }); }};
    stream(source, [&] { return has_ended_; });
    try {
        ASSERT_TRUE(failure_);
        std::rethrow_exception(failure_);
    } catch (const ServerError& refusal) {
        EXPECT_EQ(refusal.sqlstate(), "57014");
    }
}

}  // namespace
}  // namespace pgcascade::relay
