#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace pgcascade::relay {

// Counts the connections of each address that have not logged in yet, so that nobody takes all room by
// connecting only. Any thread. It outlives what it has admitted.
class Admissions {
  public:
    explicit Admissions(int most) : most_(most) {}

    // A place among them, for as long as it lives; null where the address has all of its own already.
    std::shared_ptr<void> admit(const std::string& address);

  private:
    void leave(const std::string& address);

    const int most_;
    std::mutex mutex_;  // connections come on one event loop, and log in on all
    std::map<std::string, int> waiting_;
};

}  // namespace pgcascade::relay
