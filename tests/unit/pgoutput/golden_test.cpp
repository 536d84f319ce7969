#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "golden/golden_file.hpp"
#include "pgoutput/decoder.hpp"
#include "unit/pgoutput/change_text.hpp"

// Messages that real servers sent (tests/golden): decoded they must say what the reviewed text says, and
// damaged ones must fail cleanly.

namespace pgcascade::pgoutput {

class GoldenTest : public testing::TestWithParam<int> {
  protected:
    static std::string file_name(const std::string& suffix) {
        return "/pgoutput_" + std::to_string(GetParam()) + suffix;
    }

    const std::string directory_ = PGCASCADE_TESTS_DIR "/golden";
    const std::vector<golden::Session> sessions_ = golden::read_sessions(directory_ + file_name(".hex"));
};

static std::string describe_sessions(const std::vector<golden::Session>& sessions) {
    Decoder decoder;
    std::string text;
    std::uint64_t generation = 0;
    for (const golden::Session& session : sessions) {
        decoder.start_session();
        text += "= " + session.name + "\n";
        for (const golden::Step& step : session.steps) {
            text += "# " + step.sql + "\n";
            for (const golden::Message& message : step.messages)
                if (const Change* change = decoder.decode(message.bytes, message.wal_start))
                    text += describe(*change, generation);
        }
    }
    return text;
}

static std::string read_text(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

static std::string first_difference(const std::string& expected, const std::string& actual) {
    std::istringstream expected_lines(expected);
    std::istringstream actual_lines(actual);
    for (int number = 1;; ++number) {
        std::string wanted;
        std::string got;
        const bool more_wanted = static_cast<bool>(std::getline(expected_lines, wanted));
        const bool more_got = static_cast<bool>(std::getline(actual_lines, got));
        if (!more_wanted && !more_got) return "none";
        if (wanted != got || more_wanted != more_got)
            return fmt::format("line {}\nexpected: {}\ndecoded:  {}", number, wanted, got);
    }
}

TEST_P(GoldenTest, EveryMessageSaysWhatTheReviewedTextSays) {
    const std::string actual = describe_sessions(sessions_);
    const std::string expected = read_text(directory_ + file_name(".changes"));
    if (actual == expected) return;
    const std::string written = testing::TempDir() + file_name(".changes");
    std::ofstream(written) << actual;
    FAIL() << "first difference: " << first_difference(expected, actual) << "\nall of it: " << written;
}

// The golden files are worth what they hold.
TEST_P(GoldenTest, EveryKindOfMessageIsThere) {
    std::set<char> kinds;
    std::set<char> identities;
    std::set<char> states;
    Decoder decoder;
    for (const golden::Session& session : sessions_) {
        decoder.start_session();
        for (const golden::Step& step : session.steps)
            for (const golden::Message& message : step.messages) {
                kinds.insert(message.bytes[0]);
                const Change* change = decoder.decode(message.bytes, message.wal_start);
                if (change == nullptr || !change->is_row_change()) continue;
                identities.insert(static_cast<char>(change->relation->replica_identity));
                for (const Value& value : change->new_row.values())
                    states.insert(static_cast<char>(value.state()));
            }
    }
    EXPECT_EQ(kinds, (std::set<char>{'B', 'C', 'O', 'R', 'Y', 'I', 'U', 'D', 'T', 'M'}));
    EXPECT_EQ(identities, (std::set<char>{'d', 'n', 'f', 'i'}));
    EXPECT_EQ(states, (std::set<char>{'n', 'u', 't', 'b'}));
}

// Calls `damage` with a decoder in the state in which it would decode the message.
using Damage = std::function<void(Decoder&, const golden::Message&)>;

static void before_each_message(const std::vector<golden::Session>& sessions, const Damage& damage) {
    Decoder decoder;
    for (const golden::Session& session : sessions) {
        decoder.start_session();
        for (const golden::Step& step : session.steps)
            for (const golden::Message& message : step.messages) {
                damage(decoder, message);
                decoder.decode(message.bytes, message.wal_start);  // nothing that failed has left a trace
            }
    }
}

TEST_P(GoldenTest, EveryMessageCutAtEveryByteFailsAndLeavesNoTrace) {
    before_each_message(sessions_, [](Decoder& decoder, const golden::Message& message) {
        for (std::size_t size = 0; size < message.bytes.size(); ++size) {
            // A buffer of exactly that size, so that the sanitizer sees a read past the end.
            const std::vector<char> cut(message.bytes.begin(),
                                        message.bytes.begin() + static_cast<std::ptrdiff_t>(size));
            ASSERT_THROW(decoder.decode(std::string_view(cut.data(), cut.size()), message.wal_start),
                         ProtocolError)
                << message.bytes[0] << " cut to " << size << " bytes";
        }
    });
}

TEST_P(GoldenTest, EveryMessageWithOneByteMoreFails) {
    before_each_message(sessions_, [](Decoder& decoder, const golden::Message& message) {
        ASSERT_THROW(decoder.decode(message.bytes + '\0', message.wal_start), ProtocolError)
            << message.bytes[0];
    });
}

// Reads all that a row points to, for the sanitizer to look at.
static std::size_t read_all(const Row& row) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
        for (const char c : row[i].bytes()) sum += static_cast<unsigned char>(c);
        sum += row.relation().columns[i].name.size();
    }
    return sum;
}

// Decodes damaged messages of a golden session one after another. A damaged one may well be taken; then the
// decoder is brought back to where the sound messages had left it.
class DamagedSession {
  public:
    void sound(const golden::Message& message) {
        decoder_.decode(message.bytes, message.wal_start);
        const char kind = message.bytes[0];
        if (kind == 'R' || kind == 'Y') announced_.push_back(&message);
        if (kind == 'B') begin_ = &message;
        if (kind == 'C') begin_ = nullptr;
    }

    void damaged(const std::string& bytes, Lsn wal_start) {
        try {
            const Change* change = decoder_.decode(bytes, wal_start);
            if (change != nullptr && change->is_row_change())
                bytes_read_ += read_all(change->old_row) + read_all(change->new_row);
            else
                restore();
        } catch (const ProtocolError&) {
            // As it should be: the decoder stands where it stood.
        }
    }

  private:
    void restore() {
        decoder_.start_session();
        for (const golden::Message* message : announced_) decoder_.decode(message->bytes, message->wal_start);
        if (begin_ != nullptr) decoder_.decode(begin_->bytes, begin_->wal_start);
    }

    Decoder decoder_;
    std::size_t bytes_read_ = 0;
    std::vector<const golden::Message*> announced_;
    const golden::Message* begin_ = nullptr;
};

TEST_P(GoldenTest, EveryMessageWithADamagedByteIsTakenOrRefusedButNeverCrashes) {
    constexpr std::size_t kLong = 600;
    for (const golden::Session& session : sessions_) {
        DamagedSession damaged_session;
        for (const golden::Step& step : session.steps)
            for (const golden::Message& message : step.messages) {
                const std::vector<int> masks =
                    message.bytes.size() < kLong ? std::vector{0x01, 0x80, 0xFF} : std::vector{0x81};
                std::string bytes = message.bytes;
                for (std::size_t at = 0; at < bytes.size(); ++at)
                    for (const int mask : masks) {
                        bytes[at] = static_cast<char>(bytes[at] ^ mask);
                        damaged_session.damaged(bytes, message.wal_start);
                        bytes[at] = message.bytes[at];
                    }
                damaged_session.sound(message);
            }
    }
}

INSTANTIATE_TEST_SUITE_P(PostgreSQL, GoldenTest, testing::Values(15, 18),
                         [](const auto& version) { return std::to_string(version.param); });

}  // namespace pgcascade::pgoutput
