#include "postgres/scram_secret.hpp"

#include <memory>

#include <libpq-fe.h>

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

std::string make_scram_secret(const std::string& password) {
    // libpq asks the server of a connection for nothing but the algorithm, where none is named. This one has
    // no server: the string can't be read, so nothing is looked up and nothing connected to.
    const std::unique_ptr<PGconn, decltype(&PQfinish)> nowhere{PQconnectStart("="), PQfinish};
    const std::unique_ptr<char, decltype(&PQfreemem)> secret{
        PQencryptPasswordConn(nowhere.get(), password.c_str(), "", "scram-sha-256"), PQfreemem};
    if (!secret) throw Error("can't make a SCRAM secret");
    return secret.get();
}

}  // namespace pgcascade::postgres
