#include "cli/tree_drawing.hpp"

#include <chrono>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/quantity.hpp"
#include "cli/table.hpp"

namespace pgcascade::cli {

using tree::Health;
using tree::Lag;
using tree::Node;
using tree::NodeStatus;
using tree::TreeStatus;

namespace {

constexpr std::int64_t kNoticeableLagUs = 10'000'000;

Colour colour_of(Health health) {
    switch (health) {
        case Health::kGood:
            return Colour::kGood;
        case Health::kWarning:
            return Colour::kWarning;
        case Health::kBad:
            return Colour::kBad;
    }
    return Colour::kNone;
}

std::string lsn_text(const std::optional<Lsn>& lsn) {
    return lsn ? lsn->to_string() : "";
}

std::string time_text(std::int64_t microseconds) {
    if (microseconds == 0) return "0 ms";
    if (microseconds < 10'000) return fmt::format("{:.1f} ms", static_cast<double>(microseconds) / 1000);
    return format_duration(std::chrono::milliseconds{microseconds / 1000});
}

Cell lag_cell(const std::optional<Lag>& lag) {
    if (!lag) return {""};
    const bool is_noticeable = lag->bytes.value_or(0) > 0 && lag->time_us.value_or(0) > kNoticeableLagUs;
    return {lag_text(*lag), is_noticeable ? Colour::kWarning : Colour::kNone};
}

class NodeTable {
  public:
    explicit NodeTable(const TreeStatus& status)
        : status_(status),
          table_({{.name = "node"},
                  {.name = "role"},
                  {.name = "state"},
                  {.name = "timeline", .right_aligned = true},
                  {.name = "lsn"},
                  {.name = "lag", .right_aligned = true},
                  {.name = "version"},
                  {.name = "address"}}) {}

    std::string draw(bool colour) {
        add(status_.cascade->primary(), "", "");
        return table_.to_string(colour);
    }

  private:
    // `lead` stands before this line, `below` before those of what hangs below it.
    void add(const Node& node, const std::string& lead, const std::string& below) {
        const NodeStatus& status = status_.node(node.name);
        const tree::ServerState* server = status.answers() ? &*status.seen->server : nullptr;
        table_.add_row({{lead + node.name},
                        {status.role},
                        {status.state, colour_of(status.health)},
                        {server != nullptr ? std::to_string(server->timeline.value) : ""},
                        {lsn_text(status.lsn)},
                        lag_cell(status.lag),
                        {server != nullptr ? first_word(server->version_name) : ""},
                        {fmt::format("{}:{}", node.host, node.port)}});

        const auto children = status_.cascade->downstreams(node.name);
        std::size_t left = children.size() + status.others.size();
        for (const Node* child : children) {
            const bool is_last = --left == 0;
            add(*child, below + (is_last ? "└─ " : "├─ "), below + (is_last ? "   " : "│  "));
        }
        for (const tree::Downstream* other : status.others)
            add_other(*server, *other, below + (--left == 0 ? "└─ " : "├─ "));
    }

    // Whoever else it feeds: a logical stream, a standby that is not in the file.
    void add_other(const tree::ServerState& server, const tree::Downstream& other, const std::string& lead) {
        const postgres::Slot* slot = server.find_slot(other.slot);
        const std::string& name = other.slot.empty() ? other.application_name : other.slot;
        table_.add_row(
            {{lead + (name.empty() ? "?" : name), Colour::kDim},
             {slot != nullptr && slot->is_logical() ? slot->plugin : "not in the file", Colour::kDim},
             {other.state, other.state == "streaming" ? Colour::kGood : Colour::kWarning},
             {""},
             {lsn_text(other.replayed ? other.replayed : other.flushed)},
             lag_cell(tree::lag_of(server, other)),
             {""},
             {other.client_address, Colour::kDim}});
    }

    // "15.18 (Debian 15.18-0+deb12u1)"
    static std::string first_word(const std::string& version) { return version.substr(0, version.find(' ')); }

    const TreeStatus& status_;
    Table table_;
};

Cell slot_state(const postgres::Slot& slot) {
    if (slot.is_invalidated()) return {"invalidated: " + slot.invalidation_reason, Colour::kBad};
    if (slot.active) return {"active", Colour::kGood};
    return {"inactive", Colour::kWarning};
}

}  // namespace

std::string lag_text(const Lag& lag) {
    std::string text = lag.bytes ? format_bytes(*lag.bytes) : "";
    if (lag.time_us) text += (text.empty() ? "" : ", ") + time_text(*lag.time_us);
    return text;
}

std::string draw_nodes(const TreeStatus& status, bool colour) {
    return NodeTable{status}.draw(colour);
}

std::string draw_slots(const TreeStatus& status, bool colour) {
    Table table({{.name = "slot"},
                 {.name = "on"},
                 {.name = "type"},
                 {.name = "state"},
                 {.name = "restart_lsn"},
                 {.name = "confirmed_flush"},
                 {.name = "retains", .right_aligned = true},
                 {.name = "wal_status"}});
    bool has_rows = false;
    for (const NodeStatus& node : status.nodes) {
        if (!node.answers()) continue;
        for (const postgres::Slot& slot : node.seen->server->slots) {
            has_rows = true;
            const bool in_danger = slot.wal_status == "unreserved" || slot.wal_status == "lost";
            table.add_row({{slot.name},
                           {node.node->name},
                           {slot.is_logical() ? slot.plugin + ", " + slot.database : "physical"},
                           slot_state(slot),
                           {lsn_text(slot.restart_lsn)},
                           {lsn_text(slot.confirmed_flush_lsn)},
                           {slot.retained_bytes ? format_bytes(*slot.retained_bytes) : ""},
                           {slot.wal_status, in_danger ? Colour::kBad : Colour::kNone}});
        }
    }
    return has_rows ? table.to_string(colour) : "";
}

std::string draw_problems(const TreeStatus& status, bool colour) {
    std::string text;
    for (const NodeStatus& node : status.nodes) {
        for (const tree::Problem& problem : node.problems) {
            // Connection errors begin with the node's name already.
            const std::string lead = node.node->name + ": ";
            const std::string what = problem.what.starts_with(lead) ? problem.what : lead + problem.what;
            text += coloured(what, colour_of(node.health), colour) + "\n";
            if (!problem.hint.empty()) text += "  hint: " + problem.hint + "\n";
        }
    }
    return text;
}

std::string draw_tree(const TreeStatus& status, bool colour) {
    std::string text =
        fmt::format("cascade {} ({})\n\n", status.cascade->name, status.cascade->file.string());
    text += draw_nodes(status, colour);
    for (const std::string& part : {draw_slots(status, colour), draw_problems(status, colour)})
        if (!part.empty()) text += "\n" + part;
    return text;
}

}  // namespace pgcascade::cli
