#include "relay/metrics.hpp"

#include <algorithm>
#include <exception>
#include <initializer_list>
#include <utility>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "relay/operator_view.hpp"

namespace pgcascade::relay {

namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<prometheus::ClientMetric::Label>;

// One metric of Prometheus, of which there is a value for each set of labels.
class Family {
  public:
    Family(MetricType type, const char* name, const char* help)
        : family_{.name = name, .help = help, .type = type, .metric = {}} {}

    template <class Number>
    void add(Labels labels, Number number) {
        prometheus::ClientMetric metric;
        metric.label = std::move(labels);
        if (family_.type == MetricType::Counter)
            metric.counter.value = static_cast<double>(number);
        else
            metric.gauge.value = static_cast<double>(number);
        family_.metric.push_back(std::move(metric));
    }

    MetricFamily take() { return std::move(family_); }

  private:
    MetricFamily family_;
};

Family counter(const char* name, const char* help) {
    return {MetricType::Counter, name, help};
}

Family gauge(const char* name, const char* help) {
    return {MetricType::Gauge, name, help};
}

}  // namespace

class Metrics : public prometheus::Collectable {
  public:
    explicit Metrics(const RelayState& relay) : relay_(relay) {}

    // Below it is code in C, through which no exception may pass.
    std::vector<MetricFamily> Collect() const override {
        std::vector<MetricFamily> families;
        try {
            if (relay_.wal) add_wal(families);
            add_feeds(families);
            add_sessions(families);
            add_disk(families);
            add_slots(families);
        } catch (const std::exception& problem) {
            diagnostics::warning(std::string{"can't gather all metrics: "} + problem.what(), {},
                                 {{"component", "metrics"}});
        }
        return families;
    }

  private:
    static void append(std::vector<MetricFamily>& families, std::initializer_list<Family*> of) {
        for (Family* family : of) families.push_back(family->take());
    }

    void add_wal(std::vector<MetricFamily>& families) const {
        Family connected =
            gauge("pgcascade_wal_connected", "1 while the upstream of the WAL is connected, else 0");
        Family reconnects = counter("pgcascade_wal_reconnects_total",
                                    "Connections to the upstream that were made after the first one");
        Family received = counter("pgcascade_wal_received_bytes_total", "Bytes received from the upstream");
        Family sent = counter("pgcascade_wal_sent_bytes_total", "Bytes sent to all clients that stream WAL");
        Family log = gauge("pgcascade_wal_log_bytes", "Bytes of WAL in the log");
        add_traffic(relay_.wal->traffic, {}, connected, reconnects, received, sent);
        log.add({}, relay_.wal->bytes());
        append(families, {&connected, &reconnects, &received, &sent, &log});
    }

    static void add_traffic(const Traffic& traffic, const Labels& labels, Family& connected,
                            Family& reconnects, Family& received, Family& sent) {
        const std::uint64_t connections = traffic.connections;
        connected.add(labels, traffic.is_connected ? 1 : 0);
        reconnects.add(labels, connections > 0 ? connections - 1 : 0);
        received.add(labels, traffic.received_bytes.load());
        sent.add(labels, traffic.sent_bytes.load());
    }

    void add_feeds(std::vector<MetricFamily>& families) const {
        Family connected =
            gauge("pgcascade_feed_connected", "1 while the feed's upstream is connected, else 0");
        Family reconnects = counter("pgcascade_feed_reconnects_total",
                                    "Connections to the upstream that were made after the first one");
        Family received = counter("pgcascade_feed_received_bytes_total", "Bytes received from the upstream");
        Family sent =
            counter("pgcascade_feed_sent_bytes_total", "Bytes sent to all clients that stream the feed");
        Family log = gauge("pgcascade_feed_log_bytes", "Bytes of the feed's log on disk");
        for (const auto& feed : relay_.feeds) {
            const Labels labels{{"feed", feed->name()}};
            add_traffic(feed->traffic, labels, connected, reconnects, received, sent);
            log.add(labels, feed->bytes());
        }
        append(families, {&connected, &reconnects, &received, &sent, &log});
    }

    void add_sessions(std::vector<MetricFamily>& families) const {
        const std::vector<SessionInfo> sessions = relay_.sessions.list();
        const auto streaming =
            std::count_if(sessions.begin(), sessions.end(),
                          [](const SessionInfo& session) { return session.sent != nullptr; });
        const auto logged_in = static_cast<std::int64_t>(sessions.size());
        Family by_state = gauge("pgcascade_sessions", "Connections of clients, by what they do");
        // Those that come and go meanwhile are not counted twice.
        by_state.add({{"state", "login"}}, std::max<std::int64_t>(0, relay_.connections - logged_in));
        by_state.add({{"state", "idle"}}, logged_in - streaming);
        by_state.add({{"state", "streaming"}}, streaming);
        Family failed =
            counter("pgcascade_failed_logins_total", "Logins that were refused for user or password");
        failed.add({}, relay_.failed_logins.load());
        append(families, {&by_state, &failed});
    }

    void add_disk(std::vector<MetricFamily>& families) const {
        families.push_back({.name = "pgcascade_log_sync_seconds",
                            .help = "Time to bring what was received to disk",
                            .type = MetricType::Histogram,
                            .metric = {relay_.log_sync_seconds.Collect()}});
    }

    void add_slots(std::vector<MetricFamily>& families) const {
        Family lag =
            gauge("pgcascade_slot_lag_bytes", "WAL from the slot's position to what was received last");
        Family retained =
            gauge("pgcascade_slot_retained_log_bytes", "Bytes of logs that are kept for this slot");
        Family active = gauge("pgcascade_slot_active", "1 while a client uses the slot, else 0");
        Family invalidated =
            gauge("pgcascade_slot_invalidated", "1 where the slot can't be used again, else 0");
        SlotLags lags{relay_};
        for (const Slot& slot : relay_.slots.list()) {
            const Labels labels{{"slot", slot.name}, {"database", slot.database}};
            active.add(labels, slot.active_pid != 0 ? 1 : 0);
            invalidated.add(labels, slot.is_invalidated() ? 1 : 0);
            if (slot.is_invalidated()) continue;
            lag.add(labels, lags.lag_bytes(slot));
            retained.add(labels, lags.retained_log_bytes(slot));
        }
        append(families, {&lag, &retained, &active, &invalidated});
    }

    const RelayState& relay_;
};

MetricsServer::MetricsServer(const RelayState& relay) : metrics_(std::make_shared<Metrics>(relay)) {
    const std::string address = relay.config.metrics->to_string();
    try {
        exposer_ = std::make_unique<prometheus::Exposer>(address);
    } catch (const std::exception&) {  // it does not say why
        throw Error("can't serve metrics on " + address,
                    "is that an address of this machine, and does nobody else listen on that port?");
    }
    exposer_->RegisterCollectable(metrics_);
    diagnostics::info("serving metrics on http://" + address + "/metrics",
                      {{"component", "metrics"}, {"address", address}});
}

MetricsServer::~MetricsServer() = default;

}  // namespace pgcascade::relay
