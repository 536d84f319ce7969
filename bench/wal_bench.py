"""N x pg_receivewal behind one relay against N of the server itself, and how fast a relay takes WAL in."""

import contextlib
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import measure
import workload_w
from program_run import environment
from relay_bench import BenchRelay, walsenders_cpu_s
from relay_wal import create_physical_slot, lsn, physically, wal_of
from server_programs import client_program
from table import Row
from waiting import wait_for

CLIENTS = (1, 8)
MEMORY = "/dev/shm"  # what the clients write must not wait for a disk


class Served:
    def __init__(self, wall_s, cpu_s, gigabytes):
        self.wall_s = wall_s
        self.cpu_s_per_gb = cpu_s / gigabytes

    def __str__(self):
        return f"{self.cpu_s_per_gb:.2f} s CPU per GB sent ({self.wall_s:.1f} s)"


def receive(conninfo, slots, until, how="--no-sync", place=MEMORY):
    """All at once, each into a directory of its own; returns the wall time until the last has all."""
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(tempfile.TemporaryDirectory(prefix="pgc-wal-", dir=place)) for _ in slots]
        started = time.monotonic()
        clients = [
            subprocess.Popen(
                [client_program("pg_receivewal"), "-d", conninfo, "-D", place, "-S", slot, "--endpos", until, "--no-loop", how],
                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
            )
            for place, slot in zip(places, slots)
        ]
        for client in clients:
            if client.wait(timeout=900) != 0:
                raise RuntimeError(f"pg_receivewal ended with {client.returncode}")
        return time.monotonic() - started


def direct(node, until, clients, gigabytes):
    slots = [f"direct_{number}" for number in range(clients)]
    for slot in slots:
        node.execute("select pg_copy_physical_replication_slot('base', %s)", slot)
    before = walsenders_cpu_s(node)
    wall_s = receive(node.conninfo(dbname=None), slots, until)
    for slot in slots:
        node.wait_until(f"select not active from pg_replication_slots where slot_name = '{slot}'")
    spent = walsenders_cpu_s(node) - before
    for slot in slots:
        node.execute("select pg_drop_replication_slot(%s)", slot)
    return Served(wall_s, spent, gigabytes * clients)


def through_relay(relay, until, clients, gigabytes):
    slots = [f"behind_{number}" for number in range(clients)]
    for slot in slots:
        create_physical_slot(relay, slot)
    before = relay.cpu_s()
    wall_s = receive(relay.conninfo(dbname=None), slots, until)
    spent = relay.cpu_s() - before
    for slot in slots:
        physically(relay, f"DROP_REPLICATION_SLOT {slot} WAIT")
    return Served(wall_s, spent, gigabytes * clients)


def has_all(relay, until):
    return lsn(wal_of(relay)["durable"]) >= lsn(until)


# pg_receivewal is Debian's, of 15, and refuses newer servers.
@contextlib.contextmanager
def server_with_wal(nodes, scale, place):
    """Yields the server, a relay that has been there from the begin of the workload, the workload's end and its GB."""
    settings = {**workload_w.SERVER_SETTINGS, "max_wal_senders": "40", "max_replication_slots": "40"}
    node = nodes.primary("wal", version=15, settings=settings)
    node.psql(workload_w.SCHEMA)
    for slot in ("base", "run"):
        node.create_physical_slot(slot)
    upstream = json.dumps(node.conninfo(dbname=None))
    relay = BenchRelay(place, f'[wal]\nupstream = {upstream}\nslot = "run"\nkeep = "64 GB"\n')
    try:
        relay.start()
        until, wal_bytes = workload_w.write(node, int(workload_w.TRANSACTIONS * scale))
        wait_for(lambda: has_all(relay, until), 120, "the relay to have all")
        yield node, relay, until, wal_bytes / 1e9
    finally:
        relay.close()
        node.stop()


def wal_fan_out(nodes, scale, repeat):
    with tempfile.TemporaryDirectory(prefix="pgc-wal-", dir="/tmp") as directory:
        with server_with_wal(nodes, scale, pathlib.Path(directory)) as (node, relay, until, gigabytes):
            for clients in CLIENTS:
                theirs = median(direct(node, until, clients, gigabytes) for _ in range(repeat))
                ours = median(through_relay(relay, until, clients, gigabytes) for _ in range(repeat))
                yield Row(
                    f"{clients} x pg_receivewal, {gigabytes:.2f} GB of WAL: the senders' CPU, server and relay, 15",
                    str(theirs), str(ours), theirs.cpu_s_per_gb / ours.cpu_s_per_gb, {8: "at least 2"}.get(clients, ""),
                )


def wal_ingest(nodes, scale, repeat):
    with tempfile.TemporaryDirectory(prefix="pgc-wal-", dir="/tmp") as directory:
        with server_with_wal(nodes, scale, pathlib.Path(directory)) as (node, relay, until, gigabytes):
            relay.stop()
            theirs, ours = measure.in_turn(repeat, lambda: archive(node, until), lambda: take_in(node, until))
            theirs_s, ours_s = statistics.median(theirs), statistics.median(ours)
            yield Row(
                f"{gigabytes:.2f} GB of WAL received and on disk: pg_receivewal --synchronous, relay, 15",
                f"{theirs_s:.1f} s", f"{ours_s:.1f} s", theirs_s / ours_s, "at least 1",
            )


def archive(node, until):
    node.execute("select pg_copy_physical_replication_slot('base', 'ingested')")
    wall_s = receive(node.conninfo(dbname=None), ["ingested"], until, "--synchronous", "/tmp")
    node.wait_until("select not active from pg_replication_slots where slot_name = 'ingested'")
    node.execute("select pg_drop_replication_slot('ingested')")
    return wall_s


def take_in(node, until):
    node.execute("select pg_copy_physical_replication_slot('base', 'ingested')")
    upstream = json.dumps(node.conninfo(dbname=None))
    with tempfile.TemporaryDirectory(prefix="pgc-wal-", dir="/tmp") as directory:
        relay = BenchRelay(pathlib.Path(directory), f'[wal]\nupstream = {upstream}\nslot = "ingested"\nkeep = "64 GB"\n')
        started = time.monotonic()
        try:
            relay.start()
            wait_for(lambda: has_all(relay, until), 300, "the relay to have all")
            wall_s = time.monotonic() - started
            relay.stop()
        finally:
            relay.close()
    node.wait_until("select not active from pg_replication_slots where slot_name = 'ingested'")
    node.execute("select pg_drop_replication_slot('ingested')")
    return wall_s


def median(runs):
    ordered = sorted(runs, key=lambda run: run.cpu_s_per_gb)
    return ordered[len(ordered) // 2]


BENCHES = (wal_fan_out, wal_ingest)
