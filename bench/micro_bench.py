"""The decoder and the formats alone, on captured messages (Google Benchmark)."""

import json
import subprocess

from program_run import binary
from table import Row

PROGRAMS = ("decoder_bench", "format_bench")


def captured_messages(_nodes, _scale, repeat):
    for program in PROGRAMS:
        done = subprocess.run(
            [binary().parent / "bench" / program, "--benchmark_format=json", f"--benchmark_repetitions={repeat}"],
            capture_output=True, text=True, check=True,
        )
        for result in json.loads(done.stdout)["benchmarks"]:
            if result.get("aggregate_name") != "median":
                continue
            yield Row(
                f"{result['run_name']}, one core", "",
                f"{result['rows'] / 1e6:.1f} M rows/s, {result['allocations_per_row']:.2g} allocations a row", None, "",
            )


BENCHES = (captured_messages,)
