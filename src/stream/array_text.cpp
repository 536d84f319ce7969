#include "stream/array_text.hpp"

namespace pgcascade {

// Bounds other than from 1 stand before the array: "[2:4]={…}".
void ArrayReader::start(std::string_view text) {
    rest_ = text;
    depth_ = 0;
    value_expected_ = true;
    may_close_ = false;
    if (!rest_.starts_with('[')) return;
    const auto equals = rest_.find('=');
    rest_.remove_prefix(equals == std::string_view::npos ? rest_.size() : equals + 1);
}

ArrayReader::Token ArrayReader::next() {
    if (rest_.empty()) return depth_ == 0 && !value_expected_ ? Token::kEnd : fail();
    const char byte = rest_[0];
    if (depth_ == 0 && (byte != '{' || !value_expected_)) return fail();
    switch (byte) {
        case '{':
            if (!value_expected_) return fail();
            ++depth_;
            may_close_ = true;
            rest_.remove_prefix(1);
            return Token::kOpen;
        case '}':
            if (value_expected_ && !may_close_) return fail();
            --depth_;
            value_expected_ = false;
            rest_.remove_prefix(1);
            return Token::kClose;
        case ',':
            if (value_expected_) return fail();
            value_expected_ = true;
            may_close_ = false;
            rest_.remove_prefix(1);
            return Token::kComma;
        case '"':
            return read_quoted();
        default:
            return read_bare();
    }
}

ArrayReader::Token ArrayReader::fail() {
    rest_ = {};
    depth_ = -1;
    return Token::kError;
}

ArrayReader::Token ArrayReader::read_quoted() {
    if (!value_expected_) return fail();
    value_expected_ = false;
    rest_.remove_prefix(1);
    const auto special = rest_.find_first_of("\"\\");
    if (special == std::string_view::npos) return fail();
    if (rest_[special] == '"') {
        element_ = rest_.substr(0, special);
        rest_.remove_prefix(special + 1);
        return Token::kElement;
    }
    unescaped_.clear();
    for (std::size_t at = 0; at < rest_.size(); ++at) {
        if (rest_[at] == '"') {
            element_ = unescaped_;
            rest_.remove_prefix(at + 1);
            return Token::kElement;
        }
        if (rest_[at] == '\\' && ++at == rest_.size()) break;
        unescaped_ += rest_[at];
    }
    return fail();
}

ArrayReader::Token ArrayReader::read_bare() {
    if (!value_expected_) return fail();
    value_expected_ = false;
    const auto end = rest_.find_first_of(",{}\"\\");
    if (end == std::string_view::npos) return fail();
    element_ = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return element_ == "NULL" ? Token::kNull : Token::kElement;
}

bool ArrayReader::accepts(std::string_view text) {
    start(text);
    while (true) {
        const Token token = next();
        if (token == Token::kEnd) return true;
        if (token == Token::kError) return false;
    }
}

}  // namespace pgcascade
