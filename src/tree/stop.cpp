#include "tree/stop.hpp"

#include <exception>
#include <future>

#include <pgcascade/error.hpp>

#include "postgres/data_directory.hpp"
#include "tree/host.hpp"

namespace pgcascade::tree {

namespace {

StopOutcome stop_node(const Cascade& cascade, const Node& node, const StopOptions& options) {
    using Kind = StopOutcome::Kind;
    const Host host{cascade, node, options.stop_fd};
    if (!host.is_this_machine()) return {node.name, Kind::kElsewhere, {}};
    try {
        if (node.is_relay()) {
            const postgres::LocalRelay relay = host.relay();
            if (!relay.is_running()) return {node.name, Kind::kWasDown, {}};
            relay.stop(options.timeout, options.mode == postgres::StopMode::kImmediate);
            return {node.name, Kind::kStopped, {}};
        }
        const auto directory = postgres::inspect_data_directory(node.data_directory);
        if (directory.state != postgres::DataDirectory::State::kCluster)
            return {node.name, Kind::kWasDown, {}};
        if (!host.is_server_running()) return {node.name, Kind::kWasDown, {}};
        postgres::stop_server(node.data_directory, options.mode, options.timeout, options.stop_fd);
        return {node.name, Kind::kStopped, {}};
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        return {node.name, Kind::kFailed, {problem.what(), problem.hint()}};
    }
}

std::vector<const Node*> next_level(const Cascade& cascade, const std::vector<const Node*>& level) {
    std::vector<const Node*> below;
    for (const Node* node : level)
        for (const Node* child : cascade.downstreams(node->name)) below.push_back(child);
    return below;
}

}  // namespace

std::vector<StopOutcome> stop(const Cascade& cascade, const StopOptions& options,
                              const std::function<void(const StopOutcome&)>& on_outcome) {
    std::vector<StopOutcome> outcomes;
    for (std::vector<const Node*> level{&cascade.primary()}; !level.empty();
         level = next_level(cascade, level)) {
        std::vector<std::future<StopOutcome>> stops;
        for (const Node* node : level)
            stops.push_back(std::async(std::launch::async, [&cascade, &options, node] {
                return stop_node(cascade, *node, options);
            }));
        // Every thread is waited for, whichever was stopped: they hold references to what the caller owns.
        std::exception_ptr interruption;
        for (auto& one : stops) {
            try {
                outcomes.push_back(one.get());
                if (on_outcome) on_outcome(outcomes.back());
            } catch (...) {
                interruption = std::current_exception();
            }
        }
        if (interruption) std::rethrow_exception(interruption);
    }
    return outcomes;
}

}  // namespace pgcascade::tree
