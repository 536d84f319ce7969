"""pgcascade slot: what it lists, makes and drops is what SQL on the server says; refusals name the cause and the cure."""

import json
import signal
import time

import psycopg2.extras
import pytest

from pg_node import free_port
from waiting import wait_for

SLOT = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}'"


def refused(result, *parts):
    """Exit 1, nothing on stdout, and every part (what is wrong, and the hint) in the message."""
    result.expect(1)
    assert result.stdout == "", result
    for part in parts:
        assert part in result.stderr, f"no {part!r} in: {result}"


def listed(pgcascade, node, **where):
    return {slot["slot_name"]: slot for slot in json.loads(pgcascade("slot", "list", node.conninfo(**where), "--json").expect(0).stdout)}


@pytest.fixture
def chain(nodes, version):
    """primary -> eu -> leaf, all of them idle, and nothing but ordinary settings."""
    settings = {"wal_level": "logical", "hot_standby_feedback": "on"}
    primary = nodes.primary(version=version, settings=settings)
    eu = nodes.standby("eu", primary)
    leaf = nodes.standby("leaf", eu)
    return primary, eu, leaf


# -- list ------------------------------------------------------------------------------------------------------


def test_list_agrees_with_the_catalog(pgcascade, primary, version):
    primary.execute("CREATE DATABASE shop")
    primary.execute("SELECT pg_create_physical_replication_slot('standby1', true)")
    primary.execute("SELECT pg_create_physical_replication_slot('unreserved')")
    primary.execute("SELECT pg_create_logical_replication_slot('orders', 'pgoutput', false, true)", dbname="shop")
    primary.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")

    slots = listed(pgcascade, primary)
    catalog = primary.value("SELECT json_agg(s) FROM pg_replication_slots s")
    assert {row["slot_name"] for row in catalog} == slots.keys()
    for row in catalog:
        ours = slots[row["slot_name"]]
        for column in (row.keys() & ours.keys()) - {"inactive_since"}:  # another format
            assert ours[column] == row[column], (row["slot_name"], column)
    retained = primary.value(
        "SELECT pg_current_wal_insert_lsn() - restart_lsn FROM pg_replication_slots WHERE slot_name = 'orders'"
    )
    assert 2_000_000 < slots["orders"]["retained_bytes"] <= retained
    assert slots["unreserved"]["retained_bytes"] is None
    assert (slots["orders"]["inactive_since"] is not None) == (version >= 17)


def test_list_for_people_is_a_table(pgcascade, primary):
    primary.execute("SELECT pg_create_logical_replication_slot('orders', 'pgoutput')")
    lines = pgcascade("slot", "list", primary.conninfo()).expect(0).stdout.splitlines()
    assert lines[0].split()[:3] == ["slot", "type", "plugin"]
    assert lines[1].split()[:5] == ["orders", "logical", "pgoutput", "postgres", "inactive"]
    assert not any("\033" in line for line in lines)


def test_list_of_a_server_without_slots_is_empty(pgcascade, primary):
    result = pgcascade("slot", "list", primary.conninfo()).expect(0)
    assert result.stdout == "" and "no replication slots" in result.stderr
    assert listed(pgcascade, primary) == {}


def test_list_tells_who_uses_a_slot(pgcascade, primary):
    with using_slot(primary, "orders") as reader:
        slot = listed(pgcascade, primary)["orders"]
        assert slot["active"] is True and slot["active_pid"] == reader.info.backend_pid
        assert f"active, pid {reader.info.backend_pid}" in pgcascade("slot", "list", primary.conninfo()).stdout


def test_list_names_why_a_slot_is_invalidated(pgcascade, primary):
    lose_wal_of_slot(primary, "orders")
    assert listed(pgcascade, primary)["orders"]["invalidation_reason"] == "wal_removed"
    assert "invalidated: wal_removed" in pgcascade("slot", "list", primary.conninfo()).stdout


@pytest.mark.at_least(16)
def test_list_on_a_standby_counts_what_it_has_received(pgcascade, chain):
    primary, _, leaf = chain
    pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0)
    primary.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    primary.wait_for_catchup(leaf)
    assert listed(pgcascade, leaf)["orders"]["retained_bytes"] > 2_000_000


# -- create ----------------------------------------------------------------------------------------------------


def test_create_physical_reserves_wal_at_once(pgcascade, primary):
    result = pgcascade("slot", "create", primary.conninfo(), "eu", "--physical").expect(0)
    assert 'physical slot "eu" created' in result.stderr
    assert primary.sql("SELECT slot_type, restart_lsn IS NOT NULL, temporary FROM pg_replication_slots") == [
        ("physical", True, False)
    ]


def test_create_logical_is_pgoutput_in_the_database_of_the_connection(pgcascade, primary):
    primary.execute("CREATE DATABASE shop")
    pgcascade("slot", "create", primary.conninfo(dbname="shop"), "orders", "--two-phase").expect(0)
    assert primary.sql("SELECT plugin, slot_type, database, two_phase FROM pg_replication_slots") == [
        ("pgoutput", "logical", "shop", True)
    ]


def test_create_keeps_an_existing_slot_only_if_it_is_the_same(pgcascade, primary):
    primary.execute("CREATE DATABASE shop")
    for _ in range(2):
        pgcascade("slot", "create", primary.conninfo(), "orders", "--if-not-exists").expect(0)
        pgcascade("slot", "create", primary.conninfo(), "eu", "--physical", "--if-not-exists").expect(0)
    create = lambda *more, **where: pgcascade("slot", "create", primary.conninfo(**where), *more)
    refused(create("orders"), 'replication slot "orders" already exists', "hint: keep it with --if-not-exists")
    refused(create("eu", "--if-not-exists"), "exists already, and is physical", "hint: choose another name, or drop it")
    refused(create("orders", "--physical", "--if-not-exists"), "exists already, and is logical", "hint: choose another")
    refused(create("orders", "--if-not-exists", dbname="shop"), "belongs to database postgres", "hint: choose another")
    refused(create("orders", "--if-not-exists", "--plugin", "wal2json"), "uses the plugin pgoutput", "hint: choose")
    assert primary.value("SELECT count(*) FROM pg_replication_slots") == 2


def test_create_does_not_keep_an_invalidated_slot(pgcascade, primary):
    lose_wal_of_slot(primary, "orders")
    refused(
        pgcascade("slot", "create", primary.conninfo(), "orders", "--if-not-exists"),
        "is invalidated (wal_removed)",
        "SELECT pg_drop_replication_slot('orders')",
    )


@pytest.mark.at_least(17)
def test_create_failover_slot_on_a_primary_only(pgcascade, nodes, primary):
    pgcascade("slot", "create", primary.conninfo(), "orders", "--failover").expect(0)
    assert primary.value("SELECT failover FROM pg_replication_slots") is True
    eu = nodes.standby("eu", primary)
    refused(
        pgcascade("slot", "create", eu.conninfo(), "orders", "--failover"),
        "is a standby: a failover slot can only be made on the primary",
        "hint: make it on the primary, and set sync_replication_slots = on here",
    )


@pytest.mark.at_most(16)
def test_create_failover_slot_needs_17(pgcascade, primary):
    refused(
        pgcascade("slot", "create", primary.conninfo(), "orders", "--failover"), "failover slots need 17", "hint: leave"
    )


def test_create_refuses_options_that_make_no_sense(pgcascade, primary):
    for arguments in (["x", "--physical", "--plugin", "pgoutput"], ["x", "--physical", "--logical"], []):
        assert pgcascade("slot", "create", primary.conninfo(), *arguments).code == 2
    assert primary.value("SELECT count(*) FROM pg_replication_slots") == 0


def test_create_with_a_bad_name_passes_on_what_the_server_says(pgcascade, primary):
    refused(
        pgcascade("slot", "create", primary.conninfo(), "My-Slot'; --"),
        "contains invalid character",
        "hint: Replication slot names may only contain lower case letters, numbers, and the underscore character.",
    )


def test_create_when_all_slots_are_taken(pgcascade, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "logical", "max_replication_slots": 1})
    pgcascade("slot", "create", primary.conninfo(), "one").expect(0)
    for kind in ("--physical", "--logical"):
        refused(
            pgcascade("slot", "create", primary.conninfo(), "two", kind),
            "all replication slots are in use",
            "hint: drop slots that nobody needs (pgcascade slot list), or raise max_replication_slots",
        )


def test_create_needs_wal_level_logical(pgcascade, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "replica"})
    refused(
        pgcascade("slot", "create", primary.conninfo(), "orders"),
        "wal_level is replica, and decoding needs logical",
        "hint: ALTER SYSTEM SET wal_level = logical, then restart the server",
    )
    pgcascade("slot", "create", primary.conninfo(), "eu", "--physical").expect(0)


def test_create_needs_the_right_of_replication(pgcascade, primary):
    primary.execute("CREATE ROLE \"re\"\"ader\" LOGIN PASSWORD 'secret'")
    for kind in ("--physical", "--logical"):
        refused(
            pgcascade("slot", "create", primary.conninfo(user='re"ader', password="secret"), "orders", kind),
            "replication slots",
            'hint: on the primary: ALTER ROLE "re""ader" REPLICATION',
        )
    assert primary.value("SELECT count(*) FROM pg_replication_slots") == 0


# -- who can't even connect ------------------------------------------------------------------------------------


def test_an_unreachable_server(pgcascade):
    port = free_port()
    refused(
        pgcascade("slot", "list", f"host=127.0.0.1 port={port} user=postgres"),
        f"127.0.0.1:{port}: can't connect",
        "Connection refused",
        "hint: is the server running there, and does it listen on that address",
    )


def test_a_wrong_password_is_never_repeated(pgcascade, primary):
    result = pgcascade("slot", "list", primary.conninfo(password="guess-4711"))
    refused(result, "password authentication failed", "hint: check the password")
    assert "guess-4711" not in result.stderr
    refused(pgcascade("slot", "list", primary.conninfo(password=None)), "no password supplied", "hint: give the password")


def test_no_line_in_pg_hba(pgcascade, primary):
    primary.set_hba(["local all all trust"])
    primary.reload()
    refused(pgcascade("slot", "list", primary.conninfo()), "no pg_hba.conf entry", "hint: add a line for this host")


def test_a_connection_string_that_makes_no_sense(pgcascade):
    refused(pgcascade("slot", "list", "hots=127.0.0.1"), "can't read the connection string", "hint: write it as")


# -- create on a standby ---------------------------------------------------------------------------------------


@pytest.mark.at_most(15)
def test_a_standby_before_16_cannot_decode(pgcascade, chain):
    _, eu, _ = chain
    refused(
        pgcascade("slot", "create", eu.conninfo(), "orders"),
        "is a standby of PostgreSQL 15",
        "before 16 a standby can't decode",
        "hint: make the slot on the primary, or upgrade the cluster to PostgreSQL 16 or later",
    )
    pgcascade("slot", "create", eu.conninfo(), "sub", "--physical").expect(0)


@pytest.mark.at_least(16)
def test_create_on_an_idle_leaf_two_hops_down_is_done_at_once(pgcascade, chain):
    primary, eu, leaf = chain
    idle_at = primary.current_lsn()
    begun = time.monotonic()
    pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0)
    took = time.monotonic() - begun
    # By itself the primary writes the record only every 15 s, and only where there was something to write.
    assert took < 10, f"took {took:.1f} s"
    assert leaf.sql("SELECT plugin, invalidation_reason FROM pg_replication_slots" if leaf.version > 16 else
                    "SELECT plugin, NULL FROM pg_replication_slots") == [("pgoutput", None)]
    assert primary.value(SLOT.format("orders")) == 0 and eu.value(SLOT.format("orders")) == 0
    written = primary.value("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", idle_at)
    assert written < 100_000, "only snapshot records were needed"


@pytest.mark.at_least(16)
def test_the_slot_on_a_leaf_gives_the_changes_made_after_it(pgcascade, chain):
    primary, _, leaf = chain
    primary.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
    primary.wait_for_catchup(leaf)
    pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0)
    primary.execute("INSERT INTO t VALUES (42)")
    primary.wait_for_catchup(leaf)
    messages = leaf.sql(
        "SELECT data FROM pg_logical_slot_get_binary_changes('orders', NULL, NULL, 'proto_version', '1',"
        " 'publication_names', 'p')"
    )
    assert [bytes(data)[:1] for (data,) in messages] == [b"B", b"R", b"I", b"C"]


@pytest.mark.at_least(16)
def test_create_with_the_primary_named(pgcascade, chain):
    primary, _, leaf = chain
    primary.execute("CREATE ROLE reader LOGIN REPLICATION PASSWORD 'secret'")
    primary.execute("CREATE ROLE asker LOGIN PASSWORD 'secret'")
    primary.execute("GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO asker")
    primary.wait_for_catchup(leaf)
    reader = leaf.conninfo(user="reader", password="secret")
    asker = primary.conninfo(user="asker", password="secret")
    pgcascade("slot", "create", reader, "orders", "--primary", asker).expect(0)
    assert leaf.value(SLOT.format("orders")) == 1


@pytest.mark.at_least(16)
def test_create_with_a_primary_named_that_is_none(pgcascade, nodes, chain, version):
    _, eu, leaf = chain
    stranger = nodes.primary("stranger", version=version, settings={"wal_level": "logical"}, stranger=True)
    create = lambda named: pgcascade("slot", "create", leaf.conninfo(), "orders", "--primary", named.conninfo())
    refused(create(stranger), "is a server of another cluster than", "hint: name the primary of this standby itself")
    refused(create(eu), "named as the primary, is a standby itself", "hint: name the server where")
    assert leaf.value(SLOT.format("orders")) == 0


@pytest.mark.at_least(16)
def test_create_by_a_role_that_may_not_ask_the_primary(pgcascade, chain):
    primary, _, leaf = chain
    primary.execute("CREATE ROLE reader LOGIN REPLICATION PASSWORD 'secret'")
    primary.wait_for_catchup(leaf)
    # Now and then the primary writes a snapshot record by itself; while this transaction is open none is enough.
    blocker = primary.connect()
    blocker.autocommit = False
    blocker.cursor().execute("CREATE TABLE uncommitted ()")
    create = lambda: pgcascade("slot", "create", leaf.conninfo(user="reader", password="secret"), "orders")
    by_hand = "run on the primary: SELECT pg_log_standby_snapshot()"
    # It can't see who feeds the standby, then it can but may not call the function, then all is well.
    refused(create(), "may not see who feeds this standby", by_hand, 'GRANT pg_read_all_stats TO "reader"')
    primary.execute("GRANT pg_read_all_stats TO reader")
    primary.wait_for_catchup(leaf)
    refused(create(), "permission denied for function pg_log_standby_snapshot", by_hand, "GRANT EXECUTE ON FUNCTION")
    assert leaf.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'orders'") == 0
    blocker.close()
    primary.execute("GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO reader")
    primary.wait_for_catchup(leaf)
    create().expect(0)


@pytest.mark.at_least(16)
def test_create_by_hand_while_it_waits(pgcascade_background, chain):
    """The hint is true: the record that somebody else asks for is enough."""
    primary, _, leaf = chain
    primary.execute("CREATE ROLE reader LOGIN REPLICATION PASSWORD 'secret'")
    primary.wait_for_catchup(leaf)
    waiting = pgcascade_background("slot", "create", leaf.conninfo(user="reader", password="secret"), "orders")
    leaf.wait_until("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'orders' AND restart_lsn IS NOT NULL", 1)
    primary.execute("SELECT pg_log_standby_snapshot()")
    waiting.wait().expect(0)


@pytest.mark.at_least(16)
def test_create_on_a_standby_whose_upstream_is_down(pgcascade, chain):
    _, eu, leaf = chain
    eu.stop()
    leaf.wait_until("SELECT count(*) FROM pg_stat_wal_receiver", 0)
    refused(
        pgcascade("slot", "create", leaf.conninfo(), "orders"),
        "receives WAL from no server now, so its primary can't be found",
        "run on the primary: SELECT pg_log_standby_snapshot()",
        "--primary CONNINFO",
    )
    assert leaf.value(SLOT.format("orders")) == 0


@pytest.mark.at_least(16)
def test_create_checks_wal_level_on_the_primary_first(pgcascade, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "replica"})
    leaf = nodes.standby("leaf", nodes.standby("eu", primary))
    refused(
        pgcascade("slot", "create", leaf.conninfo(), "orders"),
        "wal_level is replica, and decoding needs logical",
        "hint: on the primary and on this standby: ALTER SYSTEM SET wal_level = logical",
    )
    leaf.append_conf({"wal_level": "logical"})
    leaf.restart()
    leaf.wait_for_streaming()
    refused(
        pgcascade("slot", "create", leaf.conninfo(), "orders"),
        f"127.0.0.1:{primary.port}: wal_level is replica on the primary",
        "hint: on the primary: ALTER SYSTEM SET wal_level = logical, then restart it",
    )


@pytest.mark.at_least(16)
def test_create_warns_where_the_slot_will_not_live(pgcascade, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    leaf = nodes.standby("leaf", primary)
    result = pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0)
    assert "hot_standby_feedback is off" in result.stderr
    assert "ALTER SYSTEM SET hot_standby_feedback = on" in result.stderr


# -- create, cut off -------------------------------------------------------------------------------------------


@pytest.fixture
def blocked(primary):
    """A transaction on the primary that every new logical slot has to wait for."""
    connection = primary.connect()
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE uncommitted ()")
    yield connection
    connection.close()


@pytest.fixture(params=["primary", pytest.param("leaf", marks=pytest.mark.at_least(16))])
def server_to_create_on(request, nodes, primary, blocked):
    return primary if request.param == "primary" else nodes.standby("leaf", primary, settings={"hot_standby_feedback": "on"})


def start_creating(pgcascade_background, node):
    creating = pgcascade_background("slot", "create", node.conninfo(), "orders")
    node.wait_until(SLOT.format("orders"), 1)
    return creating


def test_a_wait_for_old_transactions_is_explained(pgcascade_background, server_to_create_on, blocked):
    creating = start_creating(pgcascade_background, server_to_create_on)
    creating.wait_for_stderr(f"once the transactions that were open before have ended: pid {blocked.info.backend_pid}")
    blocked.commit()
    creating.wait().expect(0)
    server_to_create_on.wait_until(SLOT.format("orders"), 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_creation_cut_off_leaves_no_slot(pgcascade_background, server_to_create_on, number):
    creating = start_creating(pgcascade_background, server_to_create_on)
    result = creating.stop(number)
    if number == signal.SIGKILL:
        assert result.code == -signal.SIGKILL
        server_to_create_on.wait_until(SLOT.format("orders"), 0, timeout=10)  # the server has to notice
    else:
        assert result.code == 1 and "stopped" in result.stderr, result
        assert server_to_create_on.value(SLOT.format("orders")) == 0


# -- drop ------------------------------------------------------------------------------------------------------


class using_slot:
    """A psycopg2 reader that holds the slot."""

    def __init__(self, node, slot):
        node.execute("CREATE PUBLICATION p FOR ALL TABLES")
        node.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
        self.reader = node.connect(
            connection_factory=psycopg2.extras.LogicalReplicationConnection, application_name="old reader"
        )
        self.reader.cursor().start_replication(
            slot_name=slot, options={"proto_version": "1", "publication_names": "p"}
        )

    def __enter__(self):
        return self.reader

    def __exit__(self, *_):
        self.reader.close()


def lose_wal_of_slot(node, slot):
    node.configure({"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB"})
    node.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    for _ in range(4):
        node.execute("SELECT pg_logical_emit_message(false, 'filler', 'x'), pg_switch_wal()")
    node.execute("CHECKPOINT")
    node.wait_until(f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'", "lost")


def test_drop_frees_the_slot(pgcascade, primary):
    pgcascade("slot", "create", primary.conninfo(), "eu", "--physical").expect(0)
    assert 'slot "eu" dropped' in pgcascade("slot", "drop", primary.conninfo(), "eu").expect(0).stderr
    assert primary.value(SLOT.format("eu")) == 0


def test_drop_of_a_missing_slot(pgcascade, primary):
    refused(pgcascade("slot", "drop", primary.conninfo(), "eu"), 'there is no slot "eu"', "hint: list them")
    pgcascade("slot", "drop", primary.conninfo(), "eu", "--if-exists").expect(0)


def test_drop_of_a_slot_in_use_names_the_user(pgcascade, primary):
    with using_slot(primary, "orders") as reader:
        refused(
            pgcascade("slot", "drop", primary.conninfo(), "orders"),
            f'slot "orders" is in use by pid {reader.info.backend_pid} (old reader, from 127.0.0.1)',
            "hint: stop its consumer first, or wait for its end with --wait",
        )
    primary.wait_until("SELECT active FROM pg_replication_slots", False)
    pgcascade("slot", "drop", primary.conninfo(), "orders").expect(0)


def test_drop_waits_for_the_user(pgcascade_background, primary):
    with using_slot(primary, "orders") as reader:
        dropping = pgcascade_background("slot", "drop", primary.conninfo(), "orders", "--wait")
        wait_for(lambda: "is active for PID" in primary.log_text(), describe="the first attempt to drop")
        assert dropping.process.poll() is None
        reader.close()
        dropping.wait().expect(0)
    assert primary.value(SLOT.format("orders")) == 0


def test_drop_that_waits_can_be_stopped(pgcascade_background, primary):
    with using_slot(primary, "orders"):
        dropping = pgcascade_background("slot", "drop", primary.conninfo(), "orders", "--wait")
        wait_for(lambda: "is active for PID" in primary.log_text(), describe="the first attempt to drop")
        assert dropping.stop(signal.SIGINT).code == 1
        assert primary.value(SLOT.format("orders")) == 1


def test_drop_of_an_invalidated_slot(pgcascade, primary):
    lose_wal_of_slot(primary, "orders")
    pgcascade("slot", "drop", primary.conninfo(), "orders").expect(0)
    assert primary.value(SLOT.format("orders")) == 0
