#include <concepts>
#include <string_view>

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "relay/relay_status.hpp"

namespace pgcascade::relay {

namespace {

// Keys in a fixed order; what is not known is null, so that every object of a kind has the same keys.
class StatusWriter {
  public:
    std::string write(const RelayStatus& status) {
        const std::vector<RelayProblem> problems = problems_of(status);
        json_.StartObject();
        field("relay", status.relay);
        field("healthy", problems.empty());
        json_.Key("wal");
        write_wal(status.wal);
        array("feeds", status.feeds);
        array("slots", status.slots);
        array("sessions", status.sessions);
        array("problems", problems);
        json_.EndObject();
        return {buffer_.GetString(), buffer_.GetSize()};
    }

  private:
    // Empty means that there is none.
    void value(const std::string& text) {
        if (text.empty())
            json_.Null();
        else
            json_.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
    }
    void value(bool flag) { json_.Bool(flag); }
    void value(Lsn lsn) { value(lsn.to_string()); }
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

    template <class Elements>
    void array(const char* key, const Elements& elements) {
        json_.Key(key);
        json_.StartArray();
        for (const auto& element : elements) {
            json_.StartObject();
            write_fields(element);
            json_.EndObject();
        }
        json_.EndArray();
    }

    void write_wal(const std::optional<WalStatus>& wal) {
        if (!wal) {
            json_.Null();
            return;
        }
        json_.StartObject();
        field("upstream", wal->upstream);
        field("slot", wal->slot);
        field("state", wal->state);
        field("timeline", wal->timeline);
        field("begin_lsn", wal->begin);
        field("received_lsn", wal->received);
        field("durable_lsn", wal->durable);
        field("log_bytes", wal->log_bytes);
        field("problem", wal->problem);
        json_.EndObject();
    }

    void write_fields(const FeedStatus& feed) {
        field("feed", feed.name);
        field("database", feed.database);
        field("publications", feed.publications);
        field("upstream", feed.upstream);
        field("slot", feed.slot);
        field("state", feed.state);
        field("received_lsn", feed.received);
        field("durable_lsn", feed.durable);
        field("log_bytes", feed.log_bytes);
        field("begin_lsn", feed.begin);
        field("end_lsn", feed.end);
        field("problem", feed.problem);
    }

    void write_fields(const SlotStatus& slot) {
        field("slot_name", slot.name);
        field("database", slot.database);
        field("temporary", slot.temporary);
        field("active", slot.active);
        field("position", slot.position);
        field("lag_bytes", slot.lag_bytes);
        field("retained_log_bytes", slot.retained_log_bytes);
        field("invalidation_reason", slot.invalidation_reason);
    }

    void write_fields(const SessionStatus& session) {
        field("pid", session.pid);
        field("client", session.client);
        field("user", session.user);
        field("database", session.database);
        field("application_name", session.application_name);
        field("slot", session.slot);
        field("feed", session.feed);
        field("state", session.state);
        field("sent_lsn", session.sent.lsn);
        field("write_lsn", session.write.lsn);
        field("flush_lsn", session.flush.lsn);
        field("apply_lsn", session.apply.lsn);
        field("sent_lag_bytes", session.sent.lag_bytes);
        field("write_lag_bytes", session.write.lag_bytes);
        field("flush_lag_bytes", session.flush.lag_bytes);
        field("apply_lag_bytes", session.apply.lag_bytes);
    }

    void write_fields(const RelayProblem& problem) {
        field("what", problem.what);
        field("hint", problem.hint);
    }

    rapidjson::StringBuffer buffer_;
    rapidjson::Writer<rapidjson::StringBuffer> json_{buffer_};
};

}  // namespace

std::string to_json(const RelayStatus& status) {
    return StatusWriter{}.write(status);
}

}  // namespace pgcascade::relay
