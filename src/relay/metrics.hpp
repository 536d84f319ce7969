#pragma once

#include <memory>

#include "relay/relay_state.hpp"

namespace prometheus {
class Exposer;
}

namespace pgcascade::relay {

class Metrics;

// Serves what Prometheus asks for, http://ADDRESS/metrics, from threads of its own. docs/relay_file.md,
// "Metrics", is its reference. The relay's state must outlive it; nothing is gathered but when it is asked
// for.
class MetricsServer {
  public:
    // Listens at once, at relay.config.metrics. Throws Error that names the address.
    explicit MetricsServer(const RelayState& relay);
    ~MetricsServer();
    MetricsServer(const MetricsServer&) = delete;
    MetricsServer& operator=(const MetricsServer&) = delete;

  private:
    std::shared_ptr<Metrics> metrics_;
    std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace pgcascade::relay
