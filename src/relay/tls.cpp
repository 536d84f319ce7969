#include "relay/tls.hpp"

#include <array>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

namespace asio = boost::asio;

namespace {

// The hash of the certificate's own signature, but SHA-256 where that is weaker (fe-secure-openssl.c,
// pgtls_get_peer_certificate_hash).
const EVP_MD* binding_hash(const X509* certificate) {
    int hash = NID_undef;
    if (X509_get_signature_info(const_cast<X509*>(certificate), &hash, nullptr, nullptr, nullptr) != 1 ||
        hash == NID_undef)
        return nullptr;
    return hash == NID_md5 || hash == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(hash);
}

// Empty where the certificate has no such hash: then logins are not bound.
std::string binding_of(SSL_CTX* context) {
    const X509* certificate = SSL_CTX_get0_certificate(context);
    const EVP_MD* kind = certificate == nullptr ? nullptr : binding_hash(certificate);
    if (kind == nullptr) return {};
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int bytes = 0;
    if (X509_digest(certificate, kind, digest.data(), &bytes) != 1) return {};
    return {reinterpret_cast<const char*>(digest.data()), bytes};
}

}  // namespace

Tls load_tls(const TlsFiles& files) {
    Tls tls{std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server), {}};
    tls.context->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
    boost::system::error_code problem;
    if (tls.context->use_certificate_chain_file(files.certificate.string(), problem))
        throw ConfigError(
            "can't use the certificate " + files.certificate.string() + ": " + problem.message(),
            "it has to be a PEM file, the server's certificate first");
    if (tls.context->use_private_key_file(files.key.string(), asio::ssl::context::pem, problem))
        throw ConfigError("can't use the key " + files.key.string() + ": " + problem.message(),
                          "it has to be the certificate's key, a PEM file without a passphrase");
    if (SSL_CTX_check_private_key(tls.context->native_handle()) != 1)
        throw ConfigError(fmt::format("the key {} is not that of the certificate {}", files.key.string(),
                                      files.certificate.string()),
                          "write both anew, or name the two that belong together");
    tls.binding = binding_of(tls.context->native_handle());
    return tls;
}

}  // namespace pgcascade::relay
