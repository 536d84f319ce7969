#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

// Every input that a fuzzer started from or once found is run again, under the sanitizers, by the fuzzers'
// own code (tests/fuzz, compiled in under these names).

extern "C" int fuzz_decoder(const std::uint8_t* data, std::size_t size);
extern "C" int fuzz_command(const std::uint8_t* data, std::size_t size);
extern "C" int fuzz_frontend(const std::uint8_t* data, std::size_t size);
extern "C" int fuzz_feed_log(const std::uint8_t* data, std::size_t size);
extern "C" int fuzz_wal_log(const std::uint8_t* data, std::size_t size);

namespace pgcascade {

static std::size_t replay(const std::string& corpus, int (*fuzz)(const std::uint8_t*, std::size_t)) {
    std::size_t inputs = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(PGCASCADE_TESTS_DIR "/fuzz/corpus/" + corpus)) {
        SCOPED_TRACE(entry.path());
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), {}};
        EXPECT_EQ(fuzz(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
        ++inputs;
    }
    return inputs;
}

TEST(FuzzCorpus, DecoderTakesEveryInputWithoutHarm) {
    EXPECT_GE(replay("decoder", fuzz_decoder), 40u);
}

TEST(FuzzCorpus, CommandParserTakesEveryInputWithoutHarm) {
    EXPECT_GE(replay("command", fuzz_command), 25u);
}

TEST(FuzzCorpus, FrontendParserTakesEveryInputWithoutHarm) {
    EXPECT_GE(replay("frontend", fuzz_frontend), 6u);
}

TEST(FuzzCorpus, FeedLogIsOpenedAsFarAsItIsWholeOrRefused) {
    EXPECT_GE(replay("feed_log", fuzz_feed_log), 20u);
}

TEST(FuzzCorpus, WalLogIsOpenedAsFarAsItIsWholeOrRefused) {
    EXPECT_GE(replay("wal_log", fuzz_wal_log), 20u);
}

}  // namespace pgcascade
