"""A relay tells how it is: `pgcascade relay status`, metrics for Prometheus, and what systemd wants to know."""

import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import urllib.error
import urllib.request

import psycopg2
import pytest

from change_lines import lsn_number
from pg_node import free_port
from pgoutput_reader import PgoutputReader, plugin_options
from program_run import environment
from relay_clients import ByteCounter, RawSession, create_slot, for_replication, secret_of, wait_for_all_received
from server_programs import client_program
from tcp_listener import shut
from test_relay import relay, shop  # noqa: F401 (fixtures)
from waiting import DEFAULT_TIMEOUT_S, wait_for

PASSWORD = "correct horse"


def status_of(pgcascade, relay, code=0):
    return json.loads(pgcascade("relay", "status", relay.file, "--json").expect(code).stdout)


def wait_for_status(pgcascade, relay, is_so, code=0):
    """The first one of which `is_so` is true, which must have the exit status."""
    seen = {}

    def found():
        run = pgcascade("relay", "status", relay.file, "--json")
        seen["run"] = run
        if run.code in (0, 3) and is_so(json.loads(run.stdout)):
            run.expect(code)
            return json.loads(run.stdout)
        return None

    return wait_for(found, describe=lambda: f"another status than {seen['run']}")


def start_client(relay, slot="s", publications="pub", **more):
    """A psycopg2 client that streams the slot, and reads nothing by itself."""
    cursor = for_replication(relay, **more).cursor()
    cursor.start_replication(slot, decode=False, options=plugin_options(publications))
    return cursor


def read_all(cursor, until):
    """Confirms what it reads; ends once it has confirmed `until`."""
    reader = PgoutputReader()

    def done():
        while message := cursor.read_message():
            reader.read(message.payload)
        if reader.transaction is not None:
            return False
        end = cursor.wal_end
        cursor.send_feedback(write_lsn=end, flush_lsn=end, apply_lsn=end, force=True, reply=True)
        return end >= until

    wait_for(done, describe=f"the client to read up to {until}")


def insert(node, rows, width=1000):
    values = "(SELECT coalesce(max(id), 0) FROM item) + i, repeat('x', %s), 1"
    node.execute(f"INSERT INTO item SELECT {values} FROM generate_series(1, %s) i", width, rows)


def frames_files(relay):
    return sorted(relay.directory.glob("data/feeds/*/*.frames"))


# -- relay status -----------------------------------------------------------------------------------------------


def test_feeds_slots_and_sessions_are_shown(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    for slot in ("s", "unused"):
        create_slot(relay, slot)
    began = lsn_number(status_of(pgcascade, relay)["feeds"][0]["begin_lsn"])
    cursor = start_client(relay, application_name="reader")
    insert(shop, 100)
    target = lsn_number(shop.current_lsn())
    read_all(cursor, target)
    status = wait_for_status(
        pgcascade,
        relay,
        lambda seen: seen["sessions"]
        and seen["sessions"][0]["flush_lag_bytes"] == seen["sessions"][0]["sent_lag_bytes"] == 0
        and lsn_number(seen["sessions"][0]["sent_lsn"]) >= target
        and lsn_number(seen["feeds"][0]["durable_lsn"] or "0/0") >= target,
    )

    [feed] = status["feeds"]
    assert (feed["feed"], feed["database"], feed["publications"]) == ("shop", "postgres", "pub")
    assert (feed["slot"], feed["state"], feed["problem"]) == ("relay_shop", "receiving", None)
    assert f"port={shop.port}" in feed["upstream"] and "password" not in feed["upstream"].replace("password=***", "")
    assert lsn_number(feed["received_lsn"]) >= lsn_number(feed["durable_lsn"]) >= target
    assert began == lsn_number(feed["begin_lsn"]) <= lsn_number(shop.value("SELECT '0/0'::pg_lsn + %s", target))
    assert lsn_number(feed["end_lsn"]) >= target
    wait_for(
        lambda: status_of(pgcascade, relay)["feeds"][0]["log_bytes"] == sum(f.stat().st_size for f in frames_files(relay))
    )

    used, unused = status["slots"]
    assert (used["slot_name"], used["active"], used["lag_bytes"]) == ("s", True, 0)
    assert lsn_number(used["position"]) >= target
    assert (unused["slot_name"], unused["active"], unused["invalidation_reason"]) == ("unused", False, None)
    # All that is in the log came after the slot was made.
    assert unused["lag_bytes"] >= target - lsn_number(unused["position"]) > 0
    assert 100 * 1000 < unused["retained_log_bytes"] <= feed["log_bytes"]

    [session] = status["sessions"]
    assert (session["client"], session["user"], session["state"]) == ("127.0.0.1", "postgres", "streaming")
    assert (session["application_name"], session["slot"], session["feed"]) == ("reader", "s", "shop")
    for kind in ("sent", "write", "flush", "apply"):
        assert lsn_number(session[f"{kind}_lsn"]) >= target, session
        assert session[f"{kind}_lag_bytes"] == 0, session
    assert status["healthy"] is True and status["problems"] == []

    # Another way to it, and for people.
    by_conninfo = pgcascade("relay", "status", "--conninfo", relay.conninfo()).expect(0)
    by_file = pgcascade("relay", relay.file, "status").expect(0)
    for text in (by_conninfo.stdout, by_file.stdout):
        assert re.search(r"^shop +postgres +pub +receiving ", text, re.MULTILINE), text
        assert re.search(r"^s +postgres +active ", text, re.MULTILINE), text
        assert re.search(r"^unused +postgres +inactive ", text, re.MULTILINE), text
        assert re.search(r"^127.0.0.1 +postgres +reader +s +shop +streaming +0 B +0 B +0 B +0 B", text, re.MULTILINE), text
    cursor.connection.close()
    wait_for_status(pgcascade, relay, lambda seen: seen["sessions"] == [])


def test_lag_of_a_client_that_stops_reading_grows_and_goes_away(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    create_slot(relay)
    client = client_program("pg_recvlogical")
    arguments = ["-d", relay.conninfo(), "-S", "s", "--start", "-f", "/dev/null", "-s", "1"]
    options = ["-o", "proto_version=1", "-o", "publication_names=pub"]
    with subprocess.Popen([client, *arguments, *options], env=environment()) as program:
        try:
            told = lambda seen: seen["sessions"] and seen["sessions"][0]["flush_lag_bytes"] is not None
            wait_for_status(pgcascade, relay, told)
            program.send_signal(signal.SIGSTOP)
            insert(shop, 1000)
            wait_for_all_received(relay, shop)
            # What fits between the sockets is sent, but not confirmed.
            little = wait_for_status(pgcascade, relay, lambda seen: seen["sessions"][0]["sent_lag_bytes"] == 0)
            assert little["sessions"][0]["flush_lag_bytes"] > 1000 * 1000
            assert little["slots"][0]["lag_bytes"] > 1000 * 1000
            for _ in range(5):
                insert(shop, 10_000)
            wait_for_all_received(relay, shop)
            much = wait_for_status(pgcascade, relay, lambda seen: seen["sessions"][0]["sent_lag_bytes"] > 10_000_000)
            assert much["sessions"][0]["flush_lag_bytes"] > 50_000_000
            assert much["slots"][0]["lag_bytes"] > 50_000_000
            assert much["slots"][0]["retained_log_bytes"] > 50_000_000
            program.send_signal(signal.SIGCONT)
            wait_for_status(
                pgcascade,
                relay,
                lambda seen: seen["sessions"][0]["flush_lag_bytes"] == 0
                and seen["sessions"][0]["sent_lag_bytes"] == 0
                and seen["slots"][0]["retained_log_bytes"] < 1_000_000,
            )
        finally:
            program.kill()


def test_a_feed_that_does_not_receive_is_a_problem(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    shop.stop()
    down = wait_for_status(pgcascade, relay, lambda seen: not seen["healthy"] and seen["feeds"][0]["problem"], code=3)
    assert down["feeds"][0]["state"] == "connecting"
    [problem] = down["problems"]
    assert problem["what"].startswith("feed shop: ")
    table = pgcascade("relay", "status", relay.file).expect(3).stdout
    assert "connecting" in table and "feed shop: " in table
    shop.start()
    wait_for_status(pgcascade, relay, lambda seen: seen["healthy"] and seen["feeds"][0]["problem"] is None)


def test_a_relay_that_has_never_reached_its_upstream_says_why(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])})
    shop.stop()
    relay.start(wait=False)
    relay.program.wait_for_stderr("listening on")
    seen = wait_for_status(pgcascade, relay, lambda seen: seen["feeds"][0]["problem"], code=3)
    assert "refused" in seen["feeds"][0]["problem"]
    assert seen["feeds"][0]["received_lsn"] is None and seen["feeds"][0]["begin_lsn"] is None
    with pytest.raises(psycopg2.OperationalError, match="has not reached its upstream yet"):
        for_replication(relay)


def test_an_invalidated_slot_is_a_problem(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])}, max_bytes='"1 MB"')
    relay.start()
    create_slot(relay, "idle")
    insert(shop, 5000)
    lost = wait_for_status(pgcascade, relay, lambda seen: not seen["healthy"], code=3)
    [slot] = lost["slots"]
    assert (slot["invalidation_reason"], slot["position"], slot["retained_log_bytes"]) == ("wal_removed", None, 0)
    [problem] = lost["problems"]
    assert problem["what"] == "slot idle: it was invalidated: wal_removed" and "drop the slot" in problem["hint"]
    pgcascade("slot", "drop", relay.conninfo(), "idle").expect(0)
    wait_for_status(pgcascade, relay, lambda seen: seen["healthy"])


def test_a_log_that_is_full_is_a_problem(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])}, max_bytes='"1 MB"', when_full='"pause"')
    relay.start()
    create_slot(relay, "idle")
    insert(shop, 5000)
    full = wait_for_status(pgcascade, relay, lambda seen: not seen["healthy"], code=3)
    assert full["feeds"][0]["state"] == "paused"
    assert "max_bytes" in full["problems"][0]["what"] and "lags" in full["problems"][0]["hint"]


def test_who_can_not_be_reached_or_is_no_relay_is_told(shop, relay, pgcascade, directory):
    relay.write_file({"shop": (shop, ["pub"])})
    missing = pgcascade("relay", "status", relay.file).expect(1)
    assert missing.stdout == "" and "refused" in missing.stderr
    server = pgcascade("relay", "status", "-d", shop.conninfo()).expect(1)
    assert "is a server, no relay" in server.stderr
    assert "none.toml" in pgcascade("relay", "status", directory / "none.toml").expect(1).stderr
    pgcascade("relay", "status", relay.file, "-d", relay.conninfo()).expect(2)


def test_the_unix_socket_needs_no_password_and_another_address_does(shop, relay, pgcascade):
    users = relay.directory / "users.toml"
    users.write_text(f'[user.alice]\nsecret = "{secret_of(PASSWORD)}"\n[user.nobody]\nsecret = "{secret_of("other")}"\nfeeds = []\n')
    users.chmod(0o600)
    listen = f'["127.0.0.1:{relay.port}", "./run"]'
    (relay.directory / "run").mkdir()
    common = {"users": '"users.toml"', "port": relay.port}
    relay.write_file({"shop": (shop, ["pub"])}, trust='["local"]', listen=listen, **common)
    relay.start()
    assert status_of(pgcascade, relay)["relay"] == f"{relay.directory}/run:{relay.port}"
    relay.stop()

    relay.write_file({"shop": (shop, ["pub"])}, trust="[]", **common)
    relay.start()
    as_alice = {"PGUSER": "alice", "PGPASSWORD": PASSWORD}
    pgcascade("relay", "status", relay.file, env=as_alice).expect(0)
    refused = pgcascade("relay", "status", relay.file, env=as_alice | {"PGPASSWORD": "a guess"}).expect(1)
    assert "password authentication failed" in refused.stderr and "a guess" not in refused.stderr
    # Who may read no feed is in no database of the relay.
    nobody = pgcascade("relay", "status", relay.file, env={"PGUSER": "nobody", "PGPASSWORD": "other"}).expect(1)
    assert 'database "postgres" does not exist' in nobody.stderr


def test_watch_outlives_the_relay(shop, relay, pgcascade_background):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    watch = pgcascade_background("relay", "status", relay.file, "--watch", "--interval", "0.2", "--json")
    wait_for(lambda: len(watch.lines()) >= 3, describe=watch.finished)
    create_slot(relay, "new")
    watch.wait_for_stdout('"slot_name":"new"')
    relay.stop()
    watch.wait_for_stderr("can't connect")
    seen = len(watch.lines())
    relay.start()
    wait_for(lambda: len(watch.lines()) > seen, describe=watch.finished)
    watch.stop(signal.SIGINT).expect(0)
    for line in watch.lines():
        json.loads(line)


def test_watch_redraws_a_terminal_in_place_and_gives_it_back_whether_the_relay_is_there(shop, relay, pgcascade_background):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    controller, terminal = pty.openpty()
    arguments = ("relay", "status", relay.file, "--watch", "--interval", "0.1")
    watch = pgcascade_background(*arguments, stdout=terminal, env={"TERM": "xterm"})
    os.close(terminal)
    drawn = b""
    while drawn.count(b"\x1b[H") < 3:
        drawn += os.read(controller, 65536)
    relay.stop()
    while b"can't connect" not in drawn:
        drawn += os.read(controller, 65536)
    watch.process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(controller, 65536):
            drawn += piece
    except OSError:  # EIO: the other end is closed
        pass
    os.close(controller)
    assert watch.wait().code == 0
    assert drawn.startswith(b"\x1b[?1049h\x1b[?25l") and drawn.endswith(b"\x1b[?25h\x1b[?1049l")
    assert b"receiving" in drawn


# -- Prometheus -------------------------------------------------------------------------------------------------

SAMPLE = re.compile(r"^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? ([-+0-9.eEinfNa]+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Metrics:
    """What http://127.0.0.1:PORT/metrics answers, line by line as Prometheus reads it."""

    def __init__(self, port):
        self.port = port

    def scrape(self):
        """{(name, ((label, value), …)): number}"""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=DEFAULT_TIMEOUT_S) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            lines = answer.read().decode().splitlines()
        values = {}
        for line in lines:
            if line.startswith("# ") or not line:
                continue
            name, labels, number = SAMPLE.match(line).groups()
            key = (name, tuple(sorted(LABEL.findall(labels or ""))))
            assert key not in values, f"twice: {line}"
            values[key] = float(number)
        return values

    def get(self, name, **labels):
        return self.scrape()[(f"pgcascade_{name}", tuple(sorted(labels.items())))]


@pytest.fixture
def metrics():
    return Metrics(free_port())


def received_changes(relay):
    """Bytes of the XLogData messages in the relay's log (docs/log_format.md)."""
    total = 0
    for file in frames_files(relay):
        data, at = file.read_bytes(), 0
        while at < len(data):
            length = struct.unpack_from("!I", data, at + 1)[0]
            total += length - 4 if data[at + 5 : at + 6] == b"w" else 0
            at += length + 1
    return total


KEEPALIVE_BYTES = 18


def test_metrics_tell_what_was_received_and_sent(shop, relay, metrics, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])}, metrics=f'"127.0.0.1:{metrics.port}"')
    relay.start()
    assert f"http://127.0.0.1:{metrics.port}/metrics" in relay.program.stderr()
    for slot in ("s", "unused"):
        create_slot(relay, slot)
    assert metrics.get("feed_sent_bytes_total", feed="shop") == 0
    with RawSession(("127.0.0.1", relay.port)) as session:
        session.log_in()
        start = "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'pub')"
        session.send(b"Q", start.encode() + b"\0")
        counter = ByteCounter(session)
        insert(shop, 3000)
        wait_for_all_received(relay, shop)
        wait_for(lambda: counter.bytes > 3000 * 1000)
        wait_for(
            lambda: metrics.get("feed_sent_bytes_total", feed="shop") == counter.bytes,
            describe=lambda: f"{metrics.get('feed_sent_bytes_total', feed='shop')} to be {counter.bytes}",
        )

        def keepalive_bytes():
            return metrics.get("feed_received_bytes_total", feed="shop") - received_changes(relay)

        wait_for(lambda: keepalive_bytes() >= 0 and keepalive_bytes() % KEEPALIVE_BYTES == 0, describe=keepalive_bytes)
        assert metrics.get("sessions", state="streaming") == 1
        shut(session.socket)
        counter.join()
    wait_for(lambda: metrics.get("sessions", state="streaming") == 0)

    def agrees_with_status():
        status = status_of(pgcascade, relay)
        seen = metrics.scrape()
        [feed] = status["feeds"]
        pairs = [(("feed_log_bytes", (("feed", "shop"),)), feed["log_bytes"])]
        for slot in status["slots"]:
            labels = (("database", "postgres"), ("slot", slot["slot_name"]))
            pairs += [(("slot_lag_bytes", labels), slot["lag_bytes"])]
            pairs += [(("slot_retained_log_bytes", labels), slot["retained_log_bytes"])]
            pairs += [(("slot_active", labels), 0), (("slot_invalidated", labels), 0)]
        return all(seen[(f"pgcascade_{name}", labels)] == value for (name, labels), value in pairs)

    wait_for(agrees_with_status)
    assert metrics.get("slot_retained_log_bytes", slot="unused", database="postgres") > 3000 * 1000

    seen = metrics.scrape()
    buckets = [
        (float(dict(labels)["le"]), value) for (name, labels), value in seen.items() if name == "pgcascade_log_sync_seconds_bucket"
    ]
    counts = [value for _, value in sorted(buckets)]
    assert counts == sorted(counts) and counts[-1] == seen[("pgcascade_log_sync_seconds_count", ())] > 0
    assert 0 < seen[("pgcascade_log_sync_seconds_sum", ())] < 60
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/other", timeout=DEFAULT_TIMEOUT_S)


def test_metrics_tell_of_the_upstream_and_of_strangers(shop, relay, metrics):
    users = relay.directory / "users.toml"
    users.write_text(f'[user.alice]\nsecret = "{secret_of(PASSWORD)}"\n')
    users.chmod(0o600)
    settings = {"users": '"users.toml"', "trust": "[]", "metrics": f'"127.0.0.1:{metrics.port}"'}
    relay.write_file({"shop": (shop, ["pub"])}, **settings)
    relay.start()
    wait_for(lambda: metrics.get("feed_connected", feed="shop") == 1)
    assert metrics.get("feed_reconnects_total", feed="shop") == 0
    shop.stop()
    wait_for(lambda: metrics.get("feed_connected", feed="shop") == 0)
    shop.start()
    wait_for(lambda: metrics.get("feed_connected", feed="shop") == 1)
    assert metrics.get("feed_reconnects_total", feed="shop") == 1

    assert metrics.get("failed_logins_total") == 0
    with pytest.raises(psycopg2.OperationalError):
        relay.connect(user="alice", password="a guess")
    assert metrics.get("failed_logins_total") == 1
    with RawSession(("127.0.0.1", relay.port)):
        wait_for(lambda: metrics.get("sessions", state="login") == 1)
        assert metrics.get("sessions", state="idle") == 0
    relay.connect(user="alice", password=PASSWORD).close()
    wait_for(lambda: metrics.get("sessions", state="login") == 0)


def test_metrics_on_a_port_that_is_taken_end_the_relay_at_its_start(shop, relay, metrics):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", metrics.port))
        taken.listen()
        relay.write_file({"shop": (shop, ["pub"])}, metrics=f'"127.0.0.1:{metrics.port}"')
        relay.start(wait=False)
        ended = relay.program.wait().expect(1)
    assert f"can't serve metrics on 127.0.0.1:{metrics.port}" in ended.stderr and "hint: " in ended.stderr


# -- systemd ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_is_told_when_it_serves_reloads_and_stops(shop, relay, kind):
    relay.write_file({"shop": (shop, ["pub"])})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"{relay.directory}/notify" if kind == "path" else f"\0pgcascade-test-{os.getpid()}"
        manager.bind(name)
        manager.settimeout(DEFAULT_TIMEOUT_S)
        told = lambda: manager.recv(4096).decode()
        relay.start(wait=False, env={"NOTIFY_SOCKET": name.replace("\0", "@")})
        assert told() == "READY=1"
        # At once, without a second try.
        socket.create_connection(("127.0.0.1", relay.port)).close()
        relay.program.wait_for_stderr("receiving from")
        relay.reload()
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", told())
        assert told() == "READY=1"
        relay.stop().expect(0)
        assert told() == "STOPPING=1"


def test_a_service_manager_that_does_not_listen_is_a_warning(shop, relay):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start(env={"NOTIFY_SOCKET": f"{relay.directory}/nobody"})
    assert "can't tell the service manager" in relay.program.stderr()
    relay.stop().expect(0)
