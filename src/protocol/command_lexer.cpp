#include "protocol/command_lexer.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

namespace pgcascade::protocol {

namespace {

constexpr std::string_view kSpace = " \t\n\r\f\v";

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_hex_digit(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Bytes above 0x7F are letters, whatever the encoding.
bool starts_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}

bool continues_word(char c) {
    return starts_word(c) || is_digit(c) || c == '$';
}

// Only ASCII letters are folded, as the server does in every multi-byte encoding.
char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

template <class Predicate>
std::size_t run_length(std::string_view text, Predicate belongs) {
    return static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), belongs) - text.begin());
}

// The length of "16/B374D848" at the start of the text, 0 where there is none.
std::size_t lsn_length(std::string_view text) {
    const std::size_t high = run_length(text, is_hex_digit);
    if (high == 0 || high == text.size() || text[high] != '/') return 0;
    const std::size_t low = run_length(text.substr(high + 1), is_hex_digit);
    return low == 0 ? 0 : high + 1 + low;
}

std::string_view without_leading_space(std::string_view text) {
    return text.substr(std::min(text.find_first_not_of(kSpace), text.size()));
}

void cut_identifier(std::string& name) {
    if (name.size() <= kIdentifierBytesMax) return;
    std::size_t end = kIdentifierBytesMax;
    const auto continues_character = [&](std::size_t at) {
        return (static_cast<unsigned char>(name[at]) & 0xC0) == 0x80;
    };
    while (end > 0 && continues_character(end)) --end;
    name.resize(end);
}

}  // namespace

Token CommandLexer::next() {
    rest_ = without_leading_space(rest_);
    if (rest_.empty()) return take(Token::Kind::kEnd, 0);
    const char first = rest_.front();
    if (first == '\'') return quoted(Token::Kind::kString, first);
    if (first == '"') return quoted(Token::Kind::kQuotedIdentifier, first);
    // The longest match wins: AB/1 is a position, AB a word, 1A a number and a word.
    if (const std::size_t length = lsn_length(rest_); length > 0) return lsn(length);
    if (is_digit(first)) return number(run_length(rest_, is_digit));
    if (starts_word(first)) return word(run_length(rest_, continues_word));
    return take(Token::Kind::kSymbol, 1);
}

Token CommandLexer::take(Token::Kind kind, std::size_t length) {
    Token token;
    token.kind = kind;
    token.source = rest_.substr(0, length);
    token.text = token.source;
    rest_.remove_prefix(length);
    return token;
}

Token CommandLexer::word(std::size_t length) {
    Token token = take(Token::Kind::kWord, length);
    std::transform(token.text.begin(), token.text.end(), token.text.begin(), to_lower);
    cut_identifier(token.text);
    return token;
}

Token CommandLexer::number(std::size_t length) {
    Token token = take(Token::Kind::kNumber, length);
    const auto [end, error] =
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), token.number);
    if (error != std::errc{})
        throw ProtocolError("syntax error",
                            fmt::format("the number {} is greater than 4294967295", token.source));
    token.text = std::to_string(token.number);
    return token;
}

Token CommandLexer::lsn(std::size_t length) {
    Token token = take(Token::Kind::kLsn, length);
    const auto position = Lsn::parse(token.source);
    if (!position)
        throw ProtocolError("invalid streaming start location",
                            fmt::format("{} has more than eight digits on a side", token.source));
    token.lsn = *position;
    return token;
}

Token CommandLexer::quoted(Token::Kind kind, char mark) {
    std::string text;
    std::size_t at = 1;
    for (;; ++at) {
        if (at >= rest_.size())
            throw ProtocolError("unterminated quoted string",
                                fmt::format("a {} is missing at the end", mark));
        if (rest_[at] == mark) {
            const bool doubled = at + 1 < rest_.size() && rest_[at + 1] == mark;
            if (!doubled) break;
            ++at;
        }
        text += rest_[at];
    }
    Token token = take(kind, at + 1);
    token.text = std::move(text);
    if (kind == Token::Kind::kQuotedIdentifier) cut_identifier(token.text);
    return token;
}

Token leading_word(std::string_view text) {
    const std::string_view trimmed = without_leading_space(text);
    if (trimmed.empty() || !starts_word(trimmed.front())) return {};
    return CommandLexer(trimmed).next();
}

bool is_reserved(std::string_view word) {
    static constexpr std::array<std::string_view, 21> kReserved = {"ALTER_REPLICATION_SLOT",
                                                                   "BASE_BACKUP",
                                                                   "CREATE_REPLICATION_SLOT",
                                                                   "DROP_REPLICATION_SLOT",
                                                                   "EXPORT_SNAPSHOT",
                                                                   "IDENTIFY_SYSTEM",
                                                                   "LOGICAL",
                                                                   "NOEXPORT_SNAPSHOT",
                                                                   "PHYSICAL",
                                                                   "READ_REPLICATION_SLOT",
                                                                   "RESERVE_WAL",
                                                                   "SHOW",
                                                                   "SLOT",
                                                                   "START_REPLICATION",
                                                                   "TEMPORARY",
                                                                   "TIMELINE",
                                                                   "TIMELINE_HISTORY",
                                                                   "TWO_PHASE",
                                                                   "UPLOAD_MANIFEST",
                                                                   "USE_SNAPSHOT",
                                                                   "WAIT"};
    return std::binary_search(kReserved.begin(), kReserved.end(), word);
}

}  // namespace pgcascade::protocol
