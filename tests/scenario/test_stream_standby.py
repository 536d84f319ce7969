"""pgcascade stream on standbys, at any depth: what comes is what the primary committed, through restarts and promotion."""

import pytest

from change_lines import as_text, assert_in_commit_order, comparable, parse, tables_after
from pgoutput_reader import by_pg_recvlogical
from waiting import wait_for
from workload import SCHEMA, Workload, large_transaction

# A slot is active while it is made, too: what comes then may come before the slot's beginning.
STREAMS = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pgcascade' AND state = 'streaming'"

pytestmark = pytest.mark.at_least(16)


@pytest.fixture
def chain(nodes, version):
    """primary -> eu -> leaf, with the workload's tables; nothing happens on them."""
    settings = {"wal_level": "logical", "hot_standby_feedback": "on"}
    primary = nodes.primary(version=version, settings=settings)
    primary.psql(SCHEMA)
    eu = nodes.standby("eu", primary)
    leaf = nodes.standby("leaf", eu)
    primary.wait_for_catchup(leaf)
    return primary, eu, leaf


@pytest.fixture
def start(pgcascade_background):
    """Starts the stream, with a slot of its own; returns once it streams."""

    def run(node, *more):
        stream = pgcascade_background(
            "stream", node.conninfo(), "-S", "s", "-P", "pub", "--create-slot", "--status-interval", "0.1", *more
        )
        node.wait_until(STREAMS, 1)
        return stream

    return run


def changes_of(stream):
    return [parse(line) for line in stream.lines()]


def last_change(expected):
    change = expected[-1]
    return f'"commit_lsn":"{change["commit_lsn"]}","xid":{change["xid"]},"ordinal":{change["ordinal"]},.*$'


def assert_tables_follow(changes, node):
    """The changes, applied to empty tables, give the tables of the server."""
    assert_in_commit_order(changes)
    for table, rows in tables_after(changes).items():
        there = node.value(f"SELECT json_agg(t) FROM {table} t") or []
        assert rows == {as_text(row["id"]): {name: as_text(value) for name, value in row.items()} for row in there}


def test_on_a_leaf_of_an_idle_primary_through_restarts_below_and_above(pgcascade, start, chain, directory):
    primary, eu, leaf = chain
    pgcascade("slot", "create", leaf.conninfo(), "oracle", "--logical").expect(0)
    stream = start(leaf)
    with Workload(primary, seed=7) as workload:
        for node, mode in [(leaf, "fast"), (eu, "fast"), (leaf, "immediate"), (eu, "immediate")]:
            before = workload.committed
            wait_for(lambda: workload.committed > before + 50, describe="some transactions")
            node.stop(mode)
            node.start()
    primary.wait_for_catchup(leaf)
    expected = by_pg_recvlogical(leaf, "oracle", "pub", leaf.current_lsn(), directory)
    stream.wait_for_stdout(last_change(expected))
    assert stream.stop().code == 0
    changes = changes_of(stream)
    # The oracle's slot is older: it may have seen transactions from before the stream's.
    assert comparable(changes) == comparable(expected)[-len(changes) :]
    assert_tables_follow(changes, leaf)
    assert_tables_follow(changes, primary)


def test_the_standby_is_promoted_meanwhile(start, chain):
    primary, eu, leaf = chain
    stream = start(eu)
    with Workload(primary, seed=8) as workload:
        wait_for(lambda: workload.committed > 50, describe="some transactions")
    primary.wait_for_catchup(eu)
    before = primary.value("SELECT count(*) FROM item_log")
    primary.stop("fast")
    eu.promote()
    with Workload(eu, seed=9, first_session=10) as workload:
        wait_for(lambda: workload.committed > 50, describe="some transactions on the new primary")
    count = eu.value("SELECT count(*) FROM item_log")
    assert count > before + 50
    wait_for(
        lambda: sum('"table":"item_log"' in line for line in stream.lines()) >= count,
        describe=lambda: f"all transactions: {stream.finished().stderr}",
    )
    assert stream.stop().code == 0
    assert_tables_follow(changes_of(stream), eu)
    eu.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = 's'", False)


def test_its_upstream_is_promoted_meanwhile(start, chain):
    """The leaf follows the new timeline; its slot, and the stream on it, go on."""
    primary, eu, leaf = chain
    stream = start(leaf)
    large_transaction(primary, 10, first_id=1)
    primary.wait_for_catchup(leaf)
    primary.stop("fast")
    eu.promote()
    large_transaction(eu, 10, first_id=100)
    stream.wait_for_stdout('"id":109')
    assert stream.stop().code == 0
    assert_tables_follow(changes_of(stream), eu)


def test_a_temporary_slot_on_a_leaf(pgcascade_background, chain):
    primary, _, leaf = chain
    stream = pgcascade_background("stream", leaf.conninfo(), "-S", "tmp", "-P", "pub", "--temporary")
    leaf.wait_until(STREAMS, 1)
    assert leaf.value("SELECT temporary FROM pg_replication_slots") is True
    large_transaction(primary, 10)
    stream.wait_for_stdout('"id":1000000009')
    assert stream.stop().code == 0
    leaf.wait_until("SELECT count(*) FROM pg_replication_slots", 0)


def test_the_primary_can_be_named(start, chain):
    primary, eu, leaf = chain
    stream = start(leaf, "--primary", primary.conninfo())
    large_transaction(primary, 1)
    stream.wait_for_stdout('"id":1000000000')
    assert stream.stop().code == 0


def test_an_idle_leaf_does_not_hold_wal_back(start, chain):
    primary, _, leaf = chain
    start(leaf)
    primary.execute("CREATE TABLE unpublished AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
    primary.wait_for_catchup(leaf)
    end = leaf.current_lsn()
    leaf.wait_until(f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = 's'")


def test_a_slot_that_is_invalidated_meanwhile_is_told_with_the_reason(start, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    primary.psql(SCHEMA)
    # Without hot_standby_feedback and a physical slot the primary may remove what the slot still needs.
    eu = nodes.standby("eu", primary, slot=None)
    stream = start(eu)
    assert "hot_standby_feedback" in stream.stderr()

    def is_invalidated():
        primary.psql("CREATE TABLE gone (a int); DROP TABLE gone; VACUUM pg_class, pg_attribute, pg_type, pg_depend")
        return stream.process.poll() is not None

    wait_for(is_invalidated, describe=lambda: f"the slot to be invalidated: {stream.finished()}")
    done = stream.finished()
    assert done.code == 1
    assert "rows_removed" in done.stderr if version >= 17 else "conflict" in done.stderr
    assert "hint: " in done.stderr
