#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <pgcascade/change.hpp>

namespace pgcascade::pgoutput {

// What the session announced: relations (R) and types that are not built in (Y). Owned by one Decoder.
//
// A relation that is announced again with other columns becomes a new object, because the change that the
// consumer holds may still point to the old one; the old one lives on until release_replaced().
class RelationCache {
  public:
    // Null where the session did not announce it.
    const Relation* find(std::uint32_t oid) {
        const Relation* recent = recent_[oid % kRecent];
        if (recent != nullptr && recent->oid == oid) [[likely]]
            return recent;
        return find_slowly(oid);
    }

    // The type names of the columns are filled in from the types announced so far.
    void announce(Relation relation);
    void announce_type(std::uint32_t oid, std::string schema, std::string name);

    // Nothing points to replaced relations any more.
    void release_replaced() {
        if (!replaced_.empty()) [[unlikely]]
            replaced_.clear();
    }

    // A new session announces everything anew.
    void forget();

  private:
    struct TypeName {
        std::string schema;
        std::string name;
    };

    const Relation* find_slowly(std::uint32_t oid);

    // Transactions touch few tables, in turns: this spares them the hash map.
    static constexpr std::size_t kRecent = 64;

    std::array<const Relation*, kRecent> recent_{};
    std::unordered_map<std::uint32_t, std::unique_ptr<Relation>> relations_;
    std::unordered_map<std::uint32_t, TypeName> types_;
    std::vector<std::unique_ptr<Relation>> replaced_;
    std::uint64_t generations_ = 0;  // given out so far, in all sessions
};

}  // namespace pgcascade::pgoutput
