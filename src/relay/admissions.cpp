#include "relay/admissions.hpp"

namespace pgcascade::relay {

std::shared_ptr<void> Admissions::admit(const std::string& address) {
    const std::lock_guard lock{mutex_};
    int& waiting = waiting_[address];
    if (waiting >= most_) return nullptr;
    ++waiting;
    return {this, [address](Admissions* admissions) { admissions->leave(address); }};
}

void Admissions::leave(const std::string& address) {
    const std::lock_guard lock{mutex_};
    const auto found = waiting_.find(address);
    if (--found->second == 0) waiting_.erase(found);
}

}  // namespace pgcascade::relay
