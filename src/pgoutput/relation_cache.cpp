#include "pgoutput/relation_cache.hpp"

#include <utility>

namespace pgcascade::pgoutput {

const Relation* RelationCache::find_slowly(std::uint32_t oid) {
    const auto found = relations_.find(oid);
    if (found == relations_.end()) return nullptr;
    recent_[oid % kRecent] = found->second.get();
    return found->second.get();
}

void RelationCache::announce(Relation relation) {
    for (Column& column : relation.columns) {
        const auto type = types_.find(column.type_oid);
        if (type == types_.end()) continue;
        column.type_schema = type->second.schema;
        column.type_name = type->second.name;
    }
    std::unique_ptr<Relation>& known = relations_[relation.oid];
    if (known) {
        relation.generation = known->generation;
        if (*known == relation) return;  // an invalidation that changed nothing we see
        recent_[relation.oid % kRecent] = nullptr;
        replaced_.push_back(std::move(known));
    }
    relation.generation = ++generations_;
    known = std::make_unique<Relation>(std::move(relation));
}

void RelationCache::announce_type(std::uint32_t oid, std::string schema, std::string name) {
    types_.insert_or_assign(oid, TypeName{std::move(schema), std::move(name)});
}

void RelationCache::forget() {
    recent_ = {};
    types_.clear();
    for (auto& [oid, relation] : relations_) replaced_.push_back(std::move(relation));
    relations_.clear();
}

}  // namespace pgcascade::pgoutput
