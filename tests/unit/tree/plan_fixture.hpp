#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tree/plan.hpp"

namespace pgcascade::tree {

using Directory = postgres::DataDirectory;

inline constexpr std::uint64_t kCluster = 7001;

// primary -> eu, us; eu -> eu-1. Every node is missing until a test says otherwise.
class PlanFixture : public ::testing::Test {
  protected:
    PlanFixture() {
        cascade_.name = "shop";
        cascade_.file = "/srv/cascade.toml";
        cascade_.passfile = "/srv/passwords";
        add_node("primary", std::nullopt, 6001);
        cascade_.nodes.front().create = true;
        add_node("eu", "primary", 6002);
        add_node("us", "primary", 6003);
        add_node("eu-1", "eu", 6004);
    }

    void add_node(const std::string& name, std::optional<std::string> upstream, std::uint16_t port) {
        Node node;
        node.name = name;
        node.upstream = std::move(upstream);
        node.port = port;
        node.slot = name;
        std::replace(node.slot.begin(), node.slot.end(), '-', '_');
        node.data_directory = "/srv/" + name;
        cascade_.nodes.push_back(node);
        NodeObservation seen;
        seen.unreachable = {name + ": can't connect: refused", "is it running?"};
        seen.host.is_this_machine = true;
        seen.host.account = "postgres";
        observation_.nodes[name] = seen;
    }

    Node& node(const std::string& name) {
        return *std::find_if(cascade_.nodes.begin(), cascade_.nodes.end(),
                             [&](const Node& one) { return one.name == name; });
    }
    NodeObservation& seen(const std::string& name) { return observation_.nodes.at(name); }
    ServerState& server(const std::string& name) { return *seen(name).server; }
    Setting& setting(const std::string& node_name, const std::string& name) {
        return server(node_name).settings.at(name);
    }

    void has_cluster(const std::string& name) {
        HostState& host = seen(name).host;
        host.directory = {Directory::State::kCluster, 18, kCluster, name != "primary"};
        host.configured = {{"wal_level", "logical"},
                           {"hot_standby", "on"},
                           {"hot_standby_feedback", "on"},
                           {"max_connections", "100"},
                           {"max_worker_processes", "8"},
                           {"max_wal_senders", "10"},
                           {"max_replication_slots", "10"},
                           {"max_prepared_transactions", "0"},
                           {"max_locks_per_transaction", "64"},
                           {"port", std::to_string(node(name).port)},
                           {"primary_slot_name", node(name).slot}};
        for (const Node* child : cascade_.downstreams(name)) host.slots.insert(child->slot);
        if (!node(name).upstream) return;
        host.configured["primary_conninfo"] =
            "host=localhost port=" + std::to_string(cascade_.node(*node(name).upstream).port);
    }

    void add_setting(ServerState& state, const std::string& name, const std::string& value,
                     const std::string& type, const std::string& context) {
        Setting one;
        one.value = value;
        one.type = type;
        one.context = context;
        one.source = "configuration file";
        state.settings[name] = one;
    }

    // Answers, with the settings that plan() wants.
    void runs(const std::string& name) {
        has_cluster(name);
        seen(name).host.is_running = true;
        ServerState state;
        state.version = 180004;
        state.version_name = "18.4";
        state.system_identifier = kCluster;
        state.timeline = TimelineId{1};
        state.is_superuser = true;
        state.in_recovery = node(name).upstream.has_value();
        state.data_directory = "/srv/" + name;
        state.config_file = "/srv/" + name + "/postgresql.conf";
        state.replication_role = Role{true, true};
        add_setting(state, "wal_level", "logical", "enum", "postmaster");
        add_setting(state, "hot_standby", "on", "bool", "postmaster");
        add_setting(state, "hot_standby_feedback", "on", "bool", "sighup");
        for (const auto& [count, value] :
             std::map<std::string, std::string>{{"max_connections", "100"},
                                                {"max_worker_processes", "8"},
                                                {"max_wal_senders", "10"},
                                                {"max_replication_slots", "10"},
                                                {"max_prepared_transactions", "0"},
                                                {"max_locks_per_transaction", "64"}})
            add_setting(state, count, value, "integer", "postmaster");
        add_setting(state, "work_mem", "4096", "integer", "user");
        state.settings["work_mem"].unit = "kB";
        add_setting(state, "primary_slot_name", seen(name).host.configured["primary_slot_name"], "string",
                    "sighup");
        add_setting(state, "primary_conninfo", seen(name).host.configured["primary_conninfo"], "string",
                    "sighup");
        seen(name).server = state;
        seen(name).unreachable = {};
    }

    void has_slot(const std::string& name, const std::string& slot_name, bool active) {
        postgres::Slot slot;
        slot.name = slot_name;
        slot.active = active;
        slot.active_pid = active ? 4711 : 0;
        slot.restart_lsn = Lsn{1000};
        slot.wal_status = "reserved";
        server(name).slots.push_back(slot);
    }

    postgres::Slot& slot(const std::string& name, const std::string& slot_name) {
        auto& slots = server(name).slots;
        return *std::find_if(slots.begin(), slots.end(),
                             [&](const postgres::Slot& one) { return one.name == slot_name; });
    }

    // The standby streams from that node through that slot, as both ends say.
    void streams(const std::string& name, const std::string& upstream, const std::string& slot_name) {
        Receiver receiver;
        receiver.status = "streaming";
        receiver.slot = slot_name;
        server(name).receiver = receiver;
        has_slot(upstream, slot_name, true);
        Downstream downstream;
        downstream.slot = slot_name;
        downstream.state = "streaming";
        server(upstream).downstreams.push_back(downstream);
    }

    void everything_runs() {
        observation_.passfile = {.has_user = true, .has_replication_user = true, .problem = {}};
        for (const Node& one : cascade_.nodes) runs(one.name);
        for (const Node& one : cascade_.nodes)
            if (one.upstream) streams(one.name, *one.upstream, one.slot);
    }

    Plan planned() { return plan(cascade_, observation_); }

    std::vector<std::string> steps() {
        const Plan made = planned();
        for (const Problem& problem : made.problems) ADD_FAILURE() << "problem: " << problem.what;
        std::vector<std::string> texts;
        for (const Step& step : made.steps) texts.push_back(text(step));
        return texts;
    }

    // The only problem, and no step.
    void expect_problem(const std::string& what, const std::string& hint = {}) {
        const Plan made = planned();
        EXPECT_THAT(made.steps, ::testing::IsEmpty());
        ASSERT_EQ(made.problems.size(), 1U);
        EXPECT_THAT(made.problems[0].what, ::testing::HasSubstr(what));
        EXPECT_THAT(made.problems[0].hint, ::testing::HasSubstr(hint));
    }

    Cascade cascade_;
    Observation observation_;
};

}  // namespace pgcascade::tree
