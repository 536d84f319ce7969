#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <pgcascade/lsn.hpp>

// Cuts a replication command into tokens, after PostgreSQL's replication/repl_scanner.l. Wider than the
// server in one thing: "" within a quoted identifier stands for one quote.

namespace pgcascade::protocol {

struct Token {
    enum class Kind : std::uint8_t { kWord, kQuotedIdentifier, kString, kNumber, kLsn, kSymbol, kEnd };

    Kind kind = Kind::kEnd;
    std::string text;          // of a word: in lower case; of a quoted token: without the quotes
    std::string_view source;   // as it stands in the command
    std::uint32_t number = 0;  // kNumber
    Lsn lsn;                   // kLsn
};

class CommandLexer {
  public:
    // `text` must live as long as the lexer and its tokens.
    explicit CommandLexer(std::string_view text) : rest_(text) {}

    // kEnd at the end, again and again. Throws ProtocolError for a quote without its end and for a number or
    // position that does not fit.
    Token next();

  private:
    Token word(std::size_t length);
    Token number(std::size_t length);
    Token lsn(std::size_t length);
    Token quoted(Token::Kind kind, char mark);
    Token take(Token::Kind kind, std::size_t length);

    std::string_view rest_;
};

// The word that the text starts with; kEnd where it starts with something else.
Token leading_word(std::string_view text);

// True for the words that the server's grammar keeps for itself. They are so in upper case only: SLOT is a
// keyword, slot is a name.
bool is_reserved(std::string_view word);

// The longest identifier that a server keeps (NAMEDATALEN - 1); what is longer is cut, at a whole character.
inline constexpr std::size_t kIdentifierBytesMax = 63;

}  // namespace pgcascade::protocol
