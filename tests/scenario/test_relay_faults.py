"""pgcascade relay: whatever is killed, cut, slow or damaged, subscribers end up with the upstream's rows, once each."""

import os
import random
import re
import struct
from collections import Counter

import pytest

from pgoutput_reader import by_pg_recvlogical
from relay_clients import (
    DeafNetwork,
    Network,
    Recorder,
    answer,
    answers,
    create_slot,
    for_replication,
    slots,
    slots_in_use,
    wait_for_all_received,
)
from test_relay import relay, subscribe  # noqa: F401 (a fixture)
from waiting import wait_for
from workload import SCHEMA, LargeTransactions, Workload

LARGE = 200_000  # rows
ROUNDS = int(os.environ.get("PGCASCADE_TEST_ROUNDS", 25))  # of killing somebody: 50 with both versions

# Rows are only inserted, and nothing keeps a row of a subscriber from being there twice.
SOURCE = SCHEMA + "CREATE PUBLICATION log FOR TABLE item_log;"
TARGET = "CREATE TABLE item_log (id bigint, item bigint, what text);"


@pytest.fixture
def seed():
    """Printed where the test fails; PGCASCADE_TEST_SEED gives it again."""
    number = int(os.environ.get("PGCASCADE_TEST_SEED", random.randrange(1_000_000)))
    print(f"PGCASCADE_TEST_SEED={number}")
    return number


@pytest.fixture
def source(primary):
    primary.psql(SOURCE)
    return primary


@pytest.fixture
def log_relay(source, relay):
    relay.write_file({"log": (source, ["log"])})
    return relay.start()


@pytest.fixture
def follower(nodes, version):
    """A server with an empty table, and no subscription yet."""
    node = nodes.primary("follower", version=version)
    node.psql(TARGET)
    return node


def follow(follower, relay, options="copy_data = true"):
    subscribe(follower, relay, options, publications="log")


def write(node, count, what="row"):
    node.execute("INSERT INTO item_log (item, what) SELECT i, %s FROM generate_series(1, %s) i", what, count)


def wait_for_the_same_log(follower, source, dbname="postgres"):
    rows = "SELECT id, item, what FROM item_log ORDER BY id"
    there = lambda: follower.sql(rows, dbname=dbname)
    count = "SELECT count(*) FROM item_log"
    wait_for(lambda: follower.value(count, dbname=dbname) >= source.value(count), 60, lambda: f"{follower} to catch up")
    wait_for(lambda: there() == source.sql(rows), 60, lambda: f"{follower}: {difference(there(), source.sql(rows))}")


def difference(there, wanted):
    """What differs, in a few lines."""
    missing, too_many = Counter(wanted) - Counter(there), Counter(there) - Counter(wanted)
    some = lambda rows: f"{rows.total()} rows, among them {list(rows)[:5]}"
    return f"of {len(wanted)} rows these are missing: {some(missing)}; these are there too often: {some(too_many)}"


def start_without_upstream(relay):
    relay.start(wait=False)
    relay.program.wait_for_stderr("listening on")
    return relay


# -- The upstream -----------------------------------------------------------------------------------------------


def test_what_is_in_the_log_is_served_while_the_upstream_is_away_even_by_a_new_process(source, follower, relay):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    follower.psql("CREATE DATABASE late")
    follower.psql(TARGET, "late")
    follow(follower, relay)
    subscribe(follower, relay, publications="log", name="late", dbname="late")
    write(source, 10)
    for database in ("postgres", "late"):
        wait_for_the_same_log(follower, source, database)
    follower.execute("ALTER SUBSCRIPTION sub DISABLE")
    follower.execute("ALTER SUBSCRIPTION late DISABLE", dbname="late")
    wait_for(lambda: not slots_in_use(relay))
    write(source, 1000)
    wait_for_all_received(relay, source)
    expected = source.value("SELECT count(*) FROM item_log")
    source.stop()

    follower.execute("ALTER SUBSCRIPTION sub ENABLE")
    follower.wait_until("SELECT count(*) FROM item_log", expected)
    relay.kill9()
    start_without_upstream(relay)
    follower.execute("ALTER SUBSCRIPTION late ENABLE", dbname="late")
    follower.wait_until("SELECT count(*) FROM item_log", expected, dbname="late")
    [[failed], [known]] = answers(relay, "SELECT 1"), answers(relay, "IDENTIFY_SYSTEM")
    assert failed[0] == "08006" and len(known) == 1

    source.start()
    write(source, 10)
    for database in ("postgres", "late"):
        wait_for_the_same_log(follower, source, database)


def test_whole_transactions_that_arrived_with_the_end_of_a_connection_come_once(source, follower, relay):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    follow(follower, relay)
    receiving = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    session = source.connect()
    for _ in range(15):
        source.wait_until(receiving, 1)
        with session.cursor() as cursor:
            cursor.execute("INSERT INTO item_log (what) VALUES ('first')")
            cursor.execute("INSERT INTO item_log (what) VALUES ('second')")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE state = 'streaming'")
    session.close()
    wait_for_the_same_log(follower, source)


def test_nothing_is_confirmed_that_a_kill_could_take_away(source, relay):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    write(source, 1)
    for _ in range(30):  # WAL without a change for the feed: only keepalives tell of it
        source.execute("SELECT pg_logical_emit_message(true, 'nothing', 'of interest')")
    wait_for_all_received(relay, source)
    source.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    wait_for(lambda: relay.program.stderr().count("receiving from") == 2)
    relay.kill9()
    relay.start()  # waits until it receives again


def test_large_transaction_that_is_cut_reaches_nobody_in_part(source, follower, relay, seed):
    choose = random.Random(seed)
    with Network(source) as network:
        relay.write_file({"log": (network, ["log"])})
        relay.start()
        create_slot(relay, "reader")
        follow(follower, relay)
        write(source, 1)
        wait_for_the_same_log(follower, source)
        with Recorder(relay, "reader", "log") as reader:
            wait_for(lambda: reader.transactions == 1)
            network.hold_after(choose.randrange(1_000_000, 10_000_000))
            write(source, LARGE, "large")
            assert network.held.wait(60)
            wait_for(lambda: len(reader.sessions[-1]["changes"]) > 1, describe="a part of it at the reader")
            network.cut()
            for _ in range(2):
                some = choose.randrange(LARGE // 2)
                wait_for(lambda: len(reader.sessions[-1]["changes"]) > some or reader.sessions[-1]["commits"] > 1)
                source.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
            wait_for(lambda: reader.sessions[-1]["commits"] >= 2, 60)
        wait_for_the_same_log(follower, source)
    sizes = [[] for _ in reader.sessions]
    for session, counted in zip(reader.sessions, sizes):
        ordinals = [change["ordinal"] for change in session["changes"]]
        begins = [place for place, ordinal in enumerate(ordinals) if ordinal == 1] + [len(ordinals)]
        counted += [end - begin for begin, end in zip(begins, begins[1:])]
        assert counted[: session["commits"]] == [1, LARGE][: session["commits"]], sizes
    assert sum(size not in (1, LARGE) for counted in sizes for size in counted) >= 1, "it was never cut in the middle"


# -- Killed at random -------------------------------------------------------------------------------------------


def test_whoever_is_killed_nothing_is_lost_and_nothing_is_applied_twice(nodes, version, follower, relay, seed):
    choose = random.Random(seed)
    source = nodes.primary("source", version=version, settings={"wal_level": "logical"}, durable=True)
    source.psql(SOURCE)
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    # What PostgreSQL's subscribers do not survive, whoever the publisher is: by default, an apply worker that has just
    # started takes for flushed what the worker before it applied; and where the answer to the drop of a slot is lost, the
    # copy of a table never comes to its end.
    follow(follower, relay, "synchronous_commit = on")
    follower.wait_until("SELECT srsubstate FROM pg_subscription_rel", "r")
    applied = lambda: follower.value("SELECT count(*) FROM item_log")
    victims = choose.choices(["relay", "upstream", "subscriber"], weights=[5, 2, 1], k=ROUNDS)
    print(victims)
    with Workload(source, seed), LargeTransactions(source, seed):
        for victim in victims:
            enough = applied() + choose.randrange(1, 5000)
            wait_for(lambda: applied() > enough, 60, lambda: f"progress after {victims}: {relay.program.finished()}")
            if victim == "relay":
                relay.kill9()
                start_without_upstream(relay)
            else:
                node = source if victim == "upstream" else follower
                node.kill9()
                node.start()
    wait_for_the_same_log(follower, source)


# -- Slow ones --------------------------------------------------------------------------------------------------


def test_client_that_reads_nothing_costs_the_others_nothing_and_is_given_up(source, follower, relay, directory):
    relay.write_file({"log": (source, ["log"])}, wal_sender_timeout='"2s"')
    relay.start()
    create_slot(relay, "stalled")
    follow(follower, relay)
    stalled = for_replication(relay)
    start = "START_REPLICATION SLOT stalled LOGICAL 0/0 (proto_version '1', publication_names 'log')"
    assert answer(stalled, start) == "it streams"
    for _ in range(3):
        write(source, 100, "x" * 200_000)  # more than all the buffers between them hold
    wait_for_the_same_log(follower, source)
    names = lambda: [row[5] for row in answers(relay, "SHOW pgcascade.sessions")[0]]
    wait_for(lambda: "stalled" not in names())
    assert slots(relay)["stalled"] is False
    stalled.close()
    changes = by_pg_recvlogical(relay, "stalled", "log", source.current_lsn(), directory)
    assert len(changes) == 300


# -- Its directory ----------------------------------------------------------------------------------------------


def last_entry(index_file):
    """Where the last record of an index begins, and where its frames begin and end in the segment; see
    docs/log_format.md."""
    index = index_file.read_bytes()
    position, preamble = struct.unpack_from(">8xQ8xI", index)
    at = len(index) - 52
    assert (at - 28 - preamble - 4) % 52 == 0
    begin, end = struct.unpack_from(">QQ", index, at)
    return at, begin - position, end - position


def overwrite(file, at, data):
    with open(file, "r+b") as opened:
        opened.seek(at)
        opened.write(data)


DAMAGES = {
    "frames cut": lambda frames, index, at, begin, end: os.truncate(frames, end - 1),
    "frames zeroed": lambda frames, index, at, begin, end: overwrite(frames, begin, bytes(end - begin)),
    "frames of nothing": lambda frames, index, at, begin, end: overwrite(frames, end, b"d\0\0\1\0garbage"),
    "record cut": lambda frames, index, at, begin, end: os.truncate(index, at + 20),
    "record zeroed": lambda frames, index, at, begin, end: overwrite(index, at, bytes(52)),
    "record of nothing": lambda frames, index, at, begin, end: overwrite(index, at + 52, b"\x5a" * 60),
}


def test_torn_tail_is_fetched_again_and_damage_below_it_is_refused(source, follower, relay):
    with DeafNetwork(source) as network:
        relay.write_file({"log": (network, ["log"])})
        relay.start()
        follow(follower, relay)
        write(source, 1)
        wait_for_the_same_log(follower, source)
        network.deafen()
        files = relay.directory / "data/feeds/log"
        for what, damage in DAMAGES.items():
            for _ in range(3):
                write(source, 5, what)
            wait_for_the_same_log(follower, source)
            relay.kill9()
            index = max(files.glob("*.index"))
            damage(index.with_suffix(".frames"), index, *last_entry(index))
            relay.start()
            assert "the end of the log" in relay.program.stderr(), what
        write(source, 5)
        wait_for_the_same_log(follower, source)

        second = relay.start_program("relay", relay.file).wait()
        assert second.code == 1 and "another relay works in" in second.stderr

    relay.stop()
    [index] = files.glob("*.index")
    frames = index.with_suffix(".frames")
    before = frames.read_bytes()
    overwrite(frames, 100, bytes([before[100] ^ 1]))
    refused = relay.start_program("relay", relay.file).wait()
    assert refused.code == 1
    assert re.search(re.escape(str(frames)) + r", offset \d+: the frames of an entry are damaged", refused.stderr)
    assert len(frames.read_bytes()) == len(before)
    overwrite(frames, 100, before[100:101])
    overwrite(index, 40, b"\xff")
    refused = relay.start_program("relay", relay.file).wait()
    assert refused.code == 1 and f"{index}, offset " in refused.stderr


def test_damage_to_what_was_settled_long_ago_ends_the_relay(source, relay):
    relay.write_file({"log": (source, ["log"])}, wal=source, max_bytes='"2 GB"')
    relay.start()
    for log in ("wal", "feed log"):
        relay.program.wait_for_stderr(f"{log}: receiving from")
    create_slot(relay, "held")
    for _ in range(3):
        write(source, 100_000, "x" * 500)
        source.execute("SELECT pg_switch_wal()")
    wait_for_all_received(relay, source)
    settled = [min((relay.directory / "data/feeds/log").glob("*.frames"))]
    settled += [min(file for file in (relay.directory / "data/wal").iterdir() if len(file.name) == 24)]
    relay.stop()
    for file in settled:
        with open(file, "rb") as opened:
            opened.seek(1_000_000)
            before = opened.read(1)
        overwrite(file, 1_000_000, bytes([before[0] ^ 1]))
        refused = relay.start_program("relay", relay.file).wait()
        assert refused.code == 1
        assert re.search(re.escape(str(file)) + r", offset \d+: .*though it was on disk", refused.stderr), refused.stderr
        overwrite(file, 1_000_000, before)
    relay.start()


def test_feed_whose_publications_were_changed_in_the_file_is_refused(source, relay):
    source.psql("CREATE PUBLICATION more FOR TABLE item")
    relay.write_file({"log": (source, ["log"])})
    relay.start().stop()
    relay.write_file({"log": (source, ["log", "more"])})
    refused = relay.start_program("relay", relay.file).wait()
    assert refused.code == 1
    assert "feed log: its log holds other publications than relay.toml asks for" in refused.stderr
