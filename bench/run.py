#!/usr/bin/env python3
"""Measures pgcascade against PostgreSQL itself, both in one run, and prints one table of medians and ratios.

The release build must be there (`make bench` sees to it). Servers are made below /tmp and removed.
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "scenario")]

import clone_bench  # noqa: E402
import crowd_bench  # noqa: E402
import latency_bench  # noqa: E402
import micro_bench  # noqa: E402
import relay_bench  # noqa: E402
import stream_bench  # noqa: E402
import wal_bench  # noqa: E402
from pg_node import PgNodes, remove_templates  # noqa: E402
from table import print_table  # noqa: E402

BENCHES = {bench.__name__: bench for module in (micro_bench, stream_bench, clone_bench, relay_bench, wal_bench, latency_bench, crowd_bench) for bench in module.BENCHES}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"only these of: {', '.join(BENCHES)}")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the work; 1: about 1.1 GB of WAL")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each command; medians are printed")
    arguments = parser.parse_args()
    unknown = set(arguments.benches) - set(BENCHES)
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")

    rows = []
    try:
        for name in arguments.benches or BENCHES:
            print(f"… {name}", file=sys.stderr, flush=True)
            with PgNodes() as nodes:
                rows += BENCHES[name](nodes, arguments.scale, arguments.repeat)
    finally:
        remove_templates()
        print_table(rows)


if __name__ == "__main__":
    main()
