#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgcascade {

// Reads an array in PostgreSQL's text form, "{1,NULL,\"a b\"}" or "[0:1][1:2]={{1,2},{3,4}}", token by token.
// Source: PostgreSQL, array_out() in utils/adt/arrayfuncs.c. Not for box[], whose elements a semicolon parts.
// One reader for many arrays: it keeps the memory it unescapes elements in.
class ArrayReader {
  public:
    enum class Token : std::uint8_t { kOpen, kClose, kComma, kElement, kNull, kEnd, kError };

    // `text` must live as long as it is read.
    void start(std::string_view text);

    // kError, and only that from then on, where the text breaks the form.
    Token next();

    // The text of the element that next() returned, valid until the next call.
    std::string_view element() const { return element_; }

    // Whether the whole text is an array. Leaves nothing started.
    bool accepts(std::string_view text);

  private:
    Token fail();
    Token read_quoted();
    Token read_bare();

    std::string_view rest_;
    std::string_view element_;
    std::string unescaped_;
    int depth_ = 0;
    bool value_expected_ = true;  // an element or a sub-array, not a comma
    bool may_close_ = false;
};

}  // namespace pgcascade
