"""pgcascade relay, stopped: who streams gets what there is and has it confirmed; whoever else is told, and delays nothing."""

import contextlib
import os
import random
import select
import signal
import struct
import time

import pytest

from pgoutput_reader import by_pg_recvlogical
from relay_clients import (
    RawSession,
    RecvLogical,
    address_of,
    cancel,
    create_slot,
    error_fields,
    shown,
    slots,
    wait_for_all_received,
)
from relay_wal import lsn, standby_behind, wait_for_wal
from test_relay import relay  # noqa: F401 (fixture)
from test_relay_faults import follow, follower, log_relay, seed, source, wait_for_the_same_log, write  # noqa: F401 (fixtures)
from test_relay_wal import TABLE, fill, same_table, wait_for_items
from waiting import wait_for

START = "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'log')"
PATIENCE_S = 10  # of the relay, with a client that does not confirm what it was sent
TERMINATED = ("57P01", "terminating connection due to administrator command")


@contextlib.contextmanager
def paused(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def begin_to_stop(relay):
    """Returns once it has begun."""
    relay.program.process.send_signal(signal.SIGTERM)
    relay.program.wait_for_stderr("stopping")


def last_words(session):
    """(SQLSTATE, text) of the error that is the last message before the connection's end."""
    last = None
    with contextlib.suppress(EOFError):
        while True:
            last = session.read_message()
    assert last[0] == b"E", last
    fields = error_fields(last[1])
    assert fields["S"] == "FATAL"
    return fields["C"], fields["M"]


# -- Who streams ------------------------------------------------------------------------------------------------


def test_who_streams_gets_and_confirms_all_there_is_before_the_relay_ends(source, follower, relay, directory):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    follow(follower, relay)
    create_slot(relay, "tool")
    write(source, 1)
    wait_for_the_same_log(follower, source)
    worker = follower.value("SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL AND relid IS NULL")
    with RecvLogical(relay, "tool", "log", directory) as tool:
        wait_for(lambda: slots(relay) == {"sub": True, "tool": True})
        with paused(worker), paused(tool.process.pid):
            write(source, 300, "x" * 100_000)
            wait_for_all_received(relay, source)
            until = source.current_lsn()
            begin_to_stop(relay)
            assert relay.program.process.poll() is None
        relay.program.wait().expect(0)
        assert "unexpected termination" not in tool.wait()
        assert len(tool.changes()) == 301
    wait_for_the_same_log(follower, source)

    # The slots stand at the end: nothing comes a second time.
    follower.execute("ALTER SUBSCRIPTION sub DISABLE")
    relay.start()
    positions = [row[8] for row in shown(relay, "pgcascade.slots")]
    assert len(positions) == 2 and all(lsn(position) >= lsn(until) for position in positions), (positions, until)
    assert by_pg_recvlogical(relay, "tool", "log", source.current_lsn(), directory) == []


def test_standby_gets_all_there_is_before_the_relay_ends(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu")
    with paused(standby.value("SELECT pid FROM pg_stat_wal_receiver")):
        fill(primary, 1, 300_000)
        target = wait_for_wal(relay, primary)
        begin_to_stop(relay)
        assert relay.program.process.poll() is None
    relay.program.wait().expect(0)
    wait_for_items(standby, 300_000)
    assert same_table(standby, primary)
    primary.stop("immediate")
    relay.start(wait=False)
    relay.program.wait_for_stderr("listening on")
    [[_, *row]] = shown(relay, "pgcascade.slots")
    assert lsn(row[6]) >= lsn(target)


def ending(session):
    """What a client that confirms everything when it is asked is sent up to the end, but for the asking."""
    seen = []
    with contextlib.suppress(EOFError):
        while True:
            kind, body = session.read_message()
            if kind == b"d" and body[:1] == b"k":
                if body[17]:
                    session.confirm(struct.unpack_from("!Q", body, 1)[0])
            else:
                seen.append((kind, body))
    return seen


def test_stream_ends_as_a_walsender_ends_it(log_relay):
    create_slot(log_relay)
    with RawSession(address_of(log_relay)) as session:
        session.log_in()
        session.stream(START)
        begin_to_stop(log_relay)
        assert ending(session) == [(b"C", b"COPY 0\0")]
    log_relay.program.wait().expect(0)


@pytest.mark.at_most(15)  # whatever the version is: it takes its time
def test_client_that_confirms_nothing_is_waited_for_only_so_long(source, log_relay):
    create_slot(log_relay)
    with RawSession(address_of(log_relay)) as silent:
        silent.log_in()
        silent.stream(START)
        write(source, 1)
        wait_for_all_received(log_relay, source)
        began = time.monotonic()
        log_relay.stop().expect(0)
        assert time.monotonic() - began >= PATIENCE_S


# -- Who does not -----------------------------------------------------------------------------------------------


def test_sessions_that_do_not_stream_are_told_and_delay_nothing(source, relay, directory):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    create_slot(relay, "busy")
    with contextlib.ExitStack() as sessions:
        tool = sessions.enter_context(RecvLogical(relay, "busy", "log", directory))
        wait_for(lambda: slots(relay) == {"busy": True})
        others = [sessions.enter_context(RawSession(address_of(relay))) for _ in range(5)]
        for session in others:
            session.log_in()
        _, dropping, running, copying, copying_in = others
        dropping.query("DROP_REPLICATION_SLOT busy WAIT")
        running.query("SELECT 'not done', pg_sleep(600)")
        copying.query("COPY (SELECT pg_sleep(600)) TO STDOUT")
        copying_in.query("COPY item_log FROM STDIN")
        copying_in.read_until(b"G")
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(600)%%' AND pid <> pg_backend_pid()"
        source.wait_until(sleeping, 2)
        began = time.monotonic()
        relay.stop().expect(0)
        assert time.monotonic() - began < PATIENCE_S, "something was waited for that could not end"
        for session in others:
            assert last_words(session) == TERMINATED
        source.wait_until(sleeping, 0)
        tool.wait()
    relay.start()
    assert slots(relay) == {"busy": False}


@pytest.mark.at_most(15)  # nothing in it is the version's
def test_standby_that_waits_for_wal_of_the_future_is_told(primary, relay):
    relay.write_file(wal=primary)
    relay.start()
    wait_for_wal(relay, primary)
    with RawSession(address_of(relay)) as ahead, RawSession(address_of(relay)) as cancelled:
        for session in (ahead, cancelled):
            key = next(body for kind, body in session.log_in(replication="true") if kind == b"K")
            session.query("START_REPLICATION PHYSICAL FFFF/0")
        wait_for(lambda: cancel(relay, key) or select.select([cancelled.socket], [], [], 0)[0])
        assert [error_fields(body)["C"] for kind, body in cancelled.read_until(b"Z") if kind == b"E"] == ["57014"]
        relay.stop().expect(0)
        assert last_words(ahead) == TERMINATED


@pytest.mark.at_most(15)  # nothing in it is the version's
def test_what_is_done_is_answered_before_the_relay_ends(log_relay, seed):
    """A subscriber that is not told that its slot has been dropped asks for that slot for ever."""
    choose = random.Random(seed)
    names = [f"s{number:02}" for number in range(40)]
    for _ in range(5):
        for name in sorted(set(names) - set(slots(log_relay))):
            create_slot(log_relay, name)
        answers = choose.randrange(len(names) // 2)
        with RawSession(address_of(log_relay)) as session:
            session.log_in()
            for name in names:
                session.query(f"DROP_REPLICATION_SLOT {name}")
            for _ in range(answers):
                session.read_until(b"Z")
            log_relay.program.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(EOFError, ConnectionResetError):  # reset: what it still asked for goes unread
                while True:
                    answers += session.read_message()[0] == b"Z"
        log_relay.program.wait().expect(0)
        log_relay.start()
        assert sorted(slots(log_relay)) == names[answers:]
