#include "relay/session_list.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

namespace {

constexpr std::size_t kKeyBytes = 4;  // of protocol 3.0

std::string make_key() {
    std::string key(kKeyBytes, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), static_cast<int>(key.size())) != 1)
        throw Error("OpenSSL gives no random numbers");
    return key;
}

bool is_same_key(const std::string& one, const std::string& other) {
    return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

}  // namespace

SessionList::Identity SessionList::add(SessionInfo info, Handlers handlers) {
    Identity identity;
    identity.key = make_key();
    const std::lock_guard lock{mutex_};
    do identity.pid = ++last_pid_ & 0x7FFFFFFF;  // clients take it for a signed number
    while (identity.pid == 0 || entries_.contains(identity.pid));
    info.pid = identity.pid;
    entries_[identity.pid] = {std::move(info), identity.key, std::move(handlers)};
    return identity;
}

void SessionList::remove(std::uint32_t pid) {
    const std::lock_guard lock{mutex_};
    entries_.erase(pid);
}

void SessionList::update(std::uint32_t pid, const std::function<void(SessionInfo&)>& change) {
    const std::lock_guard lock{mutex_};
    if (const auto found = entries_.find(pid); found != entries_.end()) change(found->second.info);
}

std::vector<SessionInfo> SessionList::list() const {
    const std::lock_guard lock{mutex_};
    std::vector<SessionInfo> sessions;
    for (const auto& [pid, entry] : entries_) sessions.push_back(entry.info);
    return sessions;
}

std::size_t SessionList::size() const {
    const std::lock_guard lock{mutex_};
    return entries_.size();
}

void SessionList::cancel(std::uint32_t pid, const std::string& key) {
    const std::lock_guard lock{mutex_};
    const auto found = entries_.find(pid);
    if (found != entries_.end() && is_same_key(found->second.key, key)) found->second.handlers.cancel();
}

void SessionList::stop_all() {
    const std::lock_guard lock{mutex_};
    for (const auto& [pid, entry] : entries_) entry.handlers.stop();
}

}  // namespace pgcascade::relay
