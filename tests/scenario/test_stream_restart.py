"""pgcascade stream: nothing is lost and, within one run, nothing is repeated, whatever is killed or restarted."""

import os
import random
import re
import signal

import psycopg2
import pytest

from change_lines import assert_in_commit_order, comparable, parse, without_repeats
from pgoutput_reader import by_pg_recvlogical, by_psycopg2
from waiting import wait_for
from workload import SCHEMA, Workload, large_transaction

LARGE = 40_000  # rows: twice what all the buffers between server and consumer hold


@pytest.fixture
def seed():
    """Printed where the test fails; PGCASCADE_TEST_SEED gives it again."""
    number = int(os.environ.get("PGCASCADE_TEST_SEED", random.randrange(1_000_000)))
    print(f"PGCASCADE_TEST_SEED={number}")
    return number


@pytest.fixture
def source(primary):
    """A primary with the workload's tables, the slot s and one for the oracle."""
    primary.psql(SCHEMA)
    for slot in ("s", "oracle"):
        primary.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    return primary


def arguments(node, *more):
    return ["stream", node.conninfo(), "--slot", "s", "--publication", "pub", "--status-interval", "0.05", *more]


def whole_lines(text):
    """A run that was killed may have left half a line at its end."""
    return [parse(line) for line in text.split("\n")[:-1]]


def last_change(expected):
    """A regex for the end of the line."""
    change = expected[-1]
    return f'"commit_lsn":"{change["commit_lsn"]}","xid":{change["xid"]},"ordinal":{change["ordinal"]},.*$'


# -- the program is killed -------------------------------------------------------------------------------------


def test_killed_at_random_moments_the_union_holds_every_transaction(pgcascade_background, source, directory, seed):
    choose = random.Random(seed)
    runs = []
    with Workload(source, seed):
        for _ in range(12):
            stream = pgcascade_background(*arguments(source))
            size = choose.randrange(200_000)
            wait_for(lambda: stream.stdout_file.stat().st_size >= size, describe=f"{size} bytes")
            stream.process.kill()
            stream.process.wait()
            runs.append(stream.stdout())
    expected = by_pg_recvlogical(source, "oracle", "pub", source.current_lsn(), directory)
    stream = pgcascade_background(*arguments(source))
    stream.wait_for_stdout(last_change(expected))
    assert stream.stop().code == 0
    runs.append(stream.stdout())

    changes = [change for run in runs for change in whole_lines(run)]
    assert comparable(without_repeats(changes)) == comparable(expected)
    for run in runs:
        assert_in_commit_order(whole_lines(run))
    repeats = len(changes) - len(expected)
    print(f"{len(expected)} changes, {repeats} of them came again")
    assert repeats < len(expected), "nothing was confirmed in between"


def test_a_file_is_continued_after_each_kill(pgcascade_background, source, directory, seed):
    choose = random.Random(seed)
    file = directory / "changes.json"
    file.touch()
    torn = choose.sample(range(12), 6)
    with Workload(source, seed):
        for round_number in range(12):
            size = file.stat().st_size + choose.randrange(200_000)
            stream = pgcascade_background(*arguments(source, "--output", file))
            wait_for(lambda: file.stat().st_size >= size, describe=f"{size} bytes in the file")
            stream.process.kill()
            stream.process.wait()
            # A full disk, or a crash of the machine, leaves half a line, which a kill by itself hardly ever does.
            if round_number in torn:
                with open(file, "ab") as half:
                    half.write(b'{"op":"insert","schema":"publ')
    expected = by_psycopg2(source, "oracle", "pub", source.current_lsn())
    stream = pgcascade_background(*arguments(source, "--output", file))
    wait_for(lambda: re.search(last_change(expected), file.read_text(), re.MULTILINE), describe="the last transaction in the file")
    assert stream.stop().code == 0
    assert stream.stdout() == ""
    assert comparable(without_repeats(whole_lines(file.read_text()))) == comparable(expected)


# -- the server goes away --------------------------------------------------------------------------------------


@pytest.fixture
def half_read(pgcascade_background, source):
    """A stream of which the reader has taken some lines of a large transaction; give it back to read on. Both pipes are
    full: the server is in the middle of that transaction."""

    def start(*more):
        stream = pgcascade_background(*arguments(source, *more), stdout=-1)
        large_transaction(source, LARGE)
        taken = [stream.process.stdout.readline() for _ in range(1000)]
        return stream, taken

    return start


def read_to_the_end(stream, lines, source, directory):
    """All that the one run printed is what the oracle sees: nothing missing, nothing twice."""
    expected = by_pg_recvlogical(source, "oracle", "pub", source.current_lsn(), directory)
    lines += [stream.process.stdout.readline() for _ in range(len(expected) - len(lines))]
    assert comparable(parse(line) for line in lines) == comparable(expected)
    assert stream.stop().code == 0
    assert stream.process.stdout.read() == b"", "something came twice"


def test_a_crash_of_the_server_within_a_transaction(half_read, source, directory):
    stream, lines = half_read()
    source.stop("immediate")
    source.start()
    large_transaction(source, 10, first_id=1)
    read_to_the_end(stream, lines, source, directory)
    assert "trying again" in stream.stderr()
    assert "connected again" in stream.stderr()


def test_a_fast_restart_of_the_server_within_a_transaction(half_read, source, directory):
    stream, lines = half_read()
    pid = source.pid()
    os.kill(pid, signal.SIGINT)
    # A clean shutdown waits for the walsender, and that for the reader.
    lines += [stream.process.stdout.readline() for _ in range(LARGE - len(lines))]
    wait_for(lambda: not source.is_running(), describe="the server to stop")
    source.start()
    large_transaction(source, 10, first_id=1)
    read_to_the_end(stream, lines, source, directory)


def test_a_walsender_that_is_terminated_again_and_again(half_read, source, directory, seed):
    choose = random.Random(seed)
    stream, lines = half_read()
    walsender = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'"
    for _ in range(3):
        lines += [stream.process.stdout.readline() for _ in range(choose.randrange(1, LARGE // 20))]
        terminated = source.value(walsender)
        source.execute("SELECT pg_terminate_backend(%s)", terminated)
        # Only once all that was under way is read does the program find out.
        while len(lines) < LARGE and source.value(walsender) in (None, terminated):
            lines += [stream.process.stdout.readline() for _ in range(500)]
    assert "connected again" in stream.stderr()
    read_to_the_end(stream, lines, source, directory)


def test_restarts_under_load_lose_nothing_and_repeat_nothing(pgcascade_background, source, directory, seed):
    choose = random.Random(seed)
    stream = pgcascade_background(*arguments(source))
    source.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = 's'")
    with Workload(source, seed) as workload:
        for mode in ["fast", "immediate", "immediate", "fast"]:
            before = workload.committed
            wait_for(lambda: workload.committed >= before + choose.randrange(20, 100), describe="some transactions")
            source.stop(mode)
            source.start()
    expected = by_pg_recvlogical(source, "oracle", "pub", source.current_lsn(), directory)
    stream.wait_for_stdout(last_change(expected))
    assert stream.stop().code == 0
    assert comparable(whole_lines(stream.stdout())) == comparable(expected)


@pytest.mark.at_least(18)  # half a minute: what it proves is ours alone
def test_a_server_that_falls_silent_is_left_and_found_again(pgcascade_background, source):
    """As when a machine dies or a network breaks: nothing says that the connection is gone."""
    source.configure({"wal_sender_timeout": "1s"})
    stream = pgcascade_background(*arguments(source))
    source.wait_until("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1)
    walsender = source.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'")
    os.kill(walsender, signal.SIGSTOP)
    try:
        stream.wait_for_stderr("has been silent for .*trying again", timeout=60)
        stream.wait_for_stderr("in use by pid .*trying again")  # by the one that is stopped
    finally:
        os.kill(walsender, signal.SIGCONT)
    large_transaction(source, 1)
    stream.wait_for_stdout('"id":1000000000')
    assert stream.stop().code == 0


def test_without_reconnect_the_end_of_the_server_is_the_end(pgcascade_background, source):
    stream = pgcascade_background(*arguments(source, "--no-reconnect"))
    source.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = 's'")
    source.stop("fast")
    done = stream.wait()
    assert done.code == 1
    assert "trying again" not in done.stderr
    assert "error: " in done.stderr


# -- what can't heal is told at once ---------------------------------------------------------------------------


@pytest.fixture
def running(pgcascade_background, source):
    stream = pgcascade_background(*arguments(source))
    source.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = 's'")
    return stream


def terminate_and(source, statement):
    """Ends the walsender and runs the statement before the program is back; else again."""

    def done():
        try:
            source.execute("SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE slot_name = 's'")
            source.execute(statement)
            return True
        except psycopg2.errors.ObjectInUse:
            return False

    wait_for(done, describe=statement)


def test_a_slot_that_was_dropped_meanwhile(running, source):
    terminate_and(source, "SELECT pg_drop_replication_slot('s')")
    done = running.wait()
    assert done.code == 1
    assert 'there is no slot "s"' in done.stderr
    assert "make it with --create-slot" in done.stderr


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(["SELECT pg_replication_slot_advance('s', pg_current_wal_insert_lsn())"], id="advanced"),
        pytest.param(
            ["SELECT pg_drop_replication_slot('s')", "SELECT pg_create_logical_replication_slot('s', 'pgoutput')"],
            id="made anew",
        ),
    ],
)
def test_a_slot_that_moved_past_the_stream_meanwhile(running, source, statements):
    os.kill(running.process.pid, signal.SIGSTOP)
    source.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 's'")
    source.wait_until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 's'")
    source.execute("INSERT INTO item VALUES (1, 1, 'nobody will stream this')")
    for statement in statements:
        source.execute(statement)
    os.kill(running.process.pid, signal.SIGCONT)
    done = running.wait()
    assert done.code == 1
    assert 'slot "s" stands at' in done.stderr and "does not come any more" in done.stderr
    assert "connected again" not in done.stderr


def test_a_password_that_was_changed_meanwhile(pgcascade_background, source):
    source.execute("CREATE ROLE reader LOGIN REPLICATION PASSWORD 'before'")
    arguments_ = ["stream", source.conninfo(user="reader", password="before"), "-S", "s", "-P", "pub"]
    stream = pgcascade_background(*arguments_)
    source.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = 's'")
    source.execute("ALTER ROLE reader PASSWORD 'after'")
    source.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 's'")
    done = stream.wait()
    assert done.code == 1
    assert "password authentication failed" in done.stderr
    assert "before" not in done.stderr


def test_another_cluster_in_place_of_the_first(pgcascade_background, nodes, source, version):
    stream = pgcascade_background(*arguments(source))
    source.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = 's'")
    source.stop("fast")
    # Clusters of one template would share its system identifier.
    other = nodes.primary("other", version=version, settings={"wal_level": "logical"}, initdb_arguments=["--wal-segsize=8"])
    other.psql(SCHEMA)
    other.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    other.stop()
    other.append_conf({"port": source.port})
    other.start()
    done = stream.wait()
    assert done.code == 1
    assert "another cluster" in done.stderr


def test_a_publication_that_is_dropped_meanwhile(running, source, version):
    source.execute("DROP PUBLICATION pub")
    source.execute("INSERT INTO item VALUES (1, 1, 'x')")
    if version >= 18:  # there the server only warns
        running.wait_for_stderr('publication "pub"')
        source.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 's'")
    done = running.wait()
    assert done.code == 1
    assert 'publication "pub" does not exist' in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.at_most(17)
def test_a_publication_younger_than_the_slot(pgcascade_background, source):
    source.execute("SELECT pg_create_logical_replication_slot('old', 'pgoutput')")
    source.execute("INSERT INTO item VALUES (1, 1, 'x')")
    source.execute("CREATE PUBLICATION young FOR TABLE item")
    done = pgcascade_background("stream", source.conninfo(), "-S", "old", "-P", "young").wait()
    assert done.code == 1
    assert 'publication "young" does not exist' in done.stderr
    assert "older than the publication" in done.stderr
