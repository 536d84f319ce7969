"""How long after its acknowledgement a commit is told to a logical consumer: of the primary, behind a relay, on a standby."""

import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import workload_w
from program_run import environment
from relay_bench import BenchRelay
from relay_clients import answers, create_slot
from table import Row

COMMITS = 500
INTERVAL_S = 0.01
CONSUMER = pathlib.Path(__file__).with_name("latency_consumer.py")


def percentiles(delays_ms):
    ordered = sorted(delays_ms)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def delays(primary, node, slot, commits):
    """Of that many commits on the primary, one every INTERVAL_S, in ms; one client of `node` at a time."""
    make_slot(primary, node, slot)
    try:
        return measured(primary, node, slot, commits)
    finally:
        answers(node, f"DROP_REPLICATION_SLOT {slot} WAIT")


def measured(primary, node, slot, commits):
    command = [sys.executable, CONSUMER, node.conninfo(), slot, str(commits)]
    consumer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert consumer.stdout.readline() == "ready\n"
    connection = primary.connect()
    acknowledged = []
    with connection.cursor() as cursor:
        for number in range(commits):
            cursor.execute("insert into m (id, k, v) values ((select coalesce(max(id), 0) + 1 from m), %s, 'x')", (number,))
            acknowledged.append(time.monotonic_ns())
            time.sleep(INTERVAL_S)
    connection.close()
    came = [int(line) for line in consumer.stdout.read().split()]
    assert consumer.wait() == 0
    return percentiles([(there - here) / 1e6 for here, there in zip(acknowledged, came)])


def hop_latency(nodes, scale, repeat):
    primary = nodes.primary("latency", version=18, settings={**workload_w.SERVER_SETTINGS, "shared_buffers": "256MB"})
    primary.psql(workload_w.SCHEMA)
    standby = nodes.standby("standby", primary, settings={"hot_standby_feedback": "on"})
    with tempfile.TemporaryDirectory(prefix="pgc-latency-", dir="/tmp") as directory:
        upstream = json.dumps(primary.conninfo())
        feed = f'[feed.w]\nupstream = {upstream}\nslot = "relay"\ncreate_slot = true\npublications = ["pub"]\n'
        relay = BenchRelay(pathlib.Path(directory), feed)
        try:
            relay.start()
            commits = max(50, int(COMMITS * scale))
            places = {"primary": primary, "relay": relay, "standby": standby}
            seen = {name: [] for name in places}
            for _ in range(repeat):  # in turn, so that a change of the machine's speed meets all of them
                for name, node in places.items():
                    seen[name].append(delays(primary, node, "consumer", commits))
            yield from rows({name: tuple(map(statistics.median, zip(*runs))) for name, runs in seen.items()}, commits)
        finally:
            relay.close()
            standby.stop()
            primary.stop()


def make_slot(primary, node, slot):
    """On a standby it waits for a snapshot record of the primary."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        made = pool.submit(create_slot, node, slot)
        while not made.done():
            primary.execute("select pg_log_standby_snapshot()")
            time.sleep(0.1)
        made.result()


def rows(seen, commits):
    words = {name: f"p50 {p50:.2f} ms, p99 {p99:.2f} ms" for name, (p50, p99) in seen.items()}
    added = lambda name: ", ".join(f"{there - here:+.2f}" for there, here in zip(seen[name], seen["primary"]))
    work = f"{commits} commits, from each one's acknowledgement to a client's message, 18: "
    yield Row(work + "of the primary", words["primary"], "", None)
    yield Row(work + "a hop further", f"{words['standby']} ({added('standby')})", f"{words['relay']} ({added('relay')})", None, "p50 +0.15, p99 +0.5")


BENCHES = (hop_latency,)
