#include "tree/hba.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include <fmt/format.h>

namespace pgcascade::tree {

namespace {

// In quotes a word loses its special meaning ("all"), and may hold blanks.
std::string quoted(const std::string& name) {
    const bool is_plain = std::all_of(name.begin(), name.end(), [](char letter) {
        return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_';
    });
    if (is_plain && name != "all" && name != "replication" && name != "sameuser") return name;
    std::string text{'"'};
    for (const char letter : name) text.append(letter == '"' ? 2 : 1, letter);
    return text + '"';
}

// A name stays a name: the server looks it up.
std::vector<std::string> addresses(const std::string& host) {
    if (host == "localhost") return {"127.0.0.1/32", "::1/128"};
    if (host.find(':') != std::string::npos) return {host + "/128"};
    const bool is_ipv4 = host.find_first_not_of("0123456789.") == std::string::npos;
    // Whichever address of the loopback interface is called, the kernel calls from this one.
    if (is_ipv4 && host.starts_with("127.")) return {"127.0.0.1/32"};
    return {is_ipv4 ? host + "/32" : host};
}

std::vector<std::string> lines(const std::string& server_host, const std::string& client_host,
                               const std::string& database, const std::string& user) {
    if (server_host.starts_with('/'))
        return {fmt::format("local {} {} scram-sha-256", database, quoted(user))};
    std::vector<std::string> all;
    for (const std::string& address : addresses(client_host))
        all.push_back(fmt::format("host {} {} {} scram-sha-256", database, quoted(user), address));
    return all;
}

// Who reaches a server of his own machine comes from the address that he calls.
const std::string& host_of_caller(const Node& caller, const Node& server) {
    const bool is_same_machine =
        is_this_machine_name(caller.host) || is_same_machine_name(caller.host, server.host);
    return is_same_machine ? server.host : caller.host;
}

}  // namespace

std::vector<std::string> hba_lines(const Cascade& cascade, const Node& standby, const Node& server) {
    return lines(server.host, host_of_caller(standby, server), "replication", cascade.replication_user);
}

std::vector<std::string> hba_lines_of_downstream(const Cascade& cascade, const Node& node) {
    const Node& upstream = cascade.node(node.upstream.value());
    if (!node.is_relay()) return hba_lines(cascade, node, upstream);
    std::vector<std::string> all;
    if (node.wal) all = hba_lines(cascade, node, upstream);
    // A connection for logical replication is one to its database.
    std::set<std::string> databases;
    for (const Feed& feed : node.feeds)
        if (databases.insert(feed.database).second)
            for (std::string& line : lines(upstream.host, host_of_caller(node, upstream),
                                           quoted(feed.database), cascade.replication_user))
                all.push_back(std::move(line));
    return all;
}

std::vector<std::string> hba_lines_of_pgcascade(const Cascade& cascade, const Node& node) {
    if (is_let_in_by_initdb(node)) return {};
    return lines(node.host, node.host, "all", cascade.user);
}

bool is_let_in_by_initdb(const Node& upstream) {
    return is_this_machine_name(upstream.host);
}

}  // namespace pgcascade::tree
