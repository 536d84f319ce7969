"""N logical consumers behind one relay against N of the primary itself: what it costs the servers, and how long it takes."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg2

import workload_w
from pg_node import free_port
from program_run import binary, environment
from server_programs import client_program
from table import Row
from waiting import wait_for

CONSUMERS = (1, 4, 16, 64)
# Beyond these, the primary itself takes minutes a run: one has to do.
MOST_REPEATED = 16


class BenchRelay:
    """A relay whose directory can be put back to where it was before the workload."""

    def __init__(self, place, tables, settings=""):
        self.place = place
        self.port = free_port()
        self.file = place / "relay.toml"
        self.process = None
        self.file.write_text(
            f'[relay]\nlisten = ["127.0.0.1:{self.port}"]\ndirectory = "data"\ntrust = ["127.0.0.1"]\n{settings}'
            + tables
        )

    def start(self):
        with open(self.place / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                [binary(), "relay", self.file], stdin=subprocess.DEVNULL, stderr=stderr, env=environment()
            )
        wait_for(lambda: "receiving from" in (self.place / "stderr").read_text(), 30, lambda: "the relay to receive")

    def conninfo(self, dbname="postgres"):
        return f"host=127.0.0.1 port={self.port} user=postgres" + (f" dbname={dbname}" if dbname else "")

    def connect(self, dbname="postgres", connection_factory=None):
        return psycopg2.connect(self.conninfo(dbname), connection_factory=connection_factory)

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def walsenders_cpu_s(node):
    """Of those that have ended: the postmaster has reaped them. And of those that run."""
    ended = pathlib.Path(f"/proc/{node.pid()}/stat").read_text().rpartition(")")[2].split()
    ticks = int(ended[13]) + int(ended[14])
    for (pid,) in node.sql("select pid from pg_stat_replication"):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def consume(conninfo, slots, until):
    """All at once; returns the wall time until the last has all."""
    started = time.monotonic()
    clients = [
        subprocess.Popen(
            [client_program("pg_recvlogical"), "-d", conninfo, "--slot", slot, "--start", "-f", "/dev/null", "--no-loop"]
            + ["--endpos", until, "-o", "proto_version=1", "-o", "publication_names=pub"],
            stdin=subprocess.DEVNULL, env=environment(),
        )
        for slot in slots
    ]
    for client in clients:
        if client.wait(timeout=900) != 0:
            raise RuntimeError(f"pg_recvlogical ended with {client.returncode}")
    return time.monotonic() - started


class FanOut:
    def __init__(self, wall_s, primary_cpu_s, relay_cpu_s=0.0):
        self.wall_s = wall_s
        self.primary_cpu_s = primary_cpu_s
        self.relay_cpu_s = relay_cpu_s
        self.cpu_s = primary_cpu_s + relay_cpu_s

    def __str__(self):
        relay = f", {self.relay_cpu_s:.2f} of them the relay's" if self.relay_cpu_s else ""
        return f"{self.wall_s:.1f} s ({self.cpu_s:.1f} s CPU of the servers{relay})"


def direct(node, until, consumers):
    slots = [f"direct_{number}" for number in range(consumers)]
    for slot in slots:
        node.execute("select pg_copy_logical_replication_slot('base', %s)", slot)
    before = walsenders_cpu_s(node)
    wall_s = consume(node.conninfo(), slots, until)
    for slot in slots:
        node.wait_until(f"select not active from pg_replication_slots where slot_name = '{slot}'")
    spent = walsenders_cpu_s(node) - before
    for slot in slots:
        node.execute("select pg_drop_replication_slot(%s)", slot)
    return FanOut(wall_s, spent)


def through_relay(node, relay, snapshot, until, consumers):
    shutil.rmtree(relay.place / "data")
    shutil.copytree(snapshot, relay.place / "data")
    node.execute("select pg_drop_replication_slot('run')")
    node.execute("select pg_copy_logical_replication_slot('base', 'run')")
    before = walsenders_cpu_s(node)
    relay.start()
    wall_s = consume(relay.conninfo(), [f"consumer_{number}" for number in range(consumers)], until)
    relay_cpu_s = relay.cpu_s()
    relay.stop()
    node.wait_until("select not active from pg_replication_slots where slot_name = 'run'")
    return FanOut(wall_s, walsenders_cpu_s(node) - before, relay_cpu_s)


def fan_out(nodes, scale, repeat):
    settings = {**workload_w.SERVER_SETTINGS, "max_wal_senders": "80", "max_replication_slots": "80", "max_connections": "120"}
    node = nodes.primary("fan", version=18, settings=settings)
    node.psql(workload_w.SCHEMA)
    node.execute("select pg_create_logical_replication_slot('base', 'pgoutput')")
    node.execute("select pg_copy_logical_replication_slot('base', 'run')")
    with tempfile.TemporaryDirectory(prefix="pgc-fan-", dir="/tmp") as directory:
        place = pathlib.Path(directory)
        upstream = json.dumps(node.conninfo())
        relay = BenchRelay(place, f'[feed.w]\nupstream = {upstream}\nslot = "run"\npublications = ["pub"]\n')
        try:
            relay.start()
            for number in range(max(CONSUMERS)):
                subprocess.run(
                    [client_program("pg_recvlogical"), "-d", relay.conninfo(), "--slot", f"consumer_{number}", "--create-slot"]
                    + ["-P", "pgoutput"], check=True, env=environment(),
                )
            relay.stop()
            snapshot = place / "snapshot"
            shutil.copytree(place / "data", snapshot)
            until, wal_bytes = workload_w.write(node, int(workload_w.TRANSACTIONS * scale))
            yield from measured(node, relay, snapshot, until, wal_bytes, repeat)
        finally:
            relay.close()
            node.stop()


def measured(node, relay, snapshot, until, wal_bytes, repeat):
    theirs, ours = {}, {}
    what = f"{wal_bytes / 1e9:.2f} GB of WAL, 18"
    for consumers in CONSUMERS:
        repeats = repeat if consumers <= MOST_REPEATED else 1
        theirs[consumers] = median(direct(node, until, consumers) for _ in range(repeats))
        ours[consumers] = median(through_relay(node, relay, snapshot, until, consumers) for _ in range(repeats))
        yield Row(
            f"{consumers} x pg_recvlogical, {what}: servers' CPU, directly and behind a relay",
            str(theirs[consumers]), str(ours[consumers]), theirs[consumers].cpu_s / ours[consumers].cpu_s,
            {16: "at least 4", 64: "at least 12"}.get(consumers, ""),
        )
    yield Row(
        f"16 x pg_recvlogical, {what}: time until the last has all",
        f"{theirs[16].wall_s:.1f} s", f"{ours[16].wall_s:.1f} s", theirs[16].wall_s / ours[16].wall_s, "at least 3",
    )
    few, many = min(CONSUMERS), max(CONSUMERS)
    further = lambda runs, cpu_s: (cpu_s(runs[many]) - cpu_s(runs[few])) / (many - few)
    walsender, session = further(theirs, lambda run: run.primary_cpu_s), further(ours, lambda run: run.relay_cpu_s)
    yield Row(
        f"each further pg_recvlogical, {what}: CPU of its walsender, and of the relay",
        f"{walsender:.2f} s", f"{session:.3f} s", walsender / session, "relay: at most 0.25 s at full size",
    )
    yield Row(
        f"behind a relay, {what}: the primary's CPU for {few} and for {many} consumers",
        f"{ours[few].primary_cpu_s:.1f} s", f"{ours[many].primary_cpu_s:.1f} s",
        ours[few].primary_cpu_s / ours[many].primary_cpu_s, "about 1",
    )


def median(runs):
    ordered = sorted(runs, key=lambda run: run.cpu_s)
    return ordered[len(ordered) // 2]


BENCHES = (fan_out,)
