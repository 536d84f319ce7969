#include "postgres/login_failure.hpp"

#include <algorithm>

namespace pgcascade::postgres {

namespace {

constexpr std::size_t kSqlstateLength = 5;

struct KnownRefusal {
    const char* sqlstate;  // or how it begins
    const char* text;      // English; only refines the hint, the last of a SQLSTATE has none
    const char* hint;
};

// In order of weight: where one attempt was refused with TLS and another without, the first one counts.
constexpr KnownRefusal kKnownRefusals[] = {
    {"28P01", "",
     "check the password: in the connection string, PGPASSWORD, or the password file (~/.pgpass, mode 0600)"},
    {"28000", "no pg_hba.conf entry",
     "add a line for this host, user and database (\"replication\" for physical replication) to pg_hba.conf "
     "on the server, then: SELECT pg_reload_conf()"},
    {"28000", "pg_hba.conf rejects",
     "a line of pg_hba.conf on the server rejects this host, user and database: change it, then: SELECT "
     "pg_reload_conf()"},
    {"28000", "Peer authentication failed",
     "the operating system account must match the role: connect with host=127.0.0.1 and a password, or "
     "change pg_hba.conf"},
    {"28000", "is not permitted to log in", "ALTER ROLE … LOGIN"},
    {"28000", "does not exist", "check the name of the role"},
    {"28", "",
     "check the name of the role, that it has LOGIN, and the line of pg_hba.conf on the server that fits "
     "this host, user and database (\"replication\" for physical replication)"},
    {"42501", "permission denied for database", "give the role the right: GRANT CONNECT ON DATABASE … TO …"},
    {"42501", "", "give the role the right: ALTER ROLE … REPLICATION"},
    {"53300", "number of requested standby connections exceeds",
     "raise max_wal_senders on the server (needs a restart)"},
    {"53300", "",
     "end sessions on the server, or raise its limit: max_connections, max_wal_senders (both need a "
     "restart), or CONNECTION LIMIT of the role or the database"},
    {"3D000", "", "check the name of the database"},
    {"55000", "", "if the database takes no connections: ALTER DATABASE … ALLOW_CONNECTIONS true"},
    {"42", "", "check what the connection string asks for: options, client_encoding"},
    {"22", "", "check what the connection string asks for: options, client_encoding"},
};

bool is_sqlstate(std::string_view text) {
    return text.size() == kSqlstateLength && std::all_of(text.begin(), text.end(), [](char byte) {
               return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z');
           });
}

// "SEVERITY:  SQLSTATE: message", at the begin or after libpq's "connection to …: ". Where the SQLSTATE
// begins; npos for any other line, a DETAIL that happens to look like it too.
std::size_t find_sqlstate(std::string_view line, bool is_first) {
    const std::size_t severity_end = line.find(":  ");
    if (severity_end == std::string_view::npos) return std::string_view::npos;
    if (!is_first && line.substr(0, severity_end).find(": ") == std::string_view::npos)
        return std::string_view::npos;
    const std::size_t begin = severity_end + 3;
    const bool is_there =
        is_sqlstate(line.substr(begin, kSqlstateLength)) && line.substr(begin + kSqlstateLength, 2) == ": ";
    return is_there ? begin : std::string_view::npos;
}

// "LOCATION:  function, file.c:123"; libpq may translate the word.
bool is_location(std::string_view line) {
    const std::size_t colon = line.rfind(':');
    if (colon == std::string_view::npos || line.find(":  ") >= colon) return false;
    const std::string_view number = line.substr(colon + 1);
    const bool ends_in_number =
        !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
    const std::string_view file = line.substr(0, colon);
    return ends_in_number && (file.ends_with(".c") || file.ends_with(".y") || file.ends_with(".l"));
}

}  // namespace

LoginFailure read_login_failure(std::string_view verbose) {
    LoginFailure failure;
    while (!verbose.empty()) {
        const std::size_t end = verbose.find('\n');
        std::string line{verbose.substr(0, end)};
        verbose.remove_prefix(end == std::string_view::npos ? verbose.size() : end + 1);
        if (is_location(line)) continue;
        const std::size_t begin = find_sqlstate(line, failure.text.empty());
        if (begin != std::string::npos) {
            failure.sqlstates.push_back(line.substr(begin, kSqlstateLength));
            line.erase(begin, kSqlstateLength + 2);
        }
        failure.text += (failure.text.empty() ? "" : "\n") + line;
    }
    while (!failure.text.empty() && (failure.text.back() == '\n' || failure.text.back() == ' '))
        failure.text.pop_back();
    return failure;
}

bool is_not_ready(const LoginFailure& failure) {
    return std::find(failure.sqlstates.begin(), failure.sqlstates.end(), "57P03") != failure.sqlstates.end();
}

std::optional<Refusal> find_refusal(const LoginFailure& failure) {
    for (const KnownRefusal& known : kKnownRefusals) {
        const auto told =
            std::find_if(failure.sqlstates.begin(), failure.sqlstates.end(),
                         [&](const std::string& sqlstate) { return sqlstate.starts_with(known.sqlstate); });
        if (told != failure.sqlstates.end() && failure.text.find(known.text) != std::string::npos)
            return Refusal{*told, known.hint};
    }
    return std::nullopt;
}

Refusal missing_password(const std::string& passfile) {
    if (!passfile.empty())
        return {"28P01",
                passfile +
                    ": it is not there, can be read by others (chmod 600), or has no line for this host, "
                    "port, database and user"};
    return {"28P01", "give the password in PGPASSWORD or in the password file (~/.pgpass, mode 0600)"};
}

}  // namespace pgcascade::postgres
