#pragma once

#include <chrono>
#include <memory>

#include "relay/relay_state.hpp"

namespace pgcascade::relay {

// Takes the relay's clients in: listens, and spreads the sessions over event loops, one thread each.
class Server {
  public:
    // Listens at once. Throws SystemError that names the address.
    explicit Server(RelayState& relay);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // There is news of a log. Any thread.
    void ring(const IncomingLog& log);

    // Takes nobody in any more, lets the sessions send what is there, and ends them; those that are not done
    // within `patience` are cut off.
    void stop(std::chrono::milliseconds patience);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgcascade::relay
