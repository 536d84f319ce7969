#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "postgres/connection.hpp"
#include "tree/apply.hpp"
#include "tree/host.hpp"
#include "tree/step.hpp"

namespace pgcascade::tree {

// Does one step at a time. Every step looks at what is there first, so that doing it again does no harm.
class StepRunner {
  public:
    StepRunner(const Cascade& cascade, const ApplyOptions& options) : cascade_(cascade), options_(options) {}

    // Throws Error with the reason, Stopped.
    void run(const Step& step) {
        std::visit([this](const auto& one) { do_step(one); }, step);
    }

  private:
    void do_step(const WritePassfile& step);
    void do_step(const CreateCluster& step);
    void do_step(const Configure& step);
    void do_step(const MakeStandby& step);
    void do_step(const StartServer& step);
    void do_step(const StopServer& step);
    void do_step(const RestartServer& step);
    void do_step(const WaitForServer& step);
    void do_step(const SetSettings& step);
    void do_step(const EnsureRole& step);
    void do_step(const AllowReplication& step);
    void do_step(const CreateSlot& step);
    void do_step(const CreateFeedSlot& step);
    void do_step(const WriteRelayFiles& step);
    void do_step(const WriteRelayUsers& step);
    void do_step(const WaitReceived& step);
    void do_step(const WaitRelay& step);
    void do_step(const CloneNodes& step);
    void do_step(const StreamFrom& step);
    void do_step(const WaitStreaming& step);
    void do_step(const WaitReplayed& step) const;
    void do_step(const DropSlot& step);

    Host host(const std::string& node) const;
    postgres::ConnectOptions connect_options(const std::string& node) const;
    std::unique_ptr<postgres::Connection> connect(const std::string& node) const;
    std::unique_ptr<postgres::Connection> connect_to_relay(const Node& relay) const;
    std::unique_ptr<postgres::Connection> connect_to_database(const Node& node,
                                                              const std::string& dbname) const;
    std::optional<std::string> password_of(const std::string& role, const std::string& database) const;
    void reload(const std::string& node) const;
    void check_move(const StreamFrom& step) const;
    std::optional<std::string> why_not_sent(const WaitStreaming& step, std::string& progress) const;
    std::optional<std::string> why_not_streaming(const WaitStreaming& step) const;
    std::string relay_users_content(const std::string& relay) const;
    std::optional<std::string> why_not_receiving(const WaitRelay& step) const;
    void renew_checkpoint(const std::string& standby) const;

    // Looks again and again until `look` returns nothing. What it returns says how far things are: a text
    // that is new is progress, and once there has been none for the stall time-out, this throws `what` with
    // it. A server that can't be reached counts as no progress.
    void wait_until(const std::string& what, const std::function<std::optional<std::string>()>& look) const;

    const Cascade& cascade_;
    const ApplyOptions& options_;
};

}  // namespace pgcascade::tree
