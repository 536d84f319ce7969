"""pgcascade stream: each thing that can be wrong at the start is refused at once, with what is wrong and what to do."""

import time

import pytest

from fake_login_server import FakeLoginServer
from pg_node import PgNodes, free_port
from server_messages import refusal, welcome
from waiting import wait_for

REPLICATION_IN_USE = "SELECT active FROM pg_replication_slots WHERE slot_name = 'busy'"


@pytest.fixture(scope="module")
def server(version):
    """A primary with table t, publications pub and other, and slots of every kind; shared by tests that only read it."""
    with PgNodes() as nodes:
        primary = nodes.primary(version=version, settings={"wal_level": "logical"})
        primary.psql(
            """
            CREATE TABLE t (id int PRIMARY KEY);
            CREATE PUBLICATION pub FOR TABLE t;
            CREATE PUBLICATION other FOR TABLE t;
            CREATE DATABASE empty;
            CREATE ROLE plain LOGIN PASSWORD 'plain';
            SELECT pg_create_logical_replication_slot('good', 'pgoutput');
            SELECT pg_create_logical_replication_slot('busy', 'pgoutput');
            SELECT pg_create_logical_replication_slot('decoding', 'test_decoding');
            SELECT pg_create_physical_replication_slot('physical', true);
            """
        )
        primary.psql("SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')", dbname="empty")
        yield primary


@pytest.fixture
def refused(pgcascade):
    """Runs the stream; exit 1, nothing on stdout, and every part in the message."""

    def run(conninfo, *parts, slot="good", publication="pub", more=()):
        done = pgcascade("stream", conninfo, "--slot", slot, "--publication", publication, *more, timeout=30).expect(1)
        assert done.stdout == "", done
        for part in parts:
            assert part in done.stderr, f"no {part!r} in: {done}"
        return done

    return run


# -- reaching the server ---------------------------------------------------------------------------------------


def test_an_unreachable_host(refused):
    port = free_port()
    refused(f"host=127.0.0.1 port={port} dbname=postgres", str(port), "refused", "hint: is the server running there")


def test_a_wrong_password_is_never_repeated(refused, server):
    done = refused(server.conninfo(password="s3cret-guess"), "password authentication failed", "hint: check the password")
    assert "s3cret-guess" not in done.stderr


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://u:s3cret%zzguess@127.0.0.1/db",
        "postgresql://u:s3cret@guess@127.0.0.1:5432/db",
        "postgresql://u:pass@word:s3cret@127.0.0.1/db",
        "host=127.0.0.1 password=top s3cret guess",
    ],
)
def test_a_password_that_breaks_the_connection_string_is_not_repeated(refused, conninfo):
    done = refused(conninfo, "can't read the connection string", "hint: ", "%40")
    assert "s3cret" not in done.stderr and "guess" not in done.stderr


def test_a_refusal_in_another_language_is_not_retried(refused):
    german = refusal("28P01", "Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen")
    with FakeLoginServer(german) as server:
        done = refused(server.conninfo(), "FATAL:  Passwort-Authentifizierung für Benutzer »u«", "hint: check the password")
    assert "28P01" not in done.stderr and "auth.c" not in done.stderr, done


def test_every_command_understands_a_refusal_in_another_language(pgcascade):
    german = refusal("3D000", "Datenbank »d« existiert nicht", S="SCHWERWIEGEND")
    with FakeLoginServer(german) as fake:
        done = pgcascade("slot", "list", fake.conninfo()).expect(1)
    assert "SCHWERWIEGEND:  Datenbank »d« existiert nicht" in done.stderr
    assert "hint: check the name of the database" in done.stderr


def test_a_server_that_asks_for_a_password_where_there_is_none(refused, server):
    refused(server.conninfo(password=None), "no password", "hint: give the password in PGPASSWORD")
    missing = server.conninfo(password=None, passfile="/nonexistent/passwords")
    refused(missing, "no password", "hint: /nonexistent/passwords: it is not there")


def test_a_starting_server_is_told_with_its_detail(refused):
    not_yet = refusal("57P03", "the database system is not yet accepting connections", D="Consistent recovery state …")
    with FakeLoginServer(not_yet) as server:
        done = refused(server.conninfo(), "not yet accepting connections", "DETAIL:  Consistent recovery")
    assert "57P03" not in done.stderr and "hint" not in done.stderr, done


def test_a_silent_host_is_passed_by_after_connect_timeout(pgcascade, server):
    with FakeLoginServer() as silent:
        hosts = server.conninfo(host=f"127.0.0.1,{server.host}", port=f"{silent.port},{server.port}")
        for more, env in ((" connect_timeout=2", {}), ("", {"PGCONNECT_TIMEOUT": "2"})):
            begin = time.monotonic()
            done = pgcascade("slot", "list", hosts + more, env=env).expect(0)
            assert "good" in done.stdout
            assert 2 <= time.monotonic() - begin < 8
        preferred = pgcascade("slot", "list", hosts + " connect_timeout=1 target_session_attrs=prefer-standby").expect(0)
        assert "good" in preferred.stdout
        assert len(silent.startups) == 3


def test_where_all_hosts_are_silent_or_refuse_each_is_told(refused, server):
    with FakeLoginServer() as silent:
        refused(silent.conninfo(connect_timeout=1), "no answer within 1000 ms", "hint: check host and port")
        hosts = server.conninfo(host="127.0.0.1,127.0.0.1", port=f"{silent.port},{server.port}", password="wrong")
        refused(hosts + " connect_timeout=1", f"no answer from 127.0.0.1:{silent.port} within 1000 ms", "hint: check the password")


def test_application_name_is_the_users(pgcascade):
    with FakeLoginServer(refusal("28P01", "no")) as server:
        for env, conninfo in (({"PGAPPNAME": "mine"}, {}), ({}, {"application_name": "yours"}), ({}, {})):
            pgcascade("slot", "list", server.conninfo(**conninfo), env=env).expect(1)
        assert [one["application_name"] for one in server.startups] == ["mine", "yours", "pgcascade"]


def test_no_replication_privilege(refused, server):
    refused(server.conninfo(user="plain", password="plain"), "ALTER ROLE", "REPLICATION")


def test_no_line_in_pg_hba(refused, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"}, start=False)
    primary.set_hba(["local all all trust", "host postgres all 127.0.0.2/32 trust"])
    primary.start()
    refused(primary.conninfo(), "pg_hba.conf", "hint: ", "pg_reload_conf")


def test_a_database_that_does_not_exist(refused, server):
    refused(server.conninfo(dbname="nowhere"), 'database "nowhere" does not exist', "hint: ")


def test_a_connection_string_that_makes_no_sense(refused):
    refused("host=127.0.0.1 prot=5432", "prot", "hint: ")


# -- what the server can do ------------------------------------------------------------------------------------


def test_a_version_that_is_too_old(refused):
    with FakeLoginServer(welcome("14.9")) as server:
        refused(server.conninfo(), "PostgreSQL 14.9 is too old", "hint: pgcascade streams from PostgreSQL 15 and later")


def test_wal_level_too_low(refused, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "replica"})
    refused(primary.conninfo(), "wal_level = replica", "ALTER SYSTEM SET wal_level = 'logical'", "restart")


@pytest.mark.at_most(15)
def test_a_standby_that_is_too_old_to_decode(refused, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    standby = nodes.standby("eu", primary)
    for more in ([], ["--create-slot"]):
        refused(standby.conninfo(), "standby", "PostgreSQL 15", "16", more=more)


# -- publications and slots ------------------------------------------------------------------------------------


def test_an_unknown_publication(refused, server):
    refused(server.conninfo(), 'publication "pubs" does not exist', "hint: ", "other, pub", publication="pub,pubs")
    refused(server.conninfo(dbname="empty"), "has no publication", "CREATE PUBLICATION", slot="elsewhere")


def test_a_missing_slot(refused, server):
    refused(server.conninfo(), 'there is no slot "missing"', "--create-slot", slot="missing")


def test_a_physical_slot(refused, server):
    for more in ([], ["--create-slot"]):
        refused(server.conninfo(), '"physical"', "physical", "hint: ", slot="physical", more=more)


def test_a_slot_of_another_plugin(refused, server):
    for more in ([], ["--create-slot"]):
        refused(server.conninfo(), '"decoding"', "test_decoding", "hint: ", slot="decoding", more=more)


def test_a_slot_of_another_database(refused, server):
    refused(server.conninfo(), '"elsewhere"', '"empty"', "hint: ", slot="elsewhere")


def test_a_slot_in_use_is_waited_for_and_then_refused_with_its_user(refused, pgcascade_background, server):
    reader = pgcascade_background("stream", server.conninfo(), "-S", "busy", "-P", "pub")
    server.wait_until(REPLICATION_IN_USE)
    pid = server.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'busy'")
    refused(server.conninfo(), f"in use by pid {pid}", "waiting", f"pg_terminate_backend({pid})", slot="busy")
    assert reader.process.poll() is None
    assert reader.stop().code == 0


def test_a_slot_in_use_that_gets_free_in_time_is_taken(pgcascade_background, server):
    first = pgcascade_background("stream", server.conninfo(), "-S", "busy", "-P", "pub")
    server.wait_until(REPLICATION_IN_USE)
    second = pgcascade_background("stream", server.conninfo(), "-S", "busy", "-P", "pub")
    second.wait_for_stderr("waiting")
    before = server.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'busy'")
    assert first.stop().code == 0
    wait_for(
        lambda: server.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'busy'") not in (None, before),
        describe="the second one to take the slot",
    )
    assert second.stop().code == 0


def test_an_invalidated_slot_is_told_with_the_reason(refused, nodes, version):
    settings = {"wal_level": "logical", "max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    primary = nodes.primary(version=version, settings=settings)
    primary.psql("CREATE TABLE t (id int); CREATE PUBLICATION pub FOR TABLE t")
    primary.execute("SELECT pg_create_logical_replication_slot('good', 'pgoutput')")

    def is_lost():
        primary.execute("INSERT INTO t SELECT 1 FROM generate_series(1, 1000)")
        primary.execute("SELECT pg_switch_wal()")
        primary.execute("CHECKPOINT")
        return primary.value("SELECT wal_status FROM pg_replication_slots") == "lost"

    wait_for(is_lost, describe="the slot to be lost")
    refused(primary.conninfo(), '"good"', "wal_removed", "hint: ")


# -- options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, told",
    [
        (["--from", "16-B3"], "no LSN"),
        (["--until", "x"], "no LSN"),
        (["--format", "xml"], "json, wal2json, debezium"),
        (["--status-interval", "0"], "--status-interval"),
        (["--status-interval", "0.0001"], "--status-interval"),
        (["--status-interval", "1e300"], "--status-interval"),
        (["--status-interval", "nan"], "--status-interval"),
        (["-P", ""], "a name is empty"),
        (["-P", "a,"], "a name is empty"),
        (["-P", '"a,b'], "a double quote is not closed"),
        (["--from", "1/0", "--until", "0/1"], "before it begins"),
        (["--from", "1/0", "--temporary"], "a temporary slot is new"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_options_that_make_no_sense_are_a_usage_error(pgcascade, server, options, told):
    done = pgcascade("stream", server.conninfo(), "--slot", "good", "--publication", "pub", *options).expect(2)
    assert told in done.stdout + done.stderr


def test_slot_and_publication_must_be_named(pgcascade, server):
    assert "--slot" in pgcascade("stream", server.conninfo(), "--publication", "pub").expect(2).stderr
    assert "--publication" in pgcascade("stream", server.conninfo(), "--slot", "good").expect(2).stderr


def test_a_new_slot_can_not_begin_in_the_past(refused, server):
    refused(server.conninfo(), "begins at the present", slot="new", more=["--create-slot", "--from", "1/0"])
    assert server.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'new'") == 0


def test_an_output_file_that_can_not_be_used(refused, pgcascade_background, server, directory):
    refused(server.conninfo(), "no/such", "No such file", more=["--output", directory / "no/such/file"])
    somebodys = directory / "notes.txt"
    somebodys.write_text("half a sentence")
    refused(server.conninfo(), "no stream has written", "hint: ", more=["--output", somebodys])
    assert somebodys.read_text() == "half a sentence"

    taken = directory / "taken.json"
    pgcascade_background("stream", server.conninfo(), "-S", "busy", "-P", "pub", "--output", taken)
    server.wait_until(REPLICATION_IN_USE)
    refused(server.conninfo(), "being written by another pgcascade", "hint: ", more=["--output", taken])


def test_a_full_disk_is_an_error_and_nothing_is_confirmed(refused, pgcascade, server):
    server.execute("INSERT INTO t SELECT generate_series(1, 10)")
    refused(server.conninfo(), "can't write to /dev/full", "No space left", more=["--output", "/dev/full"])
    until = server.current_lsn()
    again = pgcascade("stream", server.conninfo(), "-S", "good", "-P", "pub", "--until", until).expect(0)
    assert len(again.stdout.splitlines()) == 10
