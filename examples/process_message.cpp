// Connects to a replica, makes a logical slot with pgoutput there, starts replication, and calls
// process_message() for each change:  process_message "host=replica dbname=shop" SLOT PUBLICATION

#include <cstdint>
#include <iostream>

#include <pgcascade/stream.hpp>

static void process_message(const pgcascade::Change& change) {
    std::cout << to_string(change.operation);
    if (change.is_row_change()) {
        const pgcascade::Row& row = change.new_row.empty() ? change.old_row : change.new_row;
        std::cout << ' ' << change.relation->table << " id=" << row["id"].as<std::int64_t>();
    }
    std::cout << std::endl;
}

int main(int argc, char** argv) try {
    if (argc != 4) {
        std::cerr << "usage: process_message CONNINFO SLOT PUBLICATION\n";
        return 2;
    }
    pgcascade::ChangeStream stream{
        {.conninfo = argv[1], .slot = argv[2], .publications = {argv[3]}, .create_slot = true}};
    for (const pgcascade::Change& change : stream) process_message(change);
} catch (const pgcascade::Error& error) {
    std::cerr << error.what() << '\n' << error.hint() << '\n';
    return 1;
}
