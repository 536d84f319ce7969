"""`pgcascade stream` against pg_recvlogical, wal2json and psycopg2, on the same servers and the same WAL."""

import contextlib
import pathlib
import sys

import measure
import workload_w
from program_run import binary
from server_programs import client_program
from table import Row

HERE = pathlib.Path(__file__).resolve().parent
BIG_TRANSACTION_ROWS = 5_000_000


@contextlib.contextmanager
def copied_slot(node, source, plugin="pgoutput"):
    """Every run starts at the same place: a copy of a slot that was made before the workload."""
    node.execute("select pg_copy_logical_replication_slot(%s, 'run', false, %s)", source, plugin)
    try:
        yield "run"
    finally:
        node.wait_until("select not active from pg_replication_slots where slot_name = 'run'")
        node.execute("select pg_drop_replication_slot('run')")


def recvlogical(node, source, until, plugin="pgoutput", **options):
    options = options or {"proto_version": "1", "publication_names": "pub"}
    with copied_slot(node, source, plugin) as slot:
        command = [client_program("pg_recvlogical"), "-d", node.conninfo(), "--slot", slot, "--start", "-f", "/dev/null"]
        command += ["--endpos", until, "--no-loop"]
        for name, value in options.items():
            command += ["-o", f"{name.replace('_', '-') if plugin != 'pgoutput' else name}={value}"]
        return measure.run(command)


def stream(node, source, until, output_format="json"):
    with copied_slot(node, source) as slot:
        return measure.run(
            [binary(), "stream", node.conninfo(), "--slot", slot, "--publication", "pub", "--format", output_format]
            + ["--until", until]
        )


def by_psycopg2(node, source, until):
    with copied_slot(node, source) as slot:
        return measure.run([sys.executable, HERE / "psycopg2_consumer.py", node.conninfo(), slot, "pub", until])


def prepared(nodes, version, transactions):
    node = nodes.primary(f"w{version}", version=version, settings=workload_w.SERVER_SETTINGS)
    node.psql(workload_w.SCHEMA)
    node.execute("select pg_create_logical_replication_slot('base', 'pgoutput')")
    if version == 15:
        node.allow_output_plugin("wal2json")
        node.execute("select pg_create_logical_replication_slot('base_wal2json', 'wal2json')")
    until, wal_bytes = workload_w.write(node, transactions)
    return node, until, wal_bytes


def seconds(runs):
    return f"{measure.median_wall(runs):.2f} s ({measure.median_cpu(runs):.2f} s CPU)"


def per_second(seconds, transactions):
    return f"{transactions * workload_w.ROWS_PER_TRANSACTION / seconds:,.0f} rows/s"


def small_transactions(nodes, scale, repeat):
    transactions = int(workload_w.TRANSACTIONS * scale)
    node, until, wal_bytes = prepared(nodes, 18, transactions)
    theirs, ours = measure.in_turn(repeat, lambda: recvlogical(node, "base", until), lambda: stream(node, "base", until))
    node.stop()
    yield Row(
        f"stream --format json, {wal_bytes / 1e9:.2f} GB of WAL, against pg_recvlogical (raw pgoutput), 18",
        seconds(theirs), seconds(ours), measure.median_ratio(theirs, ours), "at least 0.95",
    )


def against_wal2json(nodes, scale, repeat):
    transactions = int(workload_w.TRANSACTIONS * scale / 4)
    node, until, _ = prepared(nodes, 15, transactions)
    theirs, json, wal2json = measure.in_turn(
        repeat,
        lambda: recvlogical(node, "base_wal2json", until, "wal2json", format_version="2"),
        lambda: stream(node, "base", until),
        lambda: stream(node, "base", until, "wal2json"),
    )
    node.stop()
    for name, ours in (("json", json), ("wal2json", wal2json)):
        yield Row(
            f"stream --format {name} against pg_recvlogical with the wal2json plugin, 15",
            seconds(theirs), seconds(ours), measure.median_ratio(theirs, ours), "at least 1.5",
        )


def against_psycopg2(nodes, scale, repeat):
    transactions = int(workload_w.TRANSACTIONS * scale / 10)
    node, until, _ = prepared(nodes, 18, transactions)
    theirs, ours = measure.in_turn(repeat, lambda: by_psycopg2(node, "base", until), lambda: stream(node, "base", until))
    node.stop()
    work = "stream --format json against a psycopg2 loop that decodes and prints JSON, 18"
    yield Row(
        work, per_second(measure.median_wall(theirs), transactions), per_second(measure.median_wall(ours), transactions),
        measure.median_ratio(theirs, ours), "at least 5",
    )
    cpu = [measure.median_cpu(runs) for runs in (theirs, ours)]
    yield Row(f"{work}: rows per second of its CPU", *(per_second(s, transactions) for s in cpu), cpu[0] / cpu[1], "at least 5")


def big_transaction(nodes, scale, _repeat):
    rows = int(BIG_TRANSACTION_ROWS * scale)
    node, _, _ = prepared(nodes, 18, 1)
    node.psql(
        f"insert into m(id, k, v) select g, g % 1000, md5(g::text) from generate_series(1000000, {999999 + rows}) g;"
    )
    until = node.value("select pg_current_wal_insert_lsn()::text")
    node.execute("select pg_switch_wal()")
    theirs = recvlogical(node, "base", until)
    ours = stream(node, "base", until)
    node.stop()
    yield Row(
        f"peak memory of stream, one transaction of {rows:,} rows, 18",
        f"{theirs.peak_mb:.0f} MB", f"{ours.peak_mb:.0f} MB", None, "below 64 MB",
    )


BENCHES = (small_transactions, against_wal2json, against_psycopg2, big_transaction)
