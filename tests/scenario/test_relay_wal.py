"""pgcascade relay, for WAL: real standbys behind it get what the upstream wrote, byte for byte."""

import filecmp
import json
import re
import signal
import threading
import urllib.request

import pytest

from pg_node import free_port
from relay_clients import slots
from relay_run import Relay
from relay_wal import create_physical_slot, lsn, physically, standby_behind, wait_for_wal, wal_of
from test_relay import relay  # noqa: F401 (fixture)
from waiting import wait_for
from workload import SCHEMA, Workload

TABLE = "CREATE TABLE item (id int PRIMARY KEY, name text)"


@pytest.fixture
def relays(directory, pgcascade_background):
    def make(name):
        place = directory / name
        place.mkdir()
        return Relay(place, pgcascade_background)

    return make


def fill(node, first, last):
    node.execute("INSERT INTO item SELECT i, 'item ' || i FROM generate_series(%s, %s) i", first, last)


def wait_for_items(node, count):
    node.wait_until("SELECT count(*) FROM item", count)


def same_table(one, other, table="item"):
    query = f"SELECT count(*), md5(string_agg({table}::text, ',' ORDER BY id)) FROM {table}"
    return one.sql(query) == other.sql(query)


# -- standbys ----------------------------------------------------------------------------------------------------


def test_standbys_follow_the_primary_through_a_relay_at_the_price_of_one(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    with_slot = standby_behind(nodes, relay, primary, "eu")
    without_slot = standby_behind(nodes, relay, primary, "us", slot=False)
    fill(primary, 1, 50_000)
    for standby in (with_slot, without_slot):
        wait_for_items(standby, 50_000)
        assert same_table(standby, primary)
    assert primary.value("SELECT count(*) FROM pg_stat_replication") == 1
    assert slots(relay) == {"eu": True}
    # What the standby has on disk, the relay's slot says; and no further.
    flushed = with_slot.value("SELECT flushed_lsn::text FROM pg_stat_wal_receiver")
    wait_for(lambda: lsn(physically(relay, "READ_REPLICATION_SLOT eu")[0][0][1]) >= lsn(flushed))


def test_segments_of_the_log_are_those_of_the_server(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    fill(primary, 1, 1000)
    for _ in range(3):
        primary.execute("SELECT pg_switch_wal()")
        fill(primary, *[primary.value("SELECT max(id) + 1 FROM item")] * 2)
    wait_for_wal(relay, primary)
    directory = relay.directory / "data" / "wal"
    has_complete = lambda: [file for file in directory.iterdir() if len(file.name) == 24]
    wait_for(lambda: len(has_complete()) >= 3)
    for file in has_complete():
        assert filecmp.cmp(file, primary.data_directory / "pg_wal" / file.name, shallow=False), file
    # Usable as they are: a server that recovers takes them for an archive.
    node = nodes.reserve("recovered", primary.version)
    primary.copy_data_to(node.data_directory)
    primary.execute("SELECT pg_switch_wal()")
    wait_for_wal(relay, primary)
    nodes.make_standby(
        node,
        primary,
        None,
        settings={"primary_conninfo": "", "restore_command": f"cp {directory}/%f %p"},
    )
    for path in [relay.directory, relay.directory / "data", directory]:
        path.chmod(0o755)
    for file in directory.iterdir():
        file.chmod(0o644)
    node.start()
    wait_for_items(node, 1003)


def test_standby_catches_up_from_the_log_while_the_upstream_is_down(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu")
    standby.stop()
    fill(primary, 1, 20_000)
    wait_for_wal(relay, primary)
    primary.stop("immediate")
    standby.start()
    wait_for_items(standby, 20_000)
    # The relay itself starts without its upstream, too.
    relay.stop()
    standby.stop()
    relay.start(wait=False)
    relay.program.wait_for_stderr("trying again")
    standby.start()
    standby.wait_for_streaming()
    primary.start()
    relay.program.wait_for_stderr("receiving from")
    fill(primary, 20_001, 20_010)
    wait_for_items(standby, 20_010)


def test_feedback_of_all_standbys_holds_the_primary_s_rows(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    feedback = {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}
    old = standby_behind(nodes, relay, primary, "old", settings=feedback)
    standby_behind(nodes, relay, primary, "new", slot=False, settings=feedback)
    reader = old.connect()
    with reader.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM item")
        seen = old.value("SELECT (pg_current_snapshot()::text::pg_snapshot)::text").split(":")[0]
        fill(primary, 1, 10)
        primary.wait_until(
            "SELECT xmin::text FROM pg_replication_slots WHERE slot_name = 'relay_wal'", seen, timeout=60
        )
        assert wal_of(relay)["xmin"] == seen
    reader.close()
    # Once nobody needs them any more they go.
    primary.wait_until(
        f"SELECT xmin::text::bigint > {seen} FROM pg_replication_slots WHERE slot_name = 'relay_wal'", timeout=60
    )


def test_standby_behind_three_relays_has_what_the_primary_has(nodes, primary, relays):
    primary.psql(SCHEMA)
    upstream = primary
    for name in ("one", "two", "three"):
        behind = relays(name)
        behind.write_file(wal=upstream)
        upstream = behind.start()
    standby = standby_behind(nodes, upstream, primary, "leaf")
    with Workload(primary, seed=7) as load:
        wait_for(lambda: load.committed > 100)
        load.stop()
    primary.wait_for_catchup(standby)
    assert same_table(standby, primary, "item")


# -- timelines ---------------------------------------------------------------------------------------------------


def test_relay_and_its_standby_follow_a_promotion(nodes, primary, relay):
    primary.execute(TABLE)
    middle = nodes.standby("middle", primary)
    relay.write_file(wal=middle)
    relay.start()
    leaf = standby_behind(nodes, relay, middle, "leaf")
    second = nodes.standby("second", middle, settings={"wal_keep_size": "256MB"})
    fill(primary, 1, 100)
    wait_for_items(leaf, 100)
    primary.stop("immediate")
    middle.promote()
    fill(middle, 101, 200)
    wait_for_items(leaf, 200)
    leaf.wait_until("SELECT received_tli FROM pg_stat_wal_receiver", 2)
    [history], _ = physically(relay, "TIMELINE_HISTORY 2", "IDENTIFY_SYSTEM")
    assert history == (
        "00000002.history",
        (middle.data_directory / "pg_wal" / "00000002.history").read_text(),
    )
    # A second one while the relay is away.
    relay.stop()
    fill(middle, 201, 300)
    middle.wait_for_catchup(second)
    middle.stop()
    second.promote()
    fill(second, 301, 400)
    relay.write_file(wal=second)
    relay.start()
    wait_for_items(leaf, 400)
    leaf.wait_until("SELECT received_tli FROM pg_stat_wal_receiver", 3)
    assert same_table(leaf, second)


def test_relay_that_is_ahead_of_a_promotion_cuts_its_log_back(nodes, primary, relay):
    primary.execute(TABLE)
    behind = nodes.standby("behind", primary)
    relay.write_file(wal=primary)
    relay.start()
    ahead = standby_behind(nodes, relay, primary, "ahead")
    fill(primary, 1, 100)
    primary.wait_for_catchup(behind)
    behind.stop()
    fill(primary, 101, 200)
    wait_for_items(ahead, 200)
    wait_for_wal(relay, primary)
    primary.stop("immediate")
    # It never gets the last hundred.
    behind.append_conf({"primary_conninfo": "", "primary_slot_name": ""})
    behind.start()
    behind.promote()
    fill(behind, 301, 310)
    relay.stop()
    relay.write_file(wal=behind)
    relay.start(wait=False)
    relay.program.wait_for_stderr("is cut away")
    relay.program.wait_for_stderr("timeline 1 goes on as timeline 2")
    # Whoever received what is gone is told so, and never served two histories as one.
    ahead.wait_for_log("forked off current database system timeline 1 before current recovery point|is not in this server's history")
    assert ahead.value("SELECT count(*) FROM item") == 200
    # Whoever did not goes on.
    fresh = standby_behind(nodes, relay, behind, "fresh")
    wait_for_items(fresh, 110)
    assert same_table(fresh, behind)


# -- retention ---------------------------------------------------------------------------------------------------


def segments(relay):
    names = [file.name for file in (relay.directory / "data" / "wal").iterdir()]
    return sorted(name[:24] for name in names if len(name) == 24 or name.endswith(".partial"))


def fill_segments(node, count):
    for _ in range(count):
        node.execute("INSERT INTO item VALUES ((SELECT coalesce(max(id), 0) + 1 FROM item), 'filler')")
        node.execute("SELECT pg_switch_wal()")


def test_segments_that_no_slot_needs_are_removed(primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary, wal_settings={"keep": '"0 MB"'})
    relay.start()
    create_physical_slot(relay, "held")
    fill_segments(primary, 4)
    wait_for_wal(relay, primary)
    assert len(segments(relay)) >= 4
    physically(relay, "DROP_REPLICATION_SLOT held")
    wait_for(lambda: len(segments(relay)) <= 2, describe=lambda: segments(relay))


def test_keep_leaves_wal_for_those_without_a_slot(primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary, wal_settings={"keep": '"64 MB"'})
    relay.start()
    fill_segments(primary, 8)
    wait_for_wal(relay, primary)
    wait_for(lambda: len(segments(relay)) <= 6, describe=lambda: segments(relay))
    assert len(segments(relay)) >= 4


def test_slot_that_holds_too_much_is_invalidated_and_its_standby_told(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary, wal_settings={"keep": '"0 MB"'}, max_bytes='"48 MB"')
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu")
    standby.stop()
    fill_segments(primary, 6)
    relay.program.wait_for_stderr('slot "eu", which stood at')
    assert "needs a new base backup" in relay.program.stderr()
    assert primary.value("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'relay_wal'") == "reserved"
    standby.start()
    standby.wait_for_log('can no longer access replication slot "eu"')


# -- crashes -----------------------------------------------------------------------------------------------------


def test_killed_relay_goes_on_where_it_was(nodes, primary, relay):
    primary.psql(SCHEMA)
    relay.write_file(wal=primary)
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu")
    with Workload(primary, seed=11) as load:
        for _ in range(5):
            before = load.committed
            wait_for(lambda: load.committed > before + 20)
            relay.kill9()
            relay.start()
        load.stop()
    primary.wait_for_catchup(standby)
    assert same_table(standby, primary, "item")
    relay.stop(signal.SIGTERM).expect(0)


# -- what a DBA sets on standbys and primaries -------------------------------------------------------------------


def test_standby_without_a_slot_makes_a_temporary_one(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu", slot=False, settings={"wal_receiver_create_temp_slot": "on"})
    [(name, is_active)] = slots(relay).items()
    assert name.startswith("pg_walreceiver_") and is_active
    fill(primary, 1, 100)
    wait_for_items(standby, 100)
    standby.stop()
    wait_for(lambda: slots(relay) == {})


def test_commit_waits_for_the_disk_of_a_relay_that_is_a_synchronous_standby(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu")
    primary.configure({"synchronous_standby_names": "pgcascade"})
    primary.wait_until("SELECT sync_state FROM pg_stat_replication", "sync")
    fill(primary, 1, 10)  # returns
    assert lsn(wal_of(relay)["durable"]) >= lsn(primary.current_lsn()) - 8192
    relay.kill9()
    waiting = primary.connect()
    waiter = psycopg2_thread(waiting, "INSERT INTO item VALUES (11, 'late')")
    primary.wait_until("SELECT wait_event FROM pg_stat_activity WHERE query LIKE 'INSERT%late%' AND pid <> pg_backend_pid()", "SyncRep")
    relay.start()
    waiter.join(30)
    assert not waiter.is_alive()
    waiting.close()
    wait_for_items(standby, 11)


def psycopg2_thread(connection, statement):
    thread = threading.Thread(target=lambda: connection.cursor().execute(statement), daemon=True)
    thread.start()
    return thread


def test_relay_goes_over_to_the_next_host_of_its_upstream(nodes, primary, relay):
    primary.execute(TABLE)
    other = nodes.standby("other", primary)
    other.create_physical_slot("relay_wal")

    class Both:
        @staticmethod
        def conninfo(**more):
            return primary.conninfo(**{**more, "host": "127.0.0.1,127.0.0.1", "port": f"{primary.port},{other.port}"})

    relay.write_file(wal=Both)
    relay.start()
    leaf = standby_behind(nodes, relay, primary, "leaf")
    fill(primary, 1, 100)
    wait_for_items(leaf, 100)
    primary.wait_for_catchup(other)
    primary.kill9()
    other.promote()
    fill(other, 101, 200)
    wait_for_items(leaf, 200)
    assert same_table(leaf, other)


# -- what operators see ------------------------------------------------------------------------------------------


def test_status_and_metrics_tell_of_the_wal_and_its_standbys(nodes, primary, relay, pgcascade):
    primary.execute(TABLE)
    metrics = free_port()
    relay.write_file(wal=primary, metrics=f'"127.0.0.1:{metrics}"')
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu")
    fill(primary, 1, 1000)
    wait_for_items(standby, 1000)
    target = lsn(wait_for_wal(relay, primary))

    def seen():
        return json.loads(pgcascade("relay", "status", relay.file, "--json").expect(0).stdout)

    wait_for(lambda: seen()["sessions"][0]["flush_lag_bytes"] == 0)
    status = seen()
    wal = status["wal"]
    assert (wal["slot"], wal["state"], wal["timeline"], wal["problem"]) == ("relay_wal", "receiving", 1, None)
    assert lsn(wal["received_lsn"]) >= lsn(wal["durable_lsn"]) >= target
    assert wal["log_bytes"] == lsn(wal["received_lsn"]) - lsn(wal["begin_lsn"])
    [session] = status["sessions"]
    assert (session["application_name"], session["slot"], session["state"]) == ("eu", "eu", "streaming")
    assert lsn(session["sent_lsn"]) >= lsn(session["flush_lsn"]) >= target
    [slot] = status["slots"]
    assert (slot["slot_name"], slot["active"]) == ("eu", True) and lsn(slot["position"]) >= target
    text = pgcascade("relay", "status", relay.file).expect(0).stdout
    assert re.search(r"^receiving  0/\w+ on timeline 1 ", text, re.MULTILINE), text
    assert re.search(r"^127.0.0.1 +postgres +eu +eu +\(wal\) +streaming ", text, re.MULTILINE), text

    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=30) as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    assert float(lines["pgcascade_wal_connected"]) == 1
    assert float(lines["pgcascade_wal_received_bytes_total"]) >= lsn(wal["received_lsn"]) - lsn(wal["begin_lsn"])
    assert float(lines["pgcascade_wal_sent_bytes_total"]) > 100_000
    assert float(lines['pgcascade_slot_active{slot="eu",database=""}']) == 1

    # A standby that is away lags; an upstream that is away is a problem.
    standby.stop()
    fill(primary, 1001, 2000)
    wait_for_wal(relay, primary)
    [slot] = seen()["slots"]
    assert slot["active"] is False and slot["lag_bytes"] > 10_000 and slot["retained_log_bytes"] >= slot["lag_bytes"]
    primary.stop("immediate")
    relay.program.wait_for_stderr("trying again")
    down = pgcascade("relay", "status", relay.file, "--json").expect(3)
    assert json.loads(down.stdout)["wal"]["state"] == "connecting"
    assert json.loads(down.stdout)["problems"][0]["what"].startswith("wal: ")


def test_log_of_wal_is_verified_beside_the_relay_and_damage_is_named(primary, relay, pgcascade):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    create_physical_slot(relay, "held")
    fill_segments(primary, 3)
    end = wait_for_wal(relay, primary)
    directory = relay.directory / "data"
    complete = lambda: sorted(file for file in (directory / "wal").iterdir() if len(file.name) == 24)
    wait_for(lambda: len(complete()) >= 3)
    [shown] = json.loads(pgcascade("log", "show", directory, "--json").expect(0).stdout)["logs"]
    assert (shown["kind"], shown["whole"]) == ("wal", True)
    assert lsn(shown["end_lsn"]) >= lsn(end)
    pgcascade("log", "verify", directory).expect(0)
    with open(complete()[1], "r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)[0]
        file.seek(1_000_000)
        file.write(bytes([byte ^ 4]))
    refused = pgcascade("log", "verify", directory).expect(1)
    assert re.search(re.escape(str(complete()[1])) + r", offset \d+", refused.stdout + refused.stderr), refused
