#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sockaddr;

// Where a client comes from, and the sets of such places that the relay's files name. An IPv4 address that
// arrives as IPv6 (::ffff:10.0.0.1, on a socket that takes both) is the IPv4 address.

namespace pgcascade::relay {

class Address {
  public:
    // A Unix socket of this machine.
    static Address local() { return {}; }

    // As inet_pton(3) reads it; nothing where the text is no IPv4 or IPv6 address.
    static std::optional<Address> parse(std::string_view text);

    // As accept(2) gives it. Throws Error for a family that is none of IPv4, IPv6 and Unix.
    static Address of(const sockaddr& address);

    bool is_loopback() const;  // 127.0.0.0/8 or ::1

    std::string to_string() const;  // "local", "10.0.0.1", "::1"

    bool operator==(const Address&) const = default;

  private:
    friend class AddressRange;

    enum class Family { kLocal, kIpv4, kIpv6 };
    using Bytes = std::array<std::uint8_t, 16>;  // in the network's order; of IPv4 the first four

    static Address of_ipv6(const Bytes& bytes);

    Family family_ = Family::kLocal;
    Bytes bytes_{};
};

class AddressRange {
  public:
    // "local" (Unix sockets), an address, or a network as "10.0.0.0/8". Nothing where the text is none of
    // them, or where bits are set beyond the network's: what is meant by 10.0.0.1/8?
    static std::optional<AddressRange> parse(std::string_view text);

    bool contains(const Address& address) const;

    // Whether nobody but this machine is in it.
    bool is_this_machine() const;

    std::string to_string() const;

    bool operator==(const AddressRange&) const = default;

  private:
    Address first_;
    unsigned bits_ = 0;  // of its start that all addresses of the range share
};

}  // namespace pgcascade::relay
