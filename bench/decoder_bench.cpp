#include <benchmark/benchmark.h>

#include "bench/allocation_count.hpp"
#include "bench/captured_messages.hpp"
#include "pgoutput/decoder.hpp"

// Row changes per second and core that the decoder alone makes of captured messages, and how often it
// allocates for one. rows: row changes per second, and per_row its inverse; time: for the
// whole capture once, begins and commits included.

namespace pgcascade::bench {

static void decode_all(benchmark::State& state, const CapturedMessages& captured) {
    pgoutput::Decoder decoder;
    for (const golden::Message& message : captured.announcements)
        decoder.decode(message.bytes, message.wal_start);
    const auto decode_transactions = [&] {
        for (const golden::Message& message : captured.transactions)
            benchmark::DoNotOptimize(decoder.decode(message.bytes, message.wal_start));
    };
    decode_transactions();  // the first pass makes room for the widest row

    const std::uint64_t allocations_before = allocation_count();
    for (auto _ : state) decode_transactions();
    const std::uint64_t allocations = allocation_count() - allocations_before;

    const double rows = static_cast<double>(captured.rows) * static_cast<double>(state.iterations());
    state.counters["rows"] = benchmark::Counter(rows, benchmark::Counter::kIsRate);
    state.counters["per_row"] =
        benchmark::Counter(rows, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["allocations_per_row"] = static_cast<double>(allocations) / rows;
}

// Workload W: transactions of 7 inserts and 3 updates of four columns, about 190 bytes a row.
static void decode_workload_w(benchmark::State& state) {
    decode_all(state, read_captured(PGCASCADE_BENCH_DIR "/workload_w.hex", "workload W"));
}
BENCHMARK(decode_workload_w);

// Transactions of one row of 1,600 columns.
static void decode_widest_table(benchmark::State& state) {
    decode_all(state,
               read_captured(PGCASCADE_BENCH_DIR "/../tests/golden/pgoutput_18.hex", "the widest table"));
}
BENCHMARK(decode_widest_table);

}  // namespace pgcascade::bench
