#include "relay/bell.hpp"

#include <boost/asio/post.hpp>

namespace pgcascade::relay {

namespace asio = boost::asio;

// Who listens looks once more after it has begun to: so either it sees the news itself, or is seen here.
void Bell::ring() {
    if (listeners_ == 0 || is_ringing_.exchange(true)) return;
    asio::post(loop_, [this] {
        is_ringing_ = false;
        for (asio::steady_timer* timer : timers_) timer->cancel();
    });
}

Bell::Listener::Listener(Bell& bell, asio::steady_timer& timer) : bell_(bell), timer_(timer) {
    bell_.timers_.insert(&timer_);
    ++bell_.listeners_;
}

Bell::Listener::~Listener() {
    bell_.timers_.erase(&timer_);
    --bell_.listeners_;
}

}  // namespace pgcascade::relay
