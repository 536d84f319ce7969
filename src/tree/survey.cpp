#include "tree/survey.hpp"

#include <algorithm>
#include <exception>
#include <future>
#include <memory>
#include <set>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/amount.hpp"
#include "postgres/relay_server.hpp"
#include "postgres/upstream.hpp"
#include "tree/probe.hpp"

namespace pgcascade::tree {

using postgres::Connection;
using postgres::Conninfo;
using postgres::Replication;
using postgres::Result;

namespace {

constexpr std::size_t kLongestChain = 64;

const std::vector<std::string> kSettings = {"cluster_name",
                                            "fsync",
                                            "full_page_writes",
                                            "hot_standby_feedback",
                                            "idle_replication_slot_timeout",
                                            "max_connections",
                                            "max_locks_per_transaction",
                                            "max_prepared_transactions",
                                            "max_replication_slots",
                                            "max_slot_wal_keep_size",
                                            "max_wal_senders",
                                            "max_wal_size",
                                            "max_worker_processes",
                                            "port",
                                            "primary_conninfo",
                                            "primary_slot_name",
                                            "restore_command",
                                            "sync_replication_slots",
                                            "synchronized_standby_slots",
                                            "wal_level",
                                            "wal_receiver_status_interval",
                                            "wal_receiver_timeout",
                                            "wal_sender_timeout"};

Problem as_problem(const Error& problem) {
    return {problem.what(), problem.hint()};
}

bool says_hot_standby_is_off(const Error& problem) {
    return std::string_view{problem.what()}.find("Hot standby mode is disabled") != std::string_view::npos;
}

// ── one server ─────────────────────────────────────────────────────────────────────────────────────────────

class PatientSurvey {
  public:
    PatientSurvey(std::string name, Conninfo conninfo, const SurveyOptions& options)
        : options_(options), conninfo_(std::move(conninfo)) {
        patient_.name = std::move(name);
    }

    // Logs in. Throws as Connection does.
    void connect() {
        connection_ = std::make_unique<Connection>(conninfo_, connect_options(Replication::kNone));
        patient_.name = connection_->name();
        // Several hosts may stand in the connection string: from here on it is this one.
        conninfo_ = connection_->pinned(conninfo_);
    }

    void look(const std::string& replication_role);
    void try_replication(Replication replication, std::optional<Problem>& refused);
    void look_at_database(const std::string& dbname);

    Connection& connection() { return *connection_; }
    const Conninfo& conninfo() const { return conninfo_; }
    Patient& patient() { return patient_; }

  private:
    postgres::ConnectOptions connect_options(Replication replication) const {
        return {.replication = replication,
                .name = patient_.name,
                .timeout = options_.timeout,
                .stop_fd = options_.stop_fd};
    }

    const SurveyOptions& options_;
    Conninfo conninfo_;
    std::unique_ptr<Connection> connection_;
    Patient patient_;
};

// `replication_role` empty: our own.
void PatientSurvey::look(const std::string& replication_role) {
    if (is_relay(*connection_)) {
        patient_.state = observe_relay(*connection_);
        return;
    }
    const Result self = connection_->query(
        "SELECT current_user, coalesce(host(inet_client_addr()), ''),"
        " coalesce(has_function_privilege(to_regprocedure('pg_log_standby_snapshot()'), 'EXECUTE'), false),"
        " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END");
    patient_.role = self.at(0, 0);
    patient_.client_address = self.at(0, 1);
    patient_.may_log_snapshots = self.boolean(0, 2);
    patient_.replay_is_paused = self.boolean(0, 3);
    patient_.replication_role = replication_role.empty() ? patient_.role : replication_role;
    patient_.state = observe(*connection_, patient_.replication_role, kSettings);
}

void PatientSurvey::try_replication(Replication replication, std::optional<Problem>& refused) {
    try {
        const Connection tried{conninfo_, connect_options(replication)};
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        refused = as_problem(problem);
    }
}

// A publication of a partitioned table through its root still needs the identity of every partition: they are
// what an UPDATE changes.
void PatientSurvey::look_at_database(const std::string& dbname) {
    std::unique_ptr<Connection> elsewhere;
    if (connection_->query("SELECT current_database()").at(0, 0) != dbname)
        elsewhere = std::make_unique<Connection>(conninfo_.with("dbname", dbname),
                                                 connect_options(Replication::kNone));
    Connection& database = elsewhere ? *elsewhere : *connection_;
    PublishedDatabase published{dbname, {}, {}};
    const Result publications =
        database.query("SELECT pubname FROM pg_catalog.pg_publication ORDER BY pubname");
    for (int row = 0; row < publications.rows(); ++row)
        published.publications.emplace_back(publications.at(row, 0));
    const Result tables = database.query(
        "SELECT p.pubname, c.oid::regclass FROM pg_catalog.pg_publication p,"
        " LATERAL pg_catalog.pg_get_publication_tables(p.pubname) t,"
        " LATERAL (SELECT t.relid UNION SELECT relid FROM pg_catalog.pg_partition_tree(t.relid) WHERE isleaf)"
        " member (relid) JOIN pg_catalog.pg_class c ON c.oid = member.relid"
        " WHERE (p.pubupdate OR p.pubdelete) AND c.relkind = 'r' AND (c.relreplident = 'n'"
        " OR (c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i"
        " WHERE i.indrelid = c.oid AND i.indisprimary))"
        " OR (c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i"
        " WHERE i.indrelid = c.oid AND i.indisreplident)))"
        " ORDER BY 1, 2");
    for (int row = 0; row < tables.rows(); ++row)
        published.without_identity.push_back(
            {std::string{tables.at(row, 0)}, std::string{tables.at(row, 1)}});
    patient_.databases.push_back(std::move(published));
}

// ── a server and its upstreams ─────────────────────────────────────────────────────────────────────────────

// A name that a slot may have.
std::string slot_name_for(const Patient& patient) {
    if (const auto& relay = patient.state->relay) return relay->wal ? relay->wal->slot : "";
    const Setting* own = patient.state->find_setting("primary_slot_name");
    if (own != nullptr && !own->value.empty()) return own->value;
    const Setting* cluster = patient.state->find_setting("cluster_name");
    std::string name = cluster != nullptr ? cluster->value : "";
    if (name.empty()) name = "standby_" + patient.state->settings.at("port").value;
    for (char& byte : name) {
        if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte - 'A' + 'a');
        const bool allowed = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
        if (!allowed) byte = '_';
    }
    return name;
}

// Where the walreceiver gets its WAL; where none runs, where it would.
Conninfo way_up(PatientSurvey& below) {
    if (const auto& relay = below.patient().state->relay; relay && relay->sender())
        return conninfo_of_sender(below.connection(), below.conninfo(), relay->sender()->host,
                                  relay->sender()->port);
    const auto wanted = below.patient().primary_conninfo();
    if (below.patient().state->receiver || !wanted || !wanted->get("host"))
        return upstream_conninfo(below.connection(), below.conninfo());
    return conninfo_of_sender(below.connection(), below.conninfo(), *wanted->get("host"),
                              wanted->get("port").value_or("5432"));
}

// Looks at the server that feeds `below`; nothing where it can't be, which `below` then says.
std::unique_ptr<PatientSurvey> climb(PatientSurvey& below, const SurveyOptions& options) {
    try {
        auto above = std::make_unique<PatientSurvey>("", way_up(below), options);
        above->connect();
        above->look("");
        if (above->patient().state->system_identifier == below.patient().state->system_identifier)
            return above;
        below.patient().unknown_upstream =
            Problem{above->patient().name + " is a server of another cluster",
                    "reach the standby by an address from which its primary_conninfo makes sense here too"};
    } catch (const Stopped&) {
        throw;
    } catch (const LoginError& refusal) {
        below.patient().unknown_upstream = as_problem(postgres::refusal_on_the_way(refusal));
    } catch (const Error& problem) {
        below.patient().unknown_upstream = as_problem(problem);
    }
    return nullptr;
}

std::unique_ptr<PatientSurvey> look_at_target(const Conninfo& conninfo, const SurveyOptions& options) {
    auto target = std::make_unique<PatientSurvey>("", conninfo, options);
    target->connect();
    target->look("");
    if (target->patient().state->relay) return target;
    target->try_replication(Replication::kDatabase, target->patient().database_replication_refused);
    target->try_replication(Replication::kPhysical, target->patient().physical_replication_refused);
    target->look_at_database(std::string{target->connection().query("SELECT current_database()").at(0, 0)});
    return target;
}

}  // namespace

Survey survey_chain(const Conninfo& conninfo, const SurveyOptions& options) {
    Survey survey;
    std::unique_ptr<PatientSurvey> here;
    try {
        here = look_at_target(conninfo, options);
    } catch (const Error& problem) {
        if (!says_hot_standby_is_off(problem)) throw;
        Patient closed;
        closed.name =
            conninfo.get("host").value_or("localhost") + ":" + conninfo.get("port").value_or("5432");
        closed.unreachable = as_problem(problem);
        survey.servers.push_back(std::move(closed));
        return survey;
    }
    while (here->patient().state->in_recovery && survey.servers.size() < kLongestChain) {
        here->patient().slot_on_upstream = slot_name_for(here->patient());
        std::unique_ptr<PatientSurvey> above = climb(*here, options);
        if (above) here->patient().upstream = survey.servers.size() + 1;
        survey.servers.push_back(std::move(here->patient()));
        if (!above) return survey;
        here = std::move(above);
    }
    survey.servers.push_back(std::move(here->patient()));
    return survey;
}

// ── a cascade file ─────────────────────────────────────────────────────────────────────────────────────────

namespace {

bool is_streaming(const ServerState& state) {
    return state.receiver && state.receiver->status == "streaming";
}

Patient look_at_relay(const Cascade& cascade, const Node& node, const SurveyOptions& options) {
    Patient patient;
    patient.name = node.name;
    if (const auto limit = node.relay_settings.find("max_bytes"); limit != node.relay_settings.end())
        patient.max_log_bytes =
            parse_bytes(std::string_view{limit->second}.substr(1, limit->second.size() - 2));
    try {
        Connection relay{cascade.conninfo(node),
                         {.replication = replication_of(node),
                          .name = node.name,
                          .timeout = options.timeout,
                          .stop_fd = options.stop_fd}};
        if (!is_relay(relay))
            throw ConfigError(fmt::format("{}: a PostgreSQL server answers, and {} says that it is a relay",
                                          node.name, cascade.file.string()),
                              "mend its host, its port or its kind in the file");
        patient.state = observe_relay(relay);
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        patient.unreachable = as_problem(problem);
    }
    return patient;
}

Patient look_at_node(const Cascade& cascade, const Node& node, const SurveyOptions& options) {
    if (node.is_relay()) return look_at_relay(cascade, node, options);
    PatientSurvey survey{node.name, cascade.conninfo(node), options};
    Patient& patient = survey.patient();
    patient.slot_on_upstream = node.slot;
    try {
        survey.connect();
        survey.look(cascade.replication_user);
        survey.try_replication(Replication::kDatabase, patient.database_replication_refused);
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        patient.unreachable = as_problem(problem);
        patient.state.reset();
        return std::move(patient);
    }
    if (node.upstream && !is_streaming(*patient.state)) {
        PatientSurvey standby{*node.upstream, cascade.upstream_conninfo(node), options};
        standby.try_replication(Replication::kPhysical, patient.upstream_refuses);
    }
    return std::move(patient);
}

// Publications are the same on every server of the tree, so the primary is asked for those of each database
// that somebody decodes, on whatever server.
void look_at_databases(const Cascade& cascade, const SurveyOptions& options, Survey& survey) {
    std::set<std::string> decoded;
    for (const Patient& server : survey.servers) {
        if (!server.state) continue;
        for (const postgres::Slot& slot : server.state->slots)
            if (slot.plugin == "pgoutput") decoded.insert(slot.database);
    }
    Patient& primary = survey.servers.front();
    if (!primary.state || decoded.empty()) return;
    PatientSurvey again{primary.name, cascade.conninfo(cascade.primary()), options};
    again.connect();
    for (const std::string& dbname : decoded) again.look_at_database(dbname);
    primary.databases = std::move(again.patient().databases);
}

}  // namespace

Survey survey_cascade(const Cascade& cascade, const SurveyOptions& options) {
    std::vector<std::future<Patient>> answers;
    for (const Node& node : cascade.nodes)
        answers.push_back(std::async(std::launch::async, [&cascade, &node, &options] {
            return look_at_node(cascade, node, options);
        }));
    Survey survey;
    // Every thread is waited for, whichever fails: they hold references to what the caller owns.
    std::exception_ptr failure;
    for (auto& answer : answers) {
        try {
            survey.servers.push_back(answer.get());
        } catch (...) {
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
    for (std::size_t index = 0; index < cascade.nodes.size(); ++index) {
        if (!cascade.nodes[index].upstream) continue;
        for (std::size_t above = 0; above < index; ++above)
            if (cascade.nodes[above].name == *cascade.nodes[index].upstream)
                survey.servers[index].upstream = above;
    }
    look_at_databases(cascade, options, survey);
    return survey;
}

std::string Patient::version() const {
    return state->version_name.substr(0, state->version_name.find(' '));
}

std::optional<Conninfo> Patient::primary_conninfo() const {
    const Setting* written = state->find_setting("primary_conninfo");
    if (written == nullptr || written->value.empty()) return std::nullopt;
    try {
        return Conninfo::parse(written->value);
    } catch (const ConfigError&) {
        return std::nullopt;  // the server takes any text: its walreceiver fails, which is a finding of its
                              // own
    }
}

const Patient* Survey::upstream_of(const Patient& server) const {
    if (!server.upstream) return nullptr;
    const Patient& above = servers.at(*server.upstream);
    return above.state ? &above : nullptr;
}

const Patient* Survey::primary_of(const Patient& server) const {
    const Patient* here = &server;
    while (here != nullptr && here->state->in_recovery) here = upstream_of(*here);
    return here;
}

}  // namespace pgcascade::tree
