#include <array>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#ifdef __SSE2__
#define RAPIDJSON_SSE2  // its own fast path for strings
#endif
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <pgcascade/format.hpp>

#include "bench/allocation_count.hpp"
#include "bench/captured_messages.hpp"
#include "pgoutput/decoder.hpp"

// Row changes per second and core that each format makes bytes of, and how often it allocates for one. rows
// and per_row as in decoder_bench.

namespace pgcascade::bench {

namespace {

// Workload W's row: bigint, int, timestamptz and 128 characters of text.
class SampleInsert {
  public:
    SampleInsert() {
        relation_.oid = 16384;
        relation_.schema = "public";
        relation_.table = "m";
        relation_.generation = 1;
        constexpr std::array<std::pair<const char*, std::uint32_t>, 4> kColumns{
            {{"id", 20}, {"k", 23}, {"ts", 1184}, {"v", 25}}};
        for (const auto& [name, oid] : kColumns) {
            Column& column = relation_.columns.emplace_back();
            column.name = name;
            column.type_oid = oid;
        }
        for (const std::string& text : texts_) values_.emplace_back(Value::State::kText, text);
        change_.operation = Operation::kInsert;
        change_.relation = &relation_;
        change_.new_row = Row{relation_, values_};
        change_.lsn = change_.commit_lsn = Lsn{0x16B374D848};
        change_.xid = 747;
        change_.committed_at = Timestamp{std::chrono::microseconds{1'714'566'896'123'456}};
    }

    // As the rows of a transaction follow each other.
    const Change& next() {
        ++change_.ordinal;
        change_.lsn.value += 240;
        return change_;
    }

  private:
    const std::array<std::string, 4> texts_{"1234567", "567", "2024-05-01 12:34:56.123456+00", [] {
                                                std::string text;
                                                while (text.size() < 128)
                                                    text += "c4ca4238a0b923820dcc509a6f75849b";
                                                return text;
                                            }()};
    Relation relation_;
    std::vector<Value> values_;
    Change change_;
};

constexpr std::size_t kFlushBytes = 64 * 1024;  // about what a consumer gathers before it writes

void count_rows(benchmark::State& state, std::size_t rows_per_iteration, std::uint64_t allocations) {
    const double rows = static_cast<double>(rows_per_iteration) * static_cast<double>(state.iterations());
    state.counters["rows"] = benchmark::Counter(rows, benchmark::Counter::kIsRate);
    state.counters["per_row"] =
        benchmark::Counter(rows, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["allocations_per_row"] = static_cast<double>(allocations) / rows;
}

// The format alone.
void format_row(benchmark::State& state, Format format) {
    SampleInsert insert;
    const auto formatter = make_formatter({.format = format});
    std::string out;
    const auto write = [&] {
        formatter->write(insert.next(), out);
        if (out.size() < kFlushBytes) return;
        benchmark::DoNotOptimize(out.data());
        out.clear();
    };
    for (int i = 0; i < 1000; ++i) write();  // prepares the relation and grows the string

    const std::uint64_t allocations_before = allocation_count();
    for (auto _ : state) write();
    count_rows(state, 1, allocation_count() - allocations_before);
}
BENCHMARK_CAPTURE(format_row, json, Format::kJson);
BENCHMARK_CAPTURE(format_row, wal2json, Format::kWal2Json);
BENCHMARK_CAPTURE(format_row, debezium, Format::kDebezium);

// Decoder and format: captured transactions of 7 inserts and 3 updates.
void decode_and_format(benchmark::State& state, Format format) {
    const CapturedMessages captured = read_captured(PGCASCADE_BENCH_DIR "/workload_w.hex", "workload W");
    pgoutput::Decoder decoder;
    for (const golden::Message& message : captured.announcements)
        decoder.decode(message.bytes, message.wal_start);
    const auto formatter = make_formatter({.format = format});
    std::string out;
    const auto write_transactions = [&] {
        for (const golden::Message& message : captured.transactions)
            formatter->write(*decoder.decode(message.bytes, message.wal_start), out);
        benchmark::DoNotOptimize(out.data());
        out.clear();
    };
    write_transactions();

    const std::uint64_t allocations_before = allocation_count();
    for (auto _ : state) write_transactions();
    count_rows(state, captured.rows, allocation_count() - allocations_before);
}
BENCHMARK_CAPTURE(decode_and_format, json, Format::kJson);
BENCHMARK_CAPTURE(decode_and_format, wal2json, Format::kWal2Json);
BENCHMARK_CAPTURE(decode_and_format, debezium, Format::kDebezium);

// What json would cost with RapidJSON's Writer in place of JsonWriter.
void format_row_with_rapidjson(benchmark::State& state) {
    SampleInsert insert;
    rapidjson::StringBuffer buffer;
    rapidjson::Writer<rapidjson::StringBuffer> writer;
    const auto string = [&](std::string_view text) {
        writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
    };
    const auto number = [&](std::string_view text) {
        writer.RawValue(text.data(), text.size(), rapidjson::kNumberType);
    };
    const std::uint64_t allocations_before = allocation_count();
    for (auto _ : state) {
        const Change& change = insert.next();
        writer.Reset(buffer);
        writer.StartObject();
        writer.Key("op"), string("insert");
        writer.Key("schema"), string(change.relation->schema);
        writer.Key("table"), string(change.relation->table);
        writer.Key("new");
        writer.StartObject();
        for (std::size_t at = 0; at < change.new_row.size(); ++at) {
            const Column& column = change.relation->columns[at];
            const std::string_view text = change.new_row.values()[at].bytes();
            writer.Key(column.name.data(), static_cast<rapidjson::SizeType>(column.name.size()));
            if (column.type_oid == 20 || column.type_oid == 23)
                number(text);
            else
                string(text);
        }
        writer.EndObject();
        writer.Key("lsn"), string("16/B374D848");
        writer.Key("commit_lsn"), string("16/B374D848");
        writer.Key("xid"), writer.Uint(change.xid);
        writer.Key("ordinal"), writer.Uint64(change.ordinal);
        writer.Key("committed_at"), string("2024-05-01T12:34:56.123456Z");
        writer.EndObject();
        buffer.Put('\n');
        if (buffer.GetSize() >= kFlushBytes) {
            benchmark::DoNotOptimize(buffer.GetString());
            buffer.Clear();
        }
    }
    count_rows(state, 1, allocation_count() - allocations_before);
}
BENCHMARK(format_row_with_rapidjson);

}  // namespace

}  // namespace pgcascade::bench
