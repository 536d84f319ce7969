#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <toml++/toml.h>

// TOML as a file that people write and get wrong: every complaint is a ConfigError that starts with
// file:line.

namespace pgcascade {

// The known word that is nearest to a misspelt one; empty where none is near.
std::string nearest_word(std::string_view word, const std::vector<std::string_view>& known);

class TomlFile {
  public:
    struct Entry {
        std::string key;
        const toml::node* value = nullptr;
        int line = 0;
    };

    // Throws ConfigError for a syntax error, SystemError where the file can't be read.
    explicit TomlFile(const std::filesystem::path& file);
    TomlFile(const std::filesystem::path& file, const std::string& content);  // as it would be read

    const toml::table& root() const { return root_; }

    // In the order of the file; toml++ itself sorts by name.
    static std::vector<Entry> entries(const toml::table& table);

    // As entries(), but only those keys may occur. `where` names the table: "[cascade]".
    std::vector<Entry> entries(const toml::table& table, const std::string& where,
                               const std::vector<std::string_view>& known) const;

    const toml::table& table(const Entry& entry) const;
    std::vector<Entry> items(const Entry& entry) const;  // of a list; each with the list's key
    std::string text(const Entry& entry) const;          // a string that is not empty
    std::int64_t integer(const Entry& entry, std::int64_t lowest, std::int64_t highest) const;
    bool boolean(const Entry& entry) const;
    std::string scalar(const Entry& entry) const;  // text, number or boolean, as PostgreSQL writes it

    [[noreturn]] void fail(int line, const std::string& what, const std::string& hint = {}) const;

  private:
    [[noreturn]] void wrong_type(const Entry& entry, const std::string& wanted) const;

    std::filesystem::path file_;
    toml::table root_;
};

}  // namespace pgcascade
