"""pgcascade stream: what it prints is what independent readers see on a slot of their own, and what is in the tables."""

import json
import os
import signal
import subprocess

import pytest

from change_lines import as_text, assert_in_commit_order, comparable, lsn_number, parse, tables_after
from pgoutput_reader import by_pg_recvlogical, by_psycopg2
from server_programs import give_to_server_account
from waiting import wait_for
from workload import SCHEMA, Workload


def make_slots(node, *slots, dbname="postgres"):
    for slot in slots:
        node.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot, dbname=dbname)


def confirmed(node, slot="s"):
    """The slot's confirmed_flush_lsn as a number."""
    return lsn_number(
        node.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s", slot)
    )


def stream_all(pgcascade, node, *more, until=None, slot="s", publication="pub", dbname="postgres"):
    """The changes up to `until`, else up to now; the program ends by itself."""
    until = until or node.current_lsn()
    run = pgcascade(
        "stream", node.conninfo(dbname), "--slot", slot, "--publication", publication, "--until", until, *more
    )
    return [parse(line) for line in run.expect(0).stdout.splitlines()]


# -- what comes ------------------------------------------------------------------------------------------------

EVERY_KIND = r'''
    CREATE TABLE plain (id int PRIMARY KEY, t text, flag bool, num numeric, at timestamptz, j jsonb);
    CREATE TABLE toasted (id int PRIMARY KEY, big text, n int);
    ALTER TABLE toasted ALTER COLUMN big SET STORAGE EXTERNAL;
    CREATE TABLE full_identity (a int, b text, big text);
    ALTER TABLE full_identity REPLICA IDENTITY FULL;
    CREATE TABLE index_identity (a int NOT NULL, b text NOT NULL, c int);
    CREATE UNIQUE INDEX index_identity_b ON index_identity (b);
    ALTER TABLE index_identity REPLICA IDENTITY USING INDEX index_identity_b;
    CREATE TABLE no_identity (a int);
    CREATE SCHEMA "O'Brien ""x""";
    CREATE TABLE "O'Brien ""x"""."Ta ble" ("Sch""lüssel" int PRIMARY KEY, "a,b" text);
    CREATE TABLE measured (id int, day date, value int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
    CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
'''

EVERY_CHANGE = [
    "INSERT INTO plain VALUES (1, E'line\\nfeed \"quoted\" \\\\', true, 12345678901234567890.5, '2024-05-01 12:00+00', '{\"a\": [1]}')",
    "INSERT INTO plain VALUES (2, NULL, NULL, NULL, NULL, NULL), (3, '', false, 'NaN', 'infinity', '[]')",
    "UPDATE plain SET t = 'changed' WHERE id = 1",
    "UPDATE plain SET id = 10 WHERE id = 2",
    "DELETE FROM plain WHERE id = 3",
    "INSERT INTO toasted SELECT 1, string_agg(md5(i::text), ''), 0 FROM generate_series(1, 500) AS i",
    "UPDATE toasted SET n = 1",
    "UPDATE toasted SET big = NULL",
    "INSERT INTO full_identity VALUES (1, 'x', NULL), (2, NULL, NULL)",
    "UPDATE full_identity SET b = 'y' WHERE a = 2",
    "DELETE FROM full_identity WHERE a = 1",
    "INSERT INTO index_identity VALUES (1, 'k1', 1), (2, 'k2', 2)",
    "UPDATE index_identity SET c = 3 WHERE a = 1",
    "UPDATE index_identity SET b = 'k3' WHERE a = 2",
    "DELETE FROM index_identity WHERE a = 1",
    "INSERT INTO no_identity VALUES (1), (2)",
    "INSERT INTO \"O'Brien \"\"x\"\"\".\"Ta ble\" VALUES (1, 'ä')",
    "INSERT INTO measured VALUES (1, '2024-01-15', 10), (2, '2024-02-15', 20)",
    "UPDATE measured SET value = 11 WHERE id = 1",
    "UPDATE measured SET day = '2024-02-20' WHERE id = 1",
    "ALTER TABLE plain ADD COLUMN extra text DEFAULT 'd'",
    "INSERT INTO plain (id, extra) VALUES (20, 'e')",
    "ALTER TABLE plain DROP COLUMN t",
    "UPDATE plain SET extra = 'f' WHERE id = 20",
    "BEGIN; ALTER TABLE plain RENAME COLUMN extra TO more; INSERT INTO plain (id, more) VALUES (21, 'g'); COMMIT",
    "BEGIN; INSERT INTO plain (id) VALUES (30); SAVEPOINT a; INSERT INTO plain (id) VALUES (31); "
    "ROLLBACK TO a; INSERT INTO plain (id) VALUES (32); COMMIT",
    "BEGIN; INSERT INTO plain (id) VALUES (40); ROLLBACK",
    "TRUNCATE plain, toasted RESTART IDENTITY",
    "SELECT pg_logical_emit_message(true, 'p', 'transactional')",
    "SELECT pg_logical_emit_message(false, 'p', 'not transactional')",
    "INSERT INTO no_identity VALUES (3)",  # its commit flushes the message too
]


@pytest.mark.parametrize("oracle", [by_pg_recvlogical, by_psycopg2])
def test_every_kind_of_change_is_what_an_independent_reader_sees(pgcascade, primary, directory, oracle):
    primary.psql(EVERY_KIND)
    primary.execute('CREATE PUBLICATION "my, ""pub" FOR ALL TABLES WITH (publish_via_partition_root = true)')
    make_slots(primary, "s", "oracle")
    primary.psql(";\n".join(EVERY_CHANGE))

    until = primary.current_lsn()
    publication = '"my, ""pub"'
    expected = oracle(primary, "oracle", publication, until, directory, messages=True)
    ours = stream_all(pgcascade, primary, "--messages", publication=publication)
    rows = [change for change in ours if change["op"] != "message"]
    assert comparable(rows) == comparable([change for change in expected if change["op"] != "message"])
    assert [(m["prefix"], m["content"], m["transactional"]) for m in ours if m["op"] == "message"] == [
        ("p", "transactional", True),
        ("p", "not transactional", False),
    ]
    assert_in_commit_order(rows)

    toasted = [change for change in ours if change.get("table") == "toasted"]
    assert len(toasted[0]["new"]["big"]) == 16_000
    assert toasted[1]["unchanged"] == ["big"] and "big" not in toasted[1]["new"]
    assert toasted[2]["new"]["big"] is None
    assert {change["table"] for change in ours if "measured" in change.get("table", "")} == {"measured"}
    assert [c["new"].keys() for c in rows if c.get("new", {}).get("id") in ("20", "21")] == [
        {"id": 0, "t": 0, "flag": 0, "num": 0, "at": 0, "j": 0, "extra": 0}.keys(),
        {"id": 0, "flag": 0, "num": 0, "at": 0, "j": 0, "extra": 0}.keys(),
        {"id": 0, "flag": 0, "num": 0, "at": 0, "j": 0, "more": 0}.keys(),
    ]


@pytest.mark.at_least(18)
def test_generated_columns_come_where_the_publication_says_so(pgcascade, primary):
    primary.psql("CREATE TABLE g (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    primary.psql("CREATE PUBLICATION pub FOR TABLE g WITH (publish_generated_columns = stored)")
    primary.psql("CREATE PUBLICATION without FOR TABLE g")
    make_slots(primary, "s", "s2")
    primary.execute("INSERT INTO g VALUES (21)")
    assert [c["new"] for c in stream_all(pgcascade, primary)] == [{"id": "21", "twice": "42"}]
    assert [c["new"] for c in stream_all(pgcascade, primary, slot="s2", publication="without")] == [{"id": "21"}]


def test_partitions_are_named_where_the_publication_does_not_ask_for_the_root(pgcascade, primary):
    primary.psql(EVERY_KIND)
    primary.execute("CREATE PUBLICATION pub FOR TABLE measured")
    make_slots(primary, "s")
    primary.execute("INSERT INTO measured VALUES (1, '2024-01-15', 10), (2, '2024-02-15', 20)")
    assert [change["table"] for change in stream_all(pgcascade, primary)] == ["measured_1", "measured_2"]


def test_several_publications_and_another_database(pgcascade, primary):
    primary.execute("CREATE DATABASE shop")
    for table in "abc":
        primary.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)", dbname="shop")
        primary.execute(f"CREATE PUBLICATION pub_{table} FOR TABLE {table}", dbname="shop")
    make_slots(primary, "s", dbname="shop")
    for table in "abc":
        primary.execute(f"INSERT INTO {table} VALUES (1)", dbname="shop")
    changes = stream_all(pgcascade, primary, publication="pub_a,pub_c", dbname="shop")
    assert [change["table"] for change in changes] == ["a", "c"]


def test_a_random_workload_streamed_while_it_runs(pgcascade_background, primary, directory):
    primary.psql(SCHEMA)
    make_slots(primary, "s", "oracle")
    stream = pgcascade_background("stream", primary.conninfo(), "-S", "s", "-P", "pub", "--transactions")
    with Workload(primary, seed=1) as workload:
        wait_for(lambda: workload.committed > 300, describe="300 transactions")
    until = primary.current_lsn()
    expected = by_pg_recvlogical(primary, "oracle", "pub", until, directory)
    last = json.dumps(expected[-1]["commit_lsn"])
    stream.wait_for_stdout(f'"op":"commit","commit_lsn":{last}')
    assert stream.stop().code == 0

    lines = [parse(line) for line in stream.lines()]
    changes = [change for change in lines if "ordinal" in change]
    assert comparable(changes) == comparable(expected)
    begins = [change["commit_lsn"] for change in lines if change["op"] == "begin"]
    assert begins == [change["commit_lsn"] for change in lines if change["op"] == "commit"]
    for table, rows in tables_after(changes).items():
        there = {as_text(row["id"]): row for row in primary.value(f"SELECT json_agg(t) FROM {table} t") or []}
        assert rows == {key: {name: as_text(value) for name, value in row.items()} for key, row in there.items()}


def test_over_tls(pgcascade, nodes, version, directory):
    """Records of TLS and messages end at different places: none may wait for the next one."""
    primary = nodes.primary(version=version, settings={"wal_level": "logical"}, start=False)
    make_certificate(primary.data_directory)
    primary.append_conf({"ssl": "on"})
    primary.start()
    primary.psql(SCHEMA)
    make_slots(primary, "s", "oracle")
    with Workload(primary, seed=3, sessions=1) as workload:
        wait_for(lambda: workload.committed > 100, describe="100 transactions")
    for size in (10, 4_000, 8_150, 8_192, 16_000, 16_384, 40_000, 200_000):
        primary.execute("INSERT INTO item VALUES (%s, 1, repeat('x', %s))", 10**12 + size, size)
    until = primary.current_lsn()
    expected = by_pg_recvlogical(primary, "oracle", "pub", until, directory)
    tls = primary.conninfo(sslmode="require")
    run = pgcascade("stream", tls, "-S", "s", "-P", "pub", "--until", until).expect(0)
    assert comparable(parse(line) for line in run.stdout.splitlines()) == comparable(expected)
    assert "SSL" not in run.stderr


def make_certificate(directory):
    names = {"out": directory / "server.crt", "keyout": directory / "server.key"}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(command + [part for name, path in names.items() for part in (f"-{name}", path)], check=True, capture_output=True)
    for path in names.values():
        path.chmod(0o600)
        give_to_server_account(path)


# -- from where, until where -----------------------------------------------------------------------------------


@pytest.fixture
def table(primary):
    """Table t, publication pub, slot s; insert(n) returns where the WAL stood before it."""
    primary.psql("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION pub FOR TABLE t")
    make_slots(primary, "s")

    def insert(*ids):
        before = primary.current_lsn()
        for number in ids:
            primary.execute("INSERT INTO t VALUES (%s)", number)
        return before

    return insert


def ids(changes):
    return [int(change["new"]["id"]) for change in changes]


def test_until_ends_after_what_committed_before_it_and_the_next_run_goes_on_there(pgcascade, primary, table):
    table(1, 2)
    middle = table(3, 4)
    assert ids(stream_all(pgcascade, primary, until=middle)) == [1, 2]
    assert ids(stream_all(pgcascade, primary)) == [3, 4]
    assert ids(stream_all(pgcascade, primary)) == []


def test_until_a_commit_records_own_position_leaves_that_transaction_out(pgcascade, primary, table):
    make_slots(primary, "s2")
    table(1, 2, 3)
    second = stream_all(pgcascade, primary, slot="s2")[1]["commit_lsn"]
    assert ids(stream_all(pgcascade, primary, until=second)) == [1]
    assert ids(stream_all(pgcascade, primary)) == [2, 3]


def test_from_a_commit_records_own_position_begins_with_that_transaction(pgcascade, primary, table):
    make_slots(primary, "s2")
    table(1, 2, 3)
    second = stream_all(pgcascade, primary, slot="s2")[1]["commit_lsn"]
    assert ids(stream_all(pgcascade, primary, "--from", second)) == [2, 3]


def test_from_leaves_out_what_committed_before_it(pgcascade, primary, table):
    table(1, 2)
    middle = table(3, 4)
    assert ids(stream_all(pgcascade, primary, "--from", middle)) == [3, 4]


def test_from_the_past_is_refused_because_it_is_gone(pgcascade, primary, table):
    start = table(1, 2)
    assert ids(stream_all(pgcascade, primary)) == [1, 2]
    run = pgcascade("stream", primary.conninfo(), "-S", "s", "-P", "pub", "--from", start).expect(1)
    assert "can't start from " + start in run.stderr
    assert "hint: " in run.stderr


def test_a_slot_made_at_the_start_begins_there(pgcascade_background, primary, table):
    table(1)
    stream = pgcascade_background("stream", primary.conninfo(), "-S", "new", "-P", "pub", "--create-slot")
    stream.wait_for_stderr('created slot "new"')
    table(2)
    stream.wait_for_stdout('"id":2')
    assert stream.stop(signal.SIGINT).code == 0
    assert len(stream.lines()) == 1
    assert primary.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'new'") is False


def test_a_temporary_slot_is_gone_afterwards(pgcascade_background, primary, table):
    stream = pgcascade_background("stream", primary.conninfo(), "-S", "tmp", "-P", "pub", "--temporary")
    # A slot is active while it is made, too: what comes then may come before the slot's beginning.
    primary.wait_until("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1)
    assert primary.value("SELECT temporary FROM pg_replication_slots WHERE slot_name = 'tmp'") is True
    table(1)
    stream.wait_for_stdout('"id":1')
    assert stream.stop().code == 0
    primary.wait_until("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'tmp'", 0)


# -- what is confirmed -----------------------------------------------------------------------------------------


def test_what_was_written_is_confirmed_when_it_is_stopped(pgcascade_background, primary, table):
    for number, stop in [(1, signal.SIGTERM), (2, signal.SIGINT)]:
        stream = pgcascade_background("stream", primary.conninfo(), "-S", "s", "-P", "pub", "--transactions")
        table(number)
        end = json.loads(stream.wait_for_stdout('^.*"op":"commit".*$')[0])["end_lsn"]
        assert stream.stop(stop).code == 0
        assert ids(parse(line) for line in stream.lines() if '"insert"' in line) == [number]
        assert confirmed(primary) >= lsn_number(end)


def test_an_idle_database_does_not_hold_wal_back(pgcascade_background, primary, table):
    primary.execute("CREATE TABLE unpublished (t text)")
    pgcascade_background("stream", primary.conninfo(), "-S", "s", "-P", "pub", "--status-interval", "0.2")
    for _ in range(3):
        primary.execute("INSERT INTO unpublished SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        end = lsn_number(primary.current_lsn())
        wait_for(lambda: confirmed(primary) >= end, describe="confirmed_flush_lsn to follow")


def test_an_idle_stream_does_not_delay_a_clean_shutdown(pgcascade_background, primary, table):
    stream = pgcascade_background("stream", primary.conninfo(), "-S", "s", "-P", "pub", "--status-interval", "3600")
    table(1)
    stream.wait_for_stdout('"id":1')
    # wal_sender_timeout is a minute: only prompt answers let the walsender end before.
    primary.stop("fast", timeout=20)
    stream.wait_for_stderr("trying again")


@pytest.fixture
def blocked(pgcascade_background, primary, table):
    """A stream whose reader takes nothing; gives the program, and the walsender's pid once the pipe is full."""

    def start(*more):
        stream = pgcascade_background("stream", primary.conninfo(), "-S", "s", "-P", "pub", *more, stdout=-1)
        primary.execute("INSERT INTO t SELECT generate_series(1, 100000)")
        # Nothing more is sent: neither the program nor the server can go on.
        seen = []

        def stands_still():
            seen.append(primary.value("SELECT sent_lsn::text || write_lsn::text FROM pg_stat_replication"))
            return len(seen) > 10 and len(set(seen[-10:])) == 1 and seen[-1] is not None

        wait_for(stands_still, describe=lambda: f"the stream to be blocked: {seen}")
        return stream, primary.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'")

    return start


def test_feedback_goes_on_while_the_reader_is_blocked(blocked, primary):
    primary.configure({"wal_sender_timeout": "2s"})
    stream, walsender = blocked()
    # Longer than the time-out: four reports by the clock of the server that sends them.
    reports = "SELECT reply_time FROM pg_stat_replication WHERE pid = {}".format(walsender)
    first = primary.value(reports)
    primary.wait_until(f"SELECT reply_time > '{first}'::timestamptz + '5 s'::interval FROM pg_stat_replication WHERE pid = {walsender}")
    assert "time" not in stream.stderr()
    assert "replication timeout" not in primary.log_text()

    # The reader goes on: everything comes, once.
    count = sum(1 for _ in zip(range(100000), stream.process.stdout))
    assert count == 100000
    assert primary.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'") == walsender
    assert stream.stop().code == 0


def test_ctrl_c_ends_it_while_the_reader_is_blocked(pgcascade, blocked, primary):
    stream, _ = blocked()
    assert stream.stop(signal.SIGINT).code == 0
    assert len(stream_all(pgcascade, primary)) == 100_000  # nothing of it was confirmed


def test_a_reader_that_goes_away_is_an_error_and_nothing_is_confirmed(pgcascade, blocked, primary):
    stream, _ = blocked()
    stream.process.stdout.close()
    done = stream.wait()
    assert done.code == 1
    assert "can't write to standard output: Broken pipe" in done.stderr
    assert len(stream_all(pgcascade, primary)) == 100_000


def test_a_named_pipe_whose_reader_goes_away(pgcascade_background, primary, table, directory):
    pipe = directory / "pipe"
    os.mkfifo(pipe)
    table(1, 2, 3)
    stream = pgcascade_background("stream", primary.conninfo(), "-S", "s", "-P", "pub", "--output", pipe)
    stream.wait_for_stderr("waiting for somebody to read it")
    with open(pipe, "rb") as reader:
        assert reader.readline().startswith(b'{"op":"insert"')
    assert stream.wait().code == 1
    assert "Broken pipe" in stream.stderr()


def test_a_reader_that_goes_away_is_noticed_even_while_nothing_comes(pgcascade_background, primary, table):
    stream = pgcascade_background("stream", primary.conninfo(), "-S", "s", "-P", "pub", stdout=-1)
    primary.wait_until("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1)
    stream.process.stdout.close()
    assert stream.wait().code == 1
