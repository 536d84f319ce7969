#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <pgcascade/error.hpp>

#include "protocol/replication_command.hpp"

// Parses arbitrary text as a replication command. What is understood must be the same after it was written
// and read again.

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace pgcascade;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    protocol::ReplicationCommand command;
    try {
        command = protocol::parse_command(text);
    } catch (const ProtocolError&) {
        return 0;
    }
    if (protocol::parse_command(protocol::to_string(command)) != command) std::abort();
    return 0;
}
