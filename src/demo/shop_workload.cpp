#include "demo/shop_workload.hpp"

#include <chrono>
#include <cstdlib>
#include <initializer_list>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"

namespace pgcascade::demo {

namespace {

constexpr const char* kSchema = R"(
CREATE TABLE customers (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL,
    email    text NOT NULL,
    city     text,
    since    timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE products (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    price       numeric(10,2) NOT NULL,
    stock       integer NOT NULL,
    description text NOT NULL
);
ALTER TABLE products ALTER COLUMN description SET STORAGE EXTERNAL;
CREATE TABLE orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    status      text NOT NULL DEFAULT 'new',
    placed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    shipped_at  timestamptz
);
CREATE TABLE order_items (
    order_id   bigint NOT NULL REFERENCES orders,
    line       integer NOT NULL,
    product_id bigint NOT NULL REFERENCES products,
    quantity   integer NOT NULL,
    price      numeric(10,2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
)";

constexpr int kFirstCustomers = 200;
constexpr int kFirstProducts = 50;

}  // namespace

// Counts what the server says that each statement has done; only commit() makes it count.
class ShopWorkload::Transaction {
  public:
    explicit Transaction(ShopWorkload& shop) : shop_(shop) { shop_.connection_.query("BEGIN"); }
    ~Transaction() = default;  // an exception ends the connection, and the transaction with it
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    postgres::Result insert(const std::string& table, const std::string& sql,
                            std::initializer_list<std::string_view> parameters) {
        return count(sql, parameters, &RowCounts::inserted, table);
    }
    void update(const std::string& table, const std::string& sql,
                std::initializer_list<std::string_view> parameters) {
        count(sql, parameters, &RowCounts::updated, table);
    }
    void remove(const std::string& table, const std::string& sql,
                std::initializer_list<std::string_view> parameters) {
        count(sql, parameters, &RowCounts::deleted, table);
    }

    void savepoint() {
        shop_.connection_.query("SAVEPOINT before");
        at_savepoint_ = counts_;
    }
    void roll_back_to_savepoint() {
        shop_.connection_.query("ROLLBACK TO SAVEPOINT before");
        counts_ = at_savepoint_;
    }

    void roll_back() { shop_.connection_.query("ROLLBACK"); }

    void commit() {
        std::erase_if(counts_, [](const auto& of_table) { return of_table.second.total() == 0; });
        if (counts_.empty()) {
            shop_.connection_.query("COMMIT");
            return;
        }
        const postgres::Result id = shop_.connection_.query("SELECT pg_current_xact_id()::text::bigint");
        const auto xid = static_cast<std::uint32_t>(id.integer(0, 0));
        shop_.connection_.query("COMMIT");
        ++shop_.transactions_;
        shop_.row_changes_ += total(counts_);
        shop_.ledger_.emplace(xid, std::move(counts_));
    }

  private:
    postgres::Result count(const std::string& sql, std::initializer_list<std::string_view> parameters,
                           std::uint64_t RowCounts::*counter, const std::string& table) {
        postgres::Result result = shop_.connection_.query(sql, parameters);
        counts_[table].*counter += std::strtoull(PQcmdTuples(result.native()), nullptr, 10);
        return result;
    }

    ShopWorkload& shop_;
    TransactionCounts counts_;
    TransactionCounts at_savepoint_;
};

const std::vector<std::string>& ShopWorkload::tables() {
    static const std::vector<std::string> kNames{"customers", "products", "orders", "order_items"};
    return kNames;
}

ShopWorkload::ShopWorkload(const postgres::Conninfo& primary, std::uint32_t seed)
    : connection_(primary.with("application_name", "shop"), {.name = "primary"}), random_(seed) {}

void ShopWorkload::create_schema(const std::string& publication) {
    connection_.command(kSchema);
    std::string list;
    for (const std::string& table : tables()) list += (list.empty() ? "" : ", ") + table;
    connection_.command(fmt::format("CREATE PUBLICATION {} FOR TABLE {}", publication, list));
}

int ShopWorkload::random(int least, int most) {
    return std::uniform_int_distribution<int>{least, most}(random_);
}

// Ids are given from 1 on; those of inserts that were rolled back are not missed, as nobody rolls those back.
std::int64_t ShopWorkload::random_known(std::int64_t count) {
    return std::uniform_int_distribution<std::int64_t>{1, count}(random_);
}

void ShopWorkload::fill() {
    Transaction transaction{*this};
    transaction.insert(
        "customers",
        "INSERT INTO customers (name, email, city) SELECT 'Customer ' || n, 'c' || n || '@example.com', "
        "(ARRAY['Berlin', 'Lyon', NULL, 'Oslo'])[1 + n % 4] FROM generate_series(1, $1::int) n",
        {std::to_string(kFirstCustomers)});
    transaction.insert(
        "products",
        "INSERT INTO products (name, price, stock, description) SELECT 'Product ' || n, n * 1.25, 100000, "
        "repeat('All about product ' || n || '. ', 150) FROM generate_series(1, $1::int) n",
        {std::to_string(kFirstProducts)});
    transaction.commit();
    customers_ = kFirstCustomers;
    products_ = kFirstProducts;
}

void ShopWorkload::add_customers() {
    const int count = random(1, 5);
    Transaction transaction{*this};
    transaction.insert(
        "customers",
        "INSERT INTO customers (name, email, city) SELECT 'Customer ' || n, 'c' || n || '@example.com', "
        "'Zürich' FROM generate_series($1::bigint + 1, $1::bigint + $2::int) n",
        {std::to_string(customers_), std::to_string(count)});
    transaction.commit();
    customers_ += count;
}

std::int64_t ShopWorkload::insert_order(Transaction& transaction) {
    return transaction
        .insert("orders", "INSERT INTO orders (customer_id) VALUES ($1) RETURNING id",
                {std::to_string(random_known(customers_))})
        .integer(0, 0);
}

void ShopWorkload::insert_items(Transaction& transaction, std::int64_t order, int first_line) {
    const std::string product = std::to_string(random_known(products_ - 5));
    const std::string lines = std::to_string(random(1, 5));
    transaction.insert(
        "order_items",
        "INSERT INTO order_items (order_id, line, product_id, quantity, price) "
        "SELECT $1::bigint, $2::int + n, p.id, 1 + n, p.price FROM generate_series(0, $3::int - 1) n "
        "JOIN products p ON p.id = $4::bigint + n",
        {std::to_string(order), std::to_string(first_line), lines, product});
    transaction.update(
        "products",
        "UPDATE products SET stock = stock - 1 WHERE id >= $1::bigint AND id < $1::bigint + $2::int",
        {product, lines});
}

void ShopWorkload::place_order() {
    Transaction transaction{*this};
    const std::int64_t order = insert_order(transaction);
    insert_items(transaction, order, 1);
    transaction.commit();
    orders_.push_back(order);
}

void ShopWorkload::place_and_roll_back() {
    Transaction transaction{*this};
    insert_items(transaction, insert_order(transaction), 1);
    transaction.roll_back();
}

void ShopWorkload::place_with_second_thoughts() {
    Transaction transaction{*this};
    const std::int64_t order = insert_order(transaction);
    insert_items(transaction, order, 1);
    transaction.savepoint();
    insert_items(transaction, order, 100);
    transaction.roll_back_to_savepoint();
    transaction.commit();
    orders_.push_back(order);
}

void ShopWorkload::progress_orders() {
    Transaction transaction{*this};
    transaction.update("orders",
                       "UPDATE orders SET status = 'shipped', shipped_at = clock_timestamp() WHERE id IN "
                       "(SELECT id FROM orders WHERE status = 'new' ORDER BY id LIMIT $1::int)",
                       {std::to_string(random(1, 8))});
    transaction.commit();
}

void ShopWorkload::cancel_order() {
    if (orders_.empty()) return;
    const auto position =
        static_cast<std::size_t>(random_known(static_cast<std::int64_t>(orders_.size())) - 1);
    const std::string order = std::to_string(orders_[position]);
    Transaction transaction{*this};
    transaction.remove("order_items", "DELETE FROM order_items WHERE order_id = $1", {order});
    transaction.remove("orders", "DELETE FROM orders WHERE id = $1", {order});
    transaction.commit();
    orders_.erase(orders_.begin() + static_cast<std::ptrdiff_t>(position));
}

void ShopWorkload::change_prices() {
    Transaction transaction{*this};
    transaction.update("products",
                       "UPDATE products SET price = round(price * 1.01, 2) WHERE id % 10 = $1::int",
                       {std::to_string(random(0, 9))});
    transaction.commit();
}

void ShopWorkload::rewrite_description() {
    Transaction transaction{*this};
    transaction.update("products", "UPDATE products SET description = reverse(description) WHERE id = $1",
                       {std::to_string(random_known(products_))});
    transaction.commit();
}

void ShopWorkload::do_something() {
    const int dice = random(1, 100);
    if (dice <= 55) return place_order();
    if (dice <= 60) return place_and_roll_back();
    if (dice <= 65) return place_with_second_thoughts();
    if (dice <= 78) return progress_orders();
    if (dice <= 88) return cancel_order();
    if (dice <= 94) return add_customers();
    if (dice <= 97) return change_prices();
    return rewrite_description();
}

void ShopWorkload::run(int stop_fd, int transactions_per_second) {
    using std::chrono::milliseconds;
    const auto interval = std::chrono::microseconds{1'000'000 / transactions_per_second};
    try {
        fill();
        for (SteadyTime next = steady_now();; next += interval) {
            // Late: go on at once; early: wait, which also is where it ends.
            const auto early = std::chrono::ceil<milliseconds>(next - steady_now()).count();
            wait_for(-1, 0, early > 0 ? static_cast<int>(early) : 0, stop_fd);
            do_something();
        }
    } catch (const Stopped&) {
        return;
    }
}

}  // namespace pgcascade::demo
