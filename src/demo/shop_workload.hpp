#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "demo/ledger.hpp"
#include "postgres/connection.hpp"

namespace pgcascade::demo {

// A small shop: customers, products, orders and their items. Its transactions insert, update and delete, one
// row and many; some are rolled back, whole or to a savepoint; products have a description that is TOASTed
// and rarely changes. What was committed is in the ledger. Not thread-safe, but for the two counters.
class ShopWorkload {
  public:
    static const std::vector<std::string>& tables();

    // Connects. Throws what Connection does.
    ShopWorkload(const postgres::Conninfo& primary, std::uint32_t seed);

    // The tables, and the publication of them.
    void create_schema(const std::string& publication);

    // Fills the empty tables, then does about `transactions_per_second` until stop_fd gets readable; the
    // transaction that is open then is finished.
    void run(int stop_fd, int transactions_per_second);

    const Ledger& ledger() const { return ledger_; }
    std::uint64_t transactions() const { return transactions_; }  // committed
    std::uint64_t row_changes() const { return row_changes_; }    // committed

  private:
    class Transaction;

    void fill();
    void do_something();
    void add_customers();
    void place_order();
    void place_and_roll_back();
    void place_with_second_thoughts();
    void progress_orders();
    void cancel_order();
    void change_prices();
    void rewrite_description();

    std::int64_t insert_order(Transaction& transaction);
    void insert_items(Transaction& transaction, std::int64_t order, int first_line);
    int random(int least, int most);
    std::int64_t random_known(std::int64_t count);

    postgres::Connection connection_;
    std::mt19937 random_;
    std::int64_t customers_ = 0;
    std::int64_t products_ = 0;
    std::vector<std::int64_t> orders_;
    Ledger ledger_;
    std::atomic<std::uint64_t> transactions_ = 0;
    std::atomic<std::uint64_t> row_changes_ = 0;
};

}  // namespace pgcascade::demo
