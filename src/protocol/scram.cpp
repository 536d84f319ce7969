#include "protocol/scram.hpp"

#include <algorithm>
#include <charconv>
#include <new>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <pgcascade/error.hpp>

namespace pgcascade::protocol {

namespace {

constexpr std::string_view kMechanism = "SCRAM-SHA-256";
constexpr std::string_view kMechanismPlus = "SCRAM-SHA-256-PLUS";
constexpr std::string_view kBinding = "tls-server-end-point";
constexpr std::size_t kNonceBytes = 18;  // as PostgreSQL (scram-common.h)
constexpr std::size_t kMockSaltBytes = 16;
constexpr int kMockIterations = 4096;  // PostgreSQL's default, as most secrets have it
constexpr std::size_t kKeyBytes = SHA256_DIGEST_LENGTH;

const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

std::string to_base64(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // and the zero that OpenSSL puts behind it
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes_of(bytes),
                                       static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(length));
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) return std::nullopt;
    std::string bytes(text.size() / 4 * 3, '\0');
    const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), bytes_of(text),
                                       static_cast<int>(text.size()));
    if (length < 0) return std::nullopt;
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    bytes.resize(static_cast<std::size_t>(length) - padding);
    // OpenSSL takes what is not quite Base64, too.
    if (to_base64(bytes) != text) return std::nullopt;
    return bytes;
}

std::string sha256(std::string_view bytes) {
    std::string hash(kKeyBytes, '\0');
    SHA256(bytes_of(bytes), bytes.size(), reinterpret_cast<unsigned char*>(hash.data()));
    return hash;
}

std::string hmac(std::string_view key, std::string_view bytes) {
    std::string mac(kKeyBytes, '\0');
    unsigned int length = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(bytes), bytes.size(),
             reinterpret_cast<unsigned char*>(mac.data()), &length) == nullptr)
        throw std::bad_alloc{};
    return mac;
}

std::string random_bytes(std::size_t count) {
    std::string bytes(count, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1)
        throw Error("there is no randomness to be had for a login");
    return bytes;
}

[[noreturn]] void refuse(const char* detail) {
    throw ProtocolError(fmt::format("malformed SCRAM message: {}", detail));
}

// "x=value,": takes it off the message.
std::string_view take_attribute(std::string_view& message, char name) {
    if (message.size() < 2 || message[0] != name || message[1] != '=')
        refuse("an attribute is missing, or in the wrong place");
    const std::size_t end = std::min(message.find(','), message.size());
    const std::string_view value = message.substr(2, end - 2);
    message.remove_prefix(std::min(end + 1, message.size()));
    return value;
}

}  // namespace

std::optional<ScramSecret> parse_scram_secret(std::string_view text) {
    const auto take = [&text](char until) {
        const std::size_t end = std::min(text.find(until), text.size());
        const std::string_view part = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        return part;
    };
    if (take('$') != kMechanism) return std::nullopt;
    ScramSecret secret;
    const std::string_view iterations = take(':');
    const auto [end, error] =
        std::from_chars(iterations.data(), iterations.data() + iterations.size(), secret.iterations);
    if (error != std::errc{} || end != iterations.data() + iterations.size() || secret.iterations < 1)
        return std::nullopt;
    const auto salt = from_base64(take('$'));
    const auto stored_key = from_base64(take(':'));
    const auto server_key = from_base64(text);
    if (!salt || !stored_key || !server_key) return std::nullopt;
    if (stored_key->size() != kKeyBytes || server_key->size() != kKeyBytes) return std::nullopt;
    secret.salt = *salt;
    secret.stored_key = *stored_key;
    secret.server_key = *server_key;
    return secret;
}

ScramSecret mock_scram_secret(std::string_view user, std::string_view key) {
    // No password has a StoredKey that was drawn by lot.
    return {.iterations = kMockIterations,
            .salt = hmac(key, user).substr(0, kMockSaltBytes),
            .stored_key = random_bytes(kKeyBytes),
            .server_key = random_bytes(kKeyBytes)};
}

ScramExchange::ScramExchange(ScramSecret secret, std::string channel_binding)
    : secret_(std::move(secret)), channel_binding_(std::move(channel_binding)) {}

std::vector<std::string> ScramExchange::mechanisms() const {
    if (channel_binding_.empty()) return {std::string{kMechanism}};
    return {std::string{kMechanismPlus}, std::string{kMechanism}};
}

// gs2-header: "n" | "y" | "p=" binding, "," authzid ","
void ScramExchange::read_binding_flag(std::string_view& message, std::string_view mechanism) {
    const std::string_view whole = message;
    const bool with_plus = mechanism == kMechanismPlus;
    if (message.starts_with("p=")) {
        if (!with_plus) refuse("channel binding was not negotiated");
        if (take_attribute(message, 'p') != kBinding) refuse("unknown kind of channel binding");
    } else {
        if (with_plus) refuse("channel binding was negotiated, but is not used");
        if (!message.starts_with("n,") && !message.starts_with("y,")) refuse("unknown channel binding flag");
        // Somebody between us would have taken the better mechanism out of our list.
        if (message[0] == 'y' && !channel_binding_.empty())
            refuse("the client supports channel binding, but thinks that this server does not");
        message.remove_prefix(2);
    }
    if (!message.starts_with(",")) refuse("an authorization identity is not supported");
    message.remove_prefix(1);
    const std::string_view header = whole.substr(0, whole.size() - message.size());
    expected_binding_ = to_base64(std::string{header} + (with_plus ? channel_binding_ : ""));
}

// client-first: gs2-header "n=" user ",r=" nonce. The user is that of the startup packet.
std::string ScramExchange::begin(std::string_view mechanism, std::string_view client_first) {
    const std::vector<std::string> offered = mechanisms();
    if (std::find(offered.begin(), offered.end(), mechanism) == offered.end())
        refuse("the mechanism was not offered");
    read_binding_flag(client_first, mechanism);
    client_first_bare_ = client_first;
    if (client_first.starts_with("m=")) refuse("an extension is required that is not supported");
    take_attribute(client_first, 'n');
    const std::string_view client_nonce = take_attribute(client_first, 'r');
    const bool is_printable = std::all_of(client_nonce.begin(), client_nonce.end(),
                                          [](char byte) { return byte >= 0x21 && byte <= 0x7E; });
    if (client_nonce.empty() || !is_printable) refuse("the nonce is not printable");
    nonce_ = std::string{client_nonce} + to_base64(random_bytes(kNonceBytes));
    server_first_ = fmt::format("r={},s={},i={}", nonce_, to_base64(secret_.salt), secret_.iterations);
    return server_first_;
}

// client-final: "c=" binding ",r=" nonce [extensions] ",p=" proof
std::optional<std::string> ScramExchange::finish(std::string_view client_final) {
    const std::size_t proof_at = client_final.rfind(",p=");
    if (nonce_.empty() || proof_at == std::string_view::npos) refuse("there is no proof");
    const std::string_view without_proof = client_final.substr(0, proof_at);
    const auto proof = from_base64(client_final.substr(proof_at + 3));
    if (!proof || proof->size() != kKeyBytes) refuse("the proof is not of its size");
    std::string_view rest = without_proof;
    if (take_attribute(rest, 'c') != expected_binding_) refuse("the channel binding does not match");
    if (take_attribute(rest, 'r') != nonce_) refuse("the nonce does not match");
    nonce_.clear();  // one try

    const std::string message = client_first_bare_ + "," + server_first_ + "," + std::string{without_proof};
    const std::string signature = hmac(secret_.stored_key, message);
    std::string client_key(kKeyBytes, '\0');
    for (std::size_t i = 0; i < kKeyBytes; ++i) client_key[i] = static_cast<char>((*proof)[i] ^ signature[i]);
    if (CRYPTO_memcmp(sha256(client_key).data(), secret_.stored_key.data(), kKeyBytes) != 0)
        return std::nullopt;
    return "v=" + to_base64(hmac(secret_.server_key, message));
}

}  // namespace pgcascade::protocol
