"""pgcascade relay, for WAL: PostgreSQL's own tools, psycopg2 and pgcascade itself work behind it as behind a server."""

import filecmp
import io
import json
import signal
import subprocess
import time

import psycopg2
import psycopg2.extras
import pytest

from program_run import environment
from relay_clients import answers, for_replication, secret_of, shown, slots
from relay_wal import create_physical_slot, lsn, physically, standby_behind, wait_for_wal, wal_of
from server_programs import client_program, give_to_server_account, run_as_server_account
from test_relay import SHOP, relay  # noqa: F401 (fixture)
from test_relay_wal import TABLE, fill, same_table, wait_for_items
from waiting import wait_for


@pytest.fixture
def wal_relay(primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    return relay.start()


def run(*command, **more):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, env=environment(), **more)
    assert done.returncode == 0, done.stderr
    return done


# -- PostgreSQL's tools, which refuse servers that are newer than themselves ----------------------------------------


@pytest.mark.at_most(15)
def test_pg_receivewal_writes_the_server_s_segments(primary, wal_relay, directory):
    create_physical_slot(wal_relay, "archive")
    archive = directory / "archive"
    archive.mkdir()
    command = [client_program("pg_receivewal"), "-d", wal_relay.conninfo(dbname=None), "-D", archive, "-S", "archive", "--synchronous"]
    process = subprocess.Popen([*map(str, command)], env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        for first in range(1, 4):
            fill(primary, first * 100, first * 100 + 50)
            primary.execute("SELECT pg_switch_wal()")
        fill(primary, 1000, 1000)
        target = wait_for_wal(wal_relay, primary)
        complete = lambda: sorted(file for file in archive.iterdir() if len(file.name) == 24)
        wait_for(lambda: len(complete()) >= 3, describe=lambda: list(archive.iterdir()))
        for file in complete():
            assert filecmp.cmp(file, primary.data_directory / "pg_wal" / file.name, shallow=False), file
        # Its slot follows what it has on disk.
        position = lambda: lsn(physically(wal_relay, "READ_REPLICATION_SLOT archive")[0][0][1])
        wait_for(lambda: position() >= lsn(target), 60, lambda: f"{position()} to reach {target}")
        # It ends in good order, and the relay lets go of the slot.
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        wait_for(lambda: slots(wal_relay) == {"archive": False})
    finally:
        process.kill()
        process.wait()


@pytest.mark.at_most(15)
def test_pg_basebackup_through_the_relay_makes_a_standby_of_it(nodes, primary, wal_relay):
    fill(primary, 1, 1000)
    node = nodes.reserve("copy", primary.version)
    run(
        client_program("pg_basebackup"),
        *("-d", wal_relay.conninfo(dbname=None, application_name="copy"), "-D", node.data_directory),
        *("-R", "-X", "stream", "-C", "-S", "copy", "-c", "fast"),
        cwd="/",
        **run_as_server_account(),
    )
    assert slots(wal_relay)["copy"] is False
    node.append_conf(nodes._own_settings(node, durable=None))
    node.start()
    node.wait_for_streaming()
    assert node.value("SELECT slot_name FROM pg_stat_wal_receiver") == "copy"
    assert node.value("SELECT sender_port FROM pg_stat_wal_receiver") == wal_relay.port
    fill(primary, 1001, 2000)
    wait_for_items(node, 2000)
    assert same_table(node, primary)


def test_clone_through_the_relay_makes_a_standby_of_it(nodes, primary, wal_relay, pgcascade):
    fill(primary, 1, 1000)
    node = nodes.reserve("copy", primary.version)
    pgcascade("slot", "create", wal_relay.conninfo(), "copy", "--physical").expect(0)
    pgcascade("clone", wal_relay.conninfo(dbname=None), node.data_directory).expect(0)
    for path in [node.data_directory, *node.data_directory.rglob("*")]:
        give_to_server_account(path)
    nodes.make_standby(node, wal_relay, "copy", conninfo=wal_relay.conninfo(dbname=None))
    node.start()
    node.wait_for_streaming()
    fill(primary, 1001, 2000)
    wait_for_items(node, 2000)
    assert same_table(node, primary)


@pytest.mark.at_least(17)
def test_incremental_backup_goes_through_the_relay(nodes, primary, wal_relay, pgcascade):
    primary.append_conf({"summarize_wal": "on"})
    primary.reload()
    fill(primary, 1, 10_000)
    node = nodes.reserve("full", primary.version)
    pgcascade("clone", wal_relay.conninfo(dbname=None), node.data_directory).expect(0)
    fill(primary, 10_001, 10_100)
    primary.execute("CHECKPOINT")
    connection = for_replication(wal_relay, physical=True)
    cursor = connection.cursor()
    with open(node.data_directory / "backup_manifest", "rb") as manifest:
        cursor.copy_expert("UPLOAD_MANIFEST", manifest)
    backup = io.BytesIO()
    cursor.copy_expert("BASE_BACKUP (INCREMENTAL, CHECKPOINT 'fast', WAIT 0)", backup)
    connection.close()
    assert b"INCREMENTAL FROM LSN: " in backup.getvalue() and b"/INCREMENTAL." in backup.getvalue()
    assert len(backup.getvalue()) < sum(file.stat().st_size for file in (node.data_directory / "base").rglob("*"))


# -- psycopg2 ------------------------------------------------------------------------------------------------------


def received_wal(node, start, end):
    """What psycopg2 gets from `start` on, as one string of bytes up to `end`."""
    connection = for_replication(node, physical=True)
    cursor = connection.cursor()
    cursor.start_replication(start_lsn=start, decode=False)
    received = b""
    try:
        while lsn(start) + len(received) < lsn(end):
            message = cursor.read_message()
            if message is None:
                time.sleep(0.001)
                continue
            assert message.data_start == lsn(start) + len(received)
            assert len(message.payload) <= 128 * 1024
            received += message.payload
    finally:
        connection.close()
    return received[: lsn(end) - lsn(start)]


def test_psycopg2_gets_byte_for_byte_what_the_server_sends(primary, wal_relay):
    fill(primary, 1, 30_000)
    end = wait_for_wal(wal_relay, primary)
    start = wal_of(wal_relay)["begin"]
    through_relay = received_wal(wal_relay, start, end)
    assert through_relay == received_wal(primary, start, end)
    assert len(through_relay) > 2_000_000
    # From the middle of a page, too.
    odd = "0/{:X}".format(lsn(start) + 12_345)
    assert received_wal(wal_relay, odd, end) == through_relay[12_345:]


def test_messages_are_cut_where_a_walsender_cuts_them(primary, wal_relay):
    fill(primary, 1, 30_000)
    end = wait_for_wal(wal_relay, primary)

    def lengths(node):
        connection = for_replication(node, physical=True)
        cursor = connection.cursor()
        cursor.start_replication(start_lsn=wal_of(wal_relay)["begin"], decode=False)
        seen = []
        try:
            while sum(seen) < 2_000_000:
                message = cursor.read_message()
                if message:
                    seen.append(len(message.payload))
        finally:
            connection.close()
        return seen[:10]

    assert lengths(wal_relay) == lengths(primary)
    assert end


# -- what can't be done ----------------------------------------------------------------------------------------------


COMMANDS = [
    "IDENTIFY_SYSTEM",
    "SHOW wal_segment_size",
    "SHOW server_version",
    "TIMELINE_HISTORY 7",
    "READ_REPLICATION_SLOT none",
    "CREATE_REPLICATION_SLOT s PHYSICAL RESERVE_WAL",
    "CREATE_REPLICATION_SLOT s PHYSICAL",
    "CREATE_REPLICATION_SLOT unreserved PHYSICAL",
    "READ_REPLICATION_SLOT unreserved",
    'CREATE_REPLICATION_SLOT "Bad Name" PHYSICAL',
    "CREATE_REPLICATION_SLOT x PHYSICAL (SPEED 'high')",
    "CREATE_REPLICATION_SLOT x PHYSICAL (RESERVE_WAL, RESERVE_WAL)",
    "CREATE_REPLICATION_SLOT x PHYSICAL (RESERVE_WAL 'perhaps')",
    "CREATE_REPLICATION_SLOT x PHYSICAL (SNAPSHOT 'nothing')",
    "CREATE_REPLICATION_SLOT x PHYSICAL (RESERVE_WAL false)",
    "READ_REPLICATION_SLOT x",
    "DROP_REPLICATION_SLOT x",
    "CREATE_REPLICATION_SLOT logical LOGICAL pgoutput",
    "START_REPLICATION SLOT none 0/1000000 TIMELINE 1",
    "START_REPLICATION PHYSICAL 0/1000000 TIMELINE 9",
    "SELECT 1",
    "DROP_REPLICATION_SLOT none",
    "DROP_REPLICATION_SLOT unreserved",
    "DROP_REPLICATION_SLOT s",
]


def test_each_command_is_answered_as_by_a_server(primary, wal_relay):
    wait_for_wal(wal_relay, primary)

    def all_answers(node):
        given = []
        for command in COMMANDS:  # START_REPLICATION ends some connections
            [one] = physically(node, command)
            given.append((command, one))
        return given

    server, behind = all_answers(primary), all_answers(wal_relay)
    for (command, expected), (_, seen) in zip(server, behind):
        if command == "IDENTIFY_SYSTEM":
            expected, seen = [row[:2] + row[3:] for row in expected], [row[:2] + row[3:] for row in seen]
        assert seen == expected, command


def error_of_stream(node, command):
    connection = for_replication(node, physical=True)
    try:
        cursor = connection.cursor()
        cursor.start_replication_expert(command)
        with pytest.raises(psycopg2.Error) as raised:
            while True:
                cursor.read_message()
        return str(raised.value)
    finally:
        connection.close()


def test_where_there_is_no_wal_a_stream_ends_as_a_server_s(primary, wal_relay):
    wait_for_wal(wal_relay, primary)
    for node in (wal_relay, primary):
        ahead = error_of_stream(node, "START_REPLICATION PHYSICAL 7FFFFFFF/0 TIMELINE 1")
        assert "requested starting point 7FFFFFFF/0 is ahead of the WAL flush position of this server 0/" in ahead
        before = error_of_stream(node, "START_REPLICATION PHYSICAL 0/10000 TIMELINE 1")
        assert "requested WAL segment 000000010000000000000000 has already been removed" in before


def test_who_may_not_have_the_wal_is_told_so(primary, relay):
    users = relay.directory / "users.toml"
    users.write_text(f'[user.reader]\nsecret = "{secret_of("secret")}"\n[user.standby]\nsecret = "{secret_of("secret")}"\nphysical = true\n')
    users.chmod(0o600)
    relay.write_file(wal=primary, users='"users.toml"', trust="[]")
    relay.start()
    with pytest.raises(psycopg2.OperationalError, match='user "reader" may not have the WAL'):
        for_replication(relay, physical=True, user="reader", password="secret")
    for_replication(relay, physical=True, user="standby", password="secret").close()
    # A base backup is of the upstream: that is a right of its own.
    [refused] = answers(relay, "BASE_BACKUP", physical=True, user="standby", password="secret")
    assert refused == ("42501", 'permission denied: user "standby" may not run SQL on the upstream')


def test_a_relay_of_feeds_only_has_no_wal(primary, relay):
    primary.psql(SHOP)
    relay.write_file({"shop": (primary, ["pub"])})
    relay.start()
    with pytest.raises(psycopg2.OperationalError, match="this relay relays no WAL"):
        for_replication(relay, physical=True)
    assert shown(relay, "pgcascade.wal") == []


def test_one_relay_has_feeds_and_wal(nodes, primary, relay, version):
    primary.append_conf({"wal_level": "logical"})
    primary.restart()
    primary.psql(SHOP)
    relay.write_file({"shop": (primary, ["pub"])}, wal=primary)
    relay.start()
    relay.program.wait_for_stderr("wal: receiving from")
    relay.program.wait_for_stderr("feed shop: receiving from")
    standby = standby_behind(nodes, relay, primary, "eu")
    subscriber = nodes.primary("subscriber", version=version)
    subscriber.psql(SHOP)
    subscriber.execute("CREATE SUBSCRIPTION sub CONNECTION %s PUBLICATION pub", relay.conninfo())
    primary.execute("INSERT INTO item SELECT i, 'item ' || i, i FROM generate_series(1, 1000) i")
    wait_for_items(standby, 1000)
    wait_for_items(subscriber, 1000)
    wait_for(lambda: slots(relay) == {"eu": True, "sub": True}, describe=lambda: slots(relay))


# -- pgcascade's own commands ----------------------------------------------------------------------------------------


def test_slot_commands_make_and_drop_physical_slots_of_a_relay(wal_relay, pgcascade):
    pgcascade("slot", "create", wal_relay.conninfo(), "mine", "--physical").expect(0)
    [slot] = json.loads(pgcascade("slot", "list", wal_relay.conninfo(), "--json").expect(0).stdout)
    assert (slot["slot_name"], slot["slot_type"], slot["active"]) == ("mine", "physical", False)
    assert slot["restart_lsn"] == wal_of(wal_relay)["begin"]
    assert "exists" in pgcascade("slot", "create", wal_relay.conninfo(), "mine", "--physical").expect(1).stderr
    pgcascade("slot", "drop", wal_relay.conninfo(), "mine").expect(0)
    assert slots(wal_relay) == {}
