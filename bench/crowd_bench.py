"""Thousands of subscribers behind one relay: the memory that the idle ones cost, and whether the active ones keep up."""

import json
import pathlib
import resource
import selectors
import struct
import tempfile
import time

import workload_w
from relay_bench import BenchRelay
from relay_clients import RawSession
from server_messages import cstring
from table import Row

IDLE = 5_000
ACTIVE = 1_000
COMMITS = 100
INTERVAL_S = 0.1


def subscriber(relay, number):
    """A session that streams, and has read what came until then."""
    session = RawSession(("127.0.0.1", relay.port))
    session.log_in(application_name=f"crowd {number}")
    session.send(b"Q", cstring(f"CREATE_REPLICATION_SLOT crowd_{number} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')"))
    session.read_until(b"Z")
    start = f"START_REPLICATION SLOT crowd_{number} LOGICAL 0/0 (proto_version '1', publication_names 'pub')"
    session.send(b"Q", cstring(start))
    session.read_until(b"W")
    return session


def resident_mb(process):
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


class Counter:
    """Counts the commits in what one session is sent."""

    def __init__(self, session):
        self.socket = session.socket
        self.socket.setblocking(False)
        self.commits = 0
        self._data = b""

    def take(self):
        self._data += self.socket.recv(1 << 20)
        while len(self._data) >= 5:
            length = 1 + struct.unpack_from("!I", self._data, 1)[0]
            if len(self._data) < length:
                return
            self.commits += self._data[0:1] == b"d" and self._data[5:6] == b"w" and self._data[30:31] == b"C"
            self._data = self._data[length:]


def keep_up(primary, sessions, commits):
    """How far behind its commit the last of all subscribers was, in ms: the worst of all commits."""
    counters = [Counter(session) for session in sessions]
    selector = selectors.DefaultSelector()
    for counter in counters:
        selector.register(counter.socket, selectors.EVENT_READ, counter)
    connection = primary.connect()
    worst = 0.0
    with connection.cursor() as cursor:
        for number in range(1, commits + 1):
            due = time.monotonic() + INTERVAL_S
            cursor.execute("insert into m (id, k, v) values ((select coalesce(max(id), 0) + 1 from m), 1, 'x')")
            committed = time.monotonic()
            left = sum(counter.commits < number for counter in counters)
            while left:
                for key, _ in selector.select(30):
                    before = key.data.commits
                    key.data.take()
                    left -= before < number <= key.data.commits
            worst = max(worst, time.monotonic() - committed)
            time.sleep(max(0, due - time.monotonic()))
    connection.close()
    return worst * 1000


def crowd(nodes, scale, repeat):
    del repeat
    idle, active = int(IDLE * scale), int(ACTIVE * scale)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    primary = nodes.primary("crowd", version=18, settings={**workload_w.SERVER_SETTINGS, "shared_buffers": "256MB"})
    primary.psql(workload_w.SCHEMA)
    with tempfile.TemporaryDirectory(prefix="pgc-crowd-", dir="/tmp") as directory:
        feed = f'[feed.w]\nupstream = {json.dumps(primary.conninfo())}\nslot = "relay"\ncreate_slot = true\npublications = ["pub"]\n'
        # The clients here answer nothing.
        relay = BenchRelay(pathlib.Path(directory), feed, 'wal_sender_timeout = "0s"\n')
        sessions = []
        try:
            relay.start()
            before = resident_mb(relay.process)
            sessions += [subscriber(relay, number) for number in range(idle)]
            after = resident_mb(relay.process)
            yield Row(f"{idle} idle subscribers: memory of the relay", "", f"{after:.0f} MB ({before:.0f} MB without)", None, "under 200 MB")
            for session in sessions[active:]:
                session.socket.close()
            worst = keep_up(primary, sessions[:active], COMMITS)
            yield Row(f"{active} subscribers, {COMMITS} commits at 10/s: until the last one has a commit", "", f"{worst:.0f} ms at most", None, "they keep up")
        finally:
            for session in sessions:
                session.socket.close()
            relay.close()
            primary.stop()


BENCHES = (crowd,)
