#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include <pgcascade/change.hpp>

namespace pgcascade {

// What a formatter makes once per relation (escaped names, kinds of values) and finds again for each row,
// until the server announces the relation anew. Bounded: tables may come and go for as long as a stream runs.
template <class Prepared>
class PreparedRelations {
  public:
    // `make` is called with the relation and returns a Prepared. The result is valid until the next call.
    template <class Make>
    const Prepared& find(const Relation& relation, const Make& make) {
        const bool known = relation.generation != 0;
        if (known && relation.generation == last_generation_ && relation.oid == last_oid_) return *last_;

        if (entries_.size() >= kMostEntries && !entries_.contains(relation.oid)) entries_.clear();
        Entry& entry = entries_[relation.oid];
        if (!known || entry.generation != relation.generation) {
            entry.prepared = make(relation);
            entry.generation = relation.generation;
        }
        last_generation_ = relation.generation;
        last_oid_ = relation.oid;
        last_ = &entry.prepared;  // an unordered_map never moves its elements
        return entry.prepared;
    }

  private:
    // More tables than a transaction touches; where there are more, making all anew costs little each time.
    static constexpr std::size_t kMostEntries = 4096;

    struct Entry {
        std::uint64_t generation = 0;
        Prepared prepared;
    };

    std::unordered_map<std::uint32_t, Entry> entries_;
    std::uint64_t last_generation_ = 0;
    std::uint32_t last_oid_ = 0;
    const Prepared* last_ = nullptr;
};

}  // namespace pgcascade
