#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"

// Which settings a node should have, and which of them it lacks. Pure. docs/cascade_file.md lists what is
// wanted beside the file's own words.

namespace pgcascade::tree {

// A standby whose value is below its primary's does not start, or stops replaying. Source: PostgreSQL manual,
// "Hot Standby", Administrator's Overview.
const std::vector<std::string>& settings_bound_to_primary();

struct SettingChange {
    std::string name;
    std::string value;
    bool needs_restart = false;
    bool is_lowered = false;  // of settings_bound_to_primary(): only after the primary's is
};

class SettingsPlan {
  public:
    SettingsPlan(const Cascade& cascade, const Observation& observation)
        : cascade_(cascade), observation_(observation) {}

    // For a cluster that exists, running or not. What can't be set is appended to `problems`.
    std::vector<SettingChange> changes(const Node& node, std::vector<Problem>& problems) const;

    // For one that is to be made, beside what a clone brings along from its source.
    postgres::Settings of_new(const Node& node) const;

    // What a clone brings along and should not have: the file gives it to its source alone.
    std::vector<std::string> not_inherited(const Node& node) const;

    // Whether the primary is going to need more of something than this standby has now.
    bool must_precede_primary(const Node& node) const;

  private:
    struct Demand {
        std::string name;
        std::string value;
        bool is_minimum = false;
    };

    std::vector<Demand> demands(const Node& node) const;
    std::optional<Demand> minimum(const Node& node, const std::string& name) const;
    std::optional<double> capacity(const Node& node, const std::string& name) const;
    std::optional<SettingChange> change(const Node& node, const Demand& demand,
                                        std::vector<Problem>& problems) const;
    bool is_met_by_files(const Node& node, const Demand& demand, const std::string& value) const;
    std::optional<SettingChange> change_of_running(const Node& node, const Demand& demand,
                                                   std::vector<Problem>& problems) const;
    void check_above_primary(const Node& node, std::vector<Problem>& problems) const;

    // The value now; nothing where nobody knows.
    std::optional<std::string> now(const Node& node, const std::string& name) const;
    // What it has before anything is set: that, or what it inherits when it is made.
    std::optional<std::string> before(const Node& node, const std::string& name) const;
    // After the plan.
    std::optional<std::string> after(const Node& node, const std::string& name) const;
    bool exists(const Node& node) const;
    bool inherits_files(const Node& node) const;
    Setting kind_of(const std::string& name) const;

    const Cascade& cascade_;
    const Observation& observation_;
};

}  // namespace pgcascade::tree
