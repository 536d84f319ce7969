#include "relay/address.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

namespace {

constexpr std::array<std::uint8_t, 12> kMappedIpv4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned kMappedBits = 8 * kMappedIpv4.size();
constexpr std::string_view kLocal = "local";

bool same_start(const std::array<std::uint8_t, 16>& left, const std::array<std::uint8_t, 16>& right,
                unsigned bits) {
    const auto whole = static_cast<std::ptrdiff_t>(bits / 8);
    if (!std::equal(left.begin(), left.begin() + whole, right.begin())) return false;
    const auto mask = static_cast<std::uint8_t>(0xff00U >> bits % 8);
    return bits % 8 == 0 || ((left[bits / 8] ^ right[bits / 8]) & mask) == 0;
}

}  // namespace

Address Address::of_ipv6(const Bytes& bytes) {
    Address address;
    if (std::equal(kMappedIpv4.begin(), kMappedIpv4.end(), bytes.begin())) {
        address.family_ = Family::kIpv4;
        std::copy(bytes.begin() + kMappedIpv4.size(), bytes.end(), address.bytes_.begin());
    } else {
        address.family_ = Family::kIpv6;
        address.bytes_ = bytes;
    }
    return address;
}

std::optional<Address> Address::parse(std::string_view text) {
    if (text.find('\0') != std::string_view::npos) return std::nullopt;
    const std::string whole{text};
    Address address;
    if (::inet_pton(AF_INET, whole.c_str(), address.bytes_.data()) == 1) {
        address.family_ = Family::kIpv4;
        return address;
    }
    Bytes bytes{};
    if (::inet_pton(AF_INET6, whole.c_str(), bytes.data()) != 1) return std::nullopt;
    return of_ipv6(bytes);
}

Address Address::of(const sockaddr& address) {
    if (address.sa_family == AF_UNIX) return local();
    if (address.sa_family == AF_INET) {
        Address ipv4;
        ipv4.family_ = Family::kIpv4;
        std::memcpy(ipv4.bytes_.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
        return ipv4;
    }
    if (address.sa_family != AF_INET6)
        throw Error(fmt::format("a client came over a network of unknown kind, {}", address.sa_family));
    Bytes bytes{};
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, bytes.size());
    return of_ipv6(bytes);
}

bool Address::is_loopback() const {
    if (family_ == Family::kIpv4) return bytes_[0] == 127;
    return family_ == Family::kIpv6 && *this == *parse("::1");
}

std::string Address::to_string() const {
    if (family_ == Family::kLocal) return std::string{kLocal};
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(family_ == Family::kIpv4 ? AF_INET : AF_INET6, bytes_.data(), text, sizeof text);
    return text;
}

std::optional<AddressRange> AddressRange::parse(std::string_view text) {
    AddressRange range;
    if (text == kLocal) return range;

    const std::size_t slash = std::min(text.find('/'), text.size());
    const std::string_view written = text.substr(0, slash);
    const auto first = Address::parse(written);
    if (!first) return std::nullopt;
    range.first_ = *first;
    const bool is_ipv4 = first->family_ == Address::Family::kIpv4;
    const unsigned all_bits = is_ipv4 ? 32 : 128;
    range.bits_ = all_bits;

    if (slash < text.size()) {
        const std::string_view digits = text.substr(slash + 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), range.bits_);
        if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
        // Of a mapped address the bits count from the start of the IPv6 address.
        if (is_ipv4 && written.find(':') != std::string_view::npos) {
            if (range.bits_ < kMappedBits) return std::nullopt;
            range.bits_ -= kMappedBits;
        }
        if (range.bits_ > all_bits) return std::nullopt;
    }

    for (unsigned bit = range.bits_; bit < all_bits; ++bit)
        if ((first->bytes_[bit / 8] & (0x80U >> bit % 8)) != 0) return std::nullopt;
    return range;
}

bool AddressRange::contains(const Address& address) const {
    return first_.family_ == address.family_ && same_start(first_.bytes_, address.bytes_, bits_);
}

bool AddressRange::is_this_machine() const {
    switch (first_.family_) {
        case Address::Family::kLocal:
            return true;
        case Address::Family::kIpv4:
            return first_.is_loopback() && bits_ >= 8;
        case Address::Family::kIpv6:
            return first_.is_loopback() && bits_ == 128;
    }
    return false;
}

std::string AddressRange::to_string() const {
    if (first_.family_ == Address::Family::kLocal) return first_.to_string();
    return fmt::format("{}/{}", first_.to_string(), bits_);
}

}  // namespace pgcascade::relay
