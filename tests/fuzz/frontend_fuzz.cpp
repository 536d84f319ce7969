#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <pgcascade/error.hpp>

#include "protocol/frontend_message.hpp"
#include "protocol/replication_command.hpp"
#include "protocol/replication_message.hpp"
#include "protocol/scram.hpp"

// Reads arbitrary bytes as all that a client sends on one connection, as a server does: the first packets,
// then a login, then messages. Every step must take something, or end.

namespace {

using namespace pgcascade;
using namespace pgcascade::protocol;

constexpr std::size_t kLimit = 1 << 16;
constexpr std::string_view kSecret =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

bool begins_session(std::string_view& received) {
    for (;;) {
        const auto length = first_packet_length(received);
        if (!length || received.size() < *length) return false;
        const FirstPacket packet = parse_first_packet(received.substr(0, *length));
        received.remove_prefix(*length);
        if (std::holds_alternative<StartupMessage>(packet)) return true;
        if (std::holds_alternative<CancelRequest>(packet)) return false;
    }
}

void serve(std::string_view received) {
    if (!begins_session(received)) return;
    ScramExchange scram{*parse_scram_secret(kSecret), ""};
    bool has_begun = false;
    for (std::size_t before = received.size();; before = received.size()) {
        const auto message = take_message(received, kLimit);
        if (!message) return;
        if (received.size() >= before) std::abort();
        if (message->type == 'p' && has_begun) {
            scram.finish(message->body);
        } else if (message->type == 'p') {
            const SaslInitialResponse initial = parse_sasl_initial_response(message->body);
            scram.begin(initial.mechanism, initial.response.value_or(""));
            has_begun = true;
        } else if (message->type == 'Q') {
            parse_command(parse_query(message->body));
        } else if (message->type == 'd') {
            parse_standby_message(message->body);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        serve({reinterpret_cast<const char*>(data), size});
    } catch (const ProtocolError&) {
    }
    return 0;
}
