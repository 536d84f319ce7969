#include <concepts>
#include <string_view>

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "tree/status.hpp"

namespace pgcascade::tree {

namespace {

// Keys in a fixed order; what is not known is null, so that every object of a kind has the same keys.
class StatusWriter {
  public:
    std::string write(const TreeStatus& status) {
        json_.StartObject();
        field("cascade", status.cascade->name);
        field("file", status.cascade->file.string());
        field("all_answer", status.all_answer());
        array("nodes", status.nodes, [this](const NodeStatus& node) { write_node(node); });
        json_.EndObject();
        return {buffer_.GetString(), buffer_.GetSize()};
    }

  private:
    void value(std::string_view text) {
        json_.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
    }
    void value(const std::string& text) { value(std::string_view{text}); }
    void value(const char* text) { value(std::string_view{text}); }
    void value(bool flag) { json_.Bool(flag); }
    void value(Lsn lsn) { value(lsn.to_string()); }
    void value(TimelineId timeline) { json_.Uint(timeline.value); }
    template <std::integral Number>
    void value(Number number) {
        json_.Int64(static_cast<std::int64_t>(number));
    }
    template <class T>
    void value(const std::optional<T>& known) {
        if (known)
            value(*known);
        else
            json_.Null();
    }

    template <class T>
    void field(const char* key, const T& content) {
        json_.Key(key);
        value(content);
    }

    // Empty means that there is none.
    void text_or_null(const char* key, const std::string& text) {
        json_.Key(key);
        if (text.empty())
            json_.Null();
        else
            value(text);
    }

    template <class Elements, class Write>
    void array(const char* key, const Elements& elements, Write write_element) {
        json_.Key(key);
        json_.StartArray();
        for (const auto& element : elements) write_element(element);
        json_.EndArray();
    }

    void write_node(const NodeStatus& status) {
        json_.StartObject();
        field("name", status.node->name);
        field("kind", status.node->is_relay() ? "relay" : "server");
        field("upstream", status.node->upstream);
        field("host", status.node->host);
        field("port", status.node->port);
        field("data_directory", status.node->data_directory.string());
        field("answers", status.answers());
        field("role", status.role);
        field("state", status.state);
        field("healthy", status.health == Health::kGood);
        write_server(status);
        json_.Key("lag");
        if (status.lag)
            write_lag(*status.lag);
        else
            json_.Null();
        array("problems", status.problems, [this](const Problem& problem) { write_problem(problem); });
        json_.EndObject();
    }

    void write_server(const NodeStatus& status) {
        static const ServerState kNone;
        const ServerState& server = status.answers() ? *status.seen->server : kNone;
        text_or_null("version", server.version_name);
        // Beyond what a JSON number holds exactly.
        text_or_null("system_identifier", status.answers() ? std::to_string(server.system_identifier) : "");
        field("timeline", status.answers() ? std::optional{server.timeline} : std::nullopt);
        field("lsn", status.lsn);
        field("inserted_lsn", server.inserted);
        field("flushed_lsn", server.flushed);
        field("received_lsn", server.received);
        field("replayed_lsn", server.replayed);
        json_.Key("receiver");
        if (server.receiver)
            write_receiver(*server.receiver);
        else
            json_.Null();
        array("downstreams", server.downstreams,
              [&](const Downstream& downstream) { write_downstream(server, downstream); });
        array("slots", server.slots, [this](const postgres::Slot& slot) { write_slot(slot); });
        static const RelayState kNothing;
        array("feeds", (server.relay ? *server.relay : kNothing).feeds,
              [this](const postgres::RelayFeed& feed) { write_feed(feed); });
        json_.Key("wal");
        if (server.relay && server.relay->wal)
            write_wal(*server.relay->wal);
        else
            json_.Null();
    }

    void write_lag(const Lag& lag) {
        json_.StartObject();
        field("bytes", lag.bytes);
        field("time_us", lag.time_us);
        json_.EndObject();
    }

    void write_receiver(const Receiver& receiver) {
        json_.StartObject();
        field("status", receiver.status);
        text_or_null("slot", receiver.slot);
        field("sender_host", receiver.sender_host);
        field("sender_port", receiver.sender_port);
        field("timeline", receiver.timeline);
        field("written_lsn", receiver.written);
        field("flushed_lsn", receiver.flushed);
        field("latest_end_lsn", receiver.latest_end);
        json_.EndObject();
    }

    void write_downstream(const ServerState& server, const Downstream& downstream) {
        json_.StartObject();
        field("application_name", downstream.application_name);
        text_or_null("client_address", downstream.client_address);
        field("pid", downstream.pid);
        field("state", downstream.state);
        text_or_null("slot", downstream.slot);
        field("sent_lsn", downstream.sent);
        field("written_lsn", downstream.written);
        field("flushed_lsn", downstream.flushed);
        field("replayed_lsn", downstream.replayed);
        field("write_lag_us", downstream.write_lag_us);
        field("flush_lag_us", downstream.flush_lag_us);
        field("replay_lag_us", downstream.replay_lag_us);
        field("sync_state", downstream.sync_state);
        json_.Key("lag");
        write_lag(lag_of(server, downstream));
        json_.EndObject();
    }

    void write_slot(const postgres::Slot& slot) {
        json_.StartObject();
        field("name", slot.name);
        field("type", slot.is_logical() ? "logical" : "physical");
        text_or_null("plugin", slot.plugin);
        text_or_null("database", slot.database);
        field("temporary", slot.temporary);
        field("active", slot.active);
        field("restart_lsn", slot.restart_lsn);
        field("confirmed_flush_lsn", slot.confirmed_flush_lsn);
        field("retained_bytes", slot.retained_bytes);
        field("safe_wal_size", slot.safe_wal_size);
        text_or_null("wal_status", slot.wal_status);
        text_or_null("invalidation_reason", slot.invalidation_reason);
        json_.EndObject();
    }

    void write_feed(const postgres::RelayFeed& feed) {
        json_.StartObject();
        field("name", feed.name);
        field("database", feed.database);
        field("slot", feed.slot);
        field("received_lsn", feed.received);
        field("durable_lsn", feed.durable);
        field("log_bytes", feed.log_bytes);
        text_or_null("problem", feed.problem);
        json_.EndObject();
    }

    void write_wal(const postgres::RelayWal& wal) {
        json_.StartObject();
        field("slot", wal.slot);
        field("timeline", wal.timeline);
        field("begin_lsn", wal.begin);
        field("received_lsn", wal.received);
        field("durable_lsn", wal.durable);
        field("log_bytes", wal.log_bytes);
        text_or_null("problem", wal.problem);
        json_.EndObject();
    }

    void write_problem(const Problem& problem) {
        json_.StartObject();
        field("what", problem.what);
        text_or_null("hint", problem.hint);
        json_.EndObject();
    }

    rapidjson::StringBuffer buffer_;
    rapidjson::Writer<rapidjson::StringBuffer> json_{buffer_};
};

}  // namespace

std::string to_json(const TreeStatus& status) {
    return StatusWriter{}.write(status);
}

}  // namespace pgcascade::tree
