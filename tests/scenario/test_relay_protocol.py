"""pgcascade relay, message by message: streams are cancelled, asked, pinged, and ended as by a server."""

import struct
import time

import pytest

from relay_clients import (
    RawSession,
    address_of,
    answer,
    answers,
    cancel,
    create_slot,
    error_fields,
    for_replication,
    slots,
    slots_in_use,
    wait_for_all_received,
)
from relay_wal import create_physical_slot, lsn, physically, wait_for_wal, wal_of
from test_relay import relay  # noqa: F401 (fixture)
from test_relay_faults import follow, follower, log_relay, source, wait_for_the_same_log, write  # noqa: F401 (fixtures)
from test_relay_wal import TABLE, fill, wait_for_items
from waiting import wait_for

START = "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'log')"


def session_of(node, **parameters):
    """A RawSession that has logged in, and what it was told then."""
    session = RawSession(address_of(node))
    session.welcome = dict(session.log_in(**parameters))
    return session


def without_data(messages):
    return [(kind, body) for kind, body in messages if kind != b"d"]


def said(messages):
    """What can be compared: of errors the SQLSTATE and the text."""
    alike = []
    for kind, body in messages:
        if kind == b"E":
            fields = error_fields(body)
            body = (fields["S"], fields["C"], fields["M"])
        alike.append((kind, body))
    return alike


def still_answers(session):
    kinds = [kind for kind, _ in session.ask("IDENTIFY_SYSTEM")]
    return kinds == [b"T", b"D", b"C", b"Z"]


# -- Cancelling -------------------------------------------------------------------------------------------------

CANCELED = ("ERROR", "57014", "canceling statement due to user request")


def test_stream_is_cancelled_as_that_of_a_server_and_the_session_goes_on(source, log_relay):
    for node in (log_relay, source):
        create_slot(node)
        with session_of(node) as session:
            session.stream(START)
            cancel(node, session.welcome[b"K"])
            assert said(without_data(session.read_until(b"Z"))) == [(b"E", CANCELED), (b"Z", b"I")], node
            assert still_answers(session)
            session.stream(START)
    wait_for(lambda: not slots_in_use(log_relay))


def test_wait_for_a_slot_is_cancelled_and_the_slot_stays(source, log_relay):
    for node in (log_relay, source):
        create_slot(node)
        with session_of(node) as holder, session_of(node) as session:
            holder.stream(START)
            session.query("DROP_REPLICATION_SLOT s WAIT")
            wait_until_it_waits(node)
            cancel(node, session.welcome[b"K"])
            assert said(session.read_until(b"Z")) == [(b"E", CANCELED), (b"Z", b"I")], node
            assert still_answers(session)
    wait_for(lambda: slots(log_relay) == {"s": False})


def wait_until_it_waits(node):
    if hasattr(node, "socket_directory"):
        node.wait_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ReplicationSlotDrop'", 1)


def test_psycopg2_goes_on_after_it_has_cancelled_its_stream(source, log_relay):
    create_slot(log_relay)
    connection = for_replication(log_relay)
    assert answer(connection, START) == "it streams"
    connection.cancel()
    cursor = connection.cursor()

    def is_cancelled():
        try:
            cursor.read_message()
        except Exception as problem:
            return problem

    assert wait_for(is_cancelled).pgcode == "57014"
    assert answer(connection, "IDENTIFY_SYSTEM")[0][3] == "postgres"
    connection.close()


def test_only_who_knows_the_key_cancels(source, log_relay):
    create_slot(log_relay)
    with session_of(log_relay) as session:
        session.stream(START)
        pid, key = session.welcome[b"K"][:4], session.welcome[b"K"][4:]
        cancel(log_relay, pid + bytes([key[0] ^ 1]) + key[1:])
        session.confirm(0, reply=True)
        session.read_keepalive()
        assert slots(log_relay) == {"s": True}


# -- Keepalives -------------------------------------------------------------------------------------------------


def test_client_is_asked_whether_it_lives_and_one_that_says_nothing_is_given_up(source, relay):
    relay.write_file({"log": (source, ["log"])}, wal_sender_timeout='"2s"')
    relay.start()
    create_slot(relay)
    with session_of(relay) as session:
        spoke = time.monotonic()
        session.stream(START)
        for _ in range(4):
            position = session.read_keepalive(reply_requested=True)
            assert time.monotonic() - spoke > 0.9, "it is asked after half the time-out"
            spoke = time.monotonic()
            session.confirm(position)
        session.read_keepalive(reply_requested=True)
        assert session.is_closed()
        assert time.monotonic() - spoke > 1.9
    wait_for(lambda: slots(relay) == {"s": False})
    assert "terminating walsender process due to replication timeout" in relay.program.stderr()


def test_reply_is_sent_at_once_to_who_requests_one(source, log_relay):
    write(source, 1)
    wait_for_all_received(log_relay, source)
    for node in (log_relay, source):
        create_slot(node)
        with session_of(node) as session:
            session.stream(START)
            began = time.monotonic()
            for _ in range(5):
                session.confirm(0, reply=True)
                session.read_keepalive()
            assert time.monotonic() - began < 10, "half of wal_sender_timeout is 30 s"


def test_client_learns_at_once_where_an_idle_feed_stands(source, log_relay):
    create_slot(log_relay)
    write(source, 1)
    wait_for_all_received(log_relay, source)
    received = lsn(source.current_lsn())
    with session_of(log_relay) as session:
        session.stream(START)
        while session.read_message()[1][25:26] != b"C":
            pass
        session.confirm(received)
    wait_for(lambda: slots(log_relay) == {"s": False})
    with session_of(log_relay) as session:
        session.stream(START)
        assert session.read_keepalive() >= received  # with nothing to be sent


def test_slot_of_an_idle_subscription_moves_on_with_the_wal_of_others(source, follower, log_relay):
    follow(follower, log_relay)
    write(source, 1)
    wait_for_the_same_log(follower, source)
    source.execute("INSERT INTO item SELECT i, i, repeat('x', 100) FROM generate_series(1, 10000) i")
    target = source.current_lsn()
    position = lambda: answers(log_relay, "SHOW pgcascade.slots")[0][0][8]
    wait_for(lambda: lsn(position()) >= lsn(target), describe=lambda: f"{position()} to reach {target}")


SLOWLY = """
    CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.007); RETURN NEW; END $$;
    CREATE TRIGGER slowly BEFORE INSERT ON item_log FOR EACH ROW EXECUTE FUNCTION take_time();
    ALTER TABLE item_log ENABLE ALWAYS TRIGGER slowly;
"""


# It is asked within the transaction, and answers once it has applied what lay before the question in the sockets' buffers:
# that must take less than half the time-out, here and with a server.
def test_subscriber_that_applies_a_large_transaction_slowly_is_not_given_up(source, follower, relay):
    relay.write_file({"log": (source, ["log"])}, wal_sender_timeout='"5s"')
    relay.start()
    follow(follower, relay)
    follower.wait_until("SELECT srsubstate FROM pg_subscription_rel", "r")
    follower.psql(SLOWLY)
    began = time.monotonic()
    write(source, 1000, "x" * 40_000)
    applied = lambda: follower.value("SELECT count(*) FROM item_log")
    wait_for(lambda: applied() == 1000 or "replication timeout" in relay.program.stderr(), 60)
    assert "replication timeout" not in relay.program.stderr()
    assert time.monotonic() - began > 5, "it was not slow"


# -- The stream's end -------------------------------------------------------------------------------------------


def test_logical_stream_ends_both_ways_as_that_of_a_server(source, log_relay):
    ends = []
    for node in (log_relay, source):
        create_slot(node)
        with session_of(node) as session:
            session.stream(START)
            session.send(b"c", b"")
            ends.append(without_data(session.read_until(b"Z")))
            assert still_answers(session)
            session.stream(START)  # which a server takes for one that has been ended already
    assert [kind for kind, _ in ends[0]] == [b"c", b"C", b"C", b"Z"]
    assert ends[0] == ends[1]


def physical_session(node):
    return session_of(node, replication="true", database="")


@pytest.fixture
def wal_relay(primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    return relay.start()


def test_physical_stream_ends_both_ways_as_that_of_a_server(primary, wal_relay):
    start = wait_for_wal(wal_relay, primary)
    ends = []
    for node in (wal_relay, primary):
        with physical_session(node) as session:
            for _ in range(2):
                session.stream(f"START_REPLICATION PHYSICAL {start} TIMELINE 1")
                session.send(b"c", b"")
                ends.append(without_data(session.read_until(b"Z")))
            assert still_answers(session)
    assert [kind for kind, _ in ends[0]] == [b"c", b"C", b"C", b"Z"]
    assert all(end == ends[0] for end in ends)


def wal_in(messages):
    return b"".join(body[25:] for kind, body in messages if kind == b"d" and body[:1] == b"w")


def test_stream_of_an_old_timeline_ends_where_it_does_on_a_server(nodes, primary, relay):
    primary.execute(TABLE)
    promoted = nodes.standby("promoted", primary, settings={"wal_keep_size": "256MB"})
    relay.write_file(wal=promoted)
    relay.start()
    create_physical_slot(relay, "held")
    fill(primary, 1, 10)
    primary.wait_for_catchup(promoted)
    begin = wal_of(relay)["begin"]
    promoted.promote()
    fill(promoted, 11, 20)
    wait_for_wal(relay, promoted)
    [[(_, history)]] = physically(relay, "TIMELINE_HISTORY 2")
    switch = history.split()[1]
    answered, streamed = [], []
    for node in (relay, promoted):
        with physical_session(node) as session:
            answered.append(session.ask(f"START_REPLICATION PHYSICAL {switch} TIMELINE 1"))
            session.stream(f"START_REPLICATION PHYSICAL {begin} TIMELINE 1")
            messages = session.read_until(b"c")
            session.send(b"c", b"")
            messages += session.read_until(b"Z")
            streamed.append((wal_in(messages), without_data(messages)))
            assert still_answers(session)
    assert answered[0] == answered[1]
    assert [kind for kind, _ in answered[0]] == [b"T", b"D", b"C", b"C", b"Z"]
    assert len(streamed[0][0]) == lsn(switch) - lsn(begin)
    assert streamed[0] == streamed[1]
    assert streamed[0][1][1:] == answered[0]


ERRORS_OF_STREAMS = [
    "START_REPLICATION PHYSICAL 7FFFFFFF/0 TIMELINE 1",
    "START_REPLICATION PHYSICAL 0/10000 TIMELINE 1",
    "START_REPLICATION SLOT none 0/1000000",
]


def test_error_in_a_stream_leaves_the_session_as_with_a_server(primary, wal_relay):
    wait_for_wal(wal_relay, primary)
    both = []
    for node in (wal_relay, primary):
        with physical_session(node) as session:
            both.append([said(without_data(session.ask(command))) for command in ERRORS_OF_STREAMS])
            assert still_answers(session)
    for command, by_relay, by_server in zip(ERRORS_OF_STREAMS, *both):
        where = " of this server "  # how far each of them is, follows
        cut = lambda heard: [(kind, body[2].partition(where)[0] if kind == b"E" else body) for kind, body in heard]
        assert cut(by_relay) == cut(by_server), command
