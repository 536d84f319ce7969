"""pgcascade relay: upstreams of every kind and state, and subscribers of other versions than theirs."""

import filecmp
import json
import struct

import psycopg2
import pytest

from conftest import VERSIONS
from relay_clients import (
    ByteCounter,
    Network,
    RawSession,
    address_of,
    create_slot,
    shown,
    slots,
    slots_in_use,
    wait_for_all_received,
)
from relay_wal import create_physical_slot, physically, standby_behind, wait_for_wal
from test_relay import SHOP, read_changes, relay, shop, subscribe, wait_for_same_rows  # noqa: F401 (fixtures)
from test_relay_faults import TARGET, follow, follower, source, wait_for_the_same_log, write  # noqa: F401 (fixtures)
from test_relay_status import start_client
from test_relay_wal import TABLE, fill, same_table, wait_for_items
from waiting import wait_for


# -- Subscribers ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(min(VERSIONS) == max(VERSIONS), reason="takes two versions of PostgreSQL")
@pytest.mark.parametrize("subscriber_is", ["older", "newer"])
def test_subscriber_and_upstream_may_be_of_different_versions(nodes, relay, subscriber_is):
    versions = sorted([min(VERSIONS), max(VERSIONS)], reverse=subscriber_is == "older")
    shop = nodes.primary("shop", version=versions[0], settings={"wal_level": "logical"})
    shop.psql(SHOP)
    shop.execute("INSERT INTO item SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 1000) i")
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    subscriber = nodes.primary("subscriber", version=versions[1])
    for name, options in {"plain": "copy_data = true", "fast": "streaming = on, binary = true"}.items():
        subscriber.execute(f"CREATE DATABASE {name}")
        subscriber.psql(SHOP, name)
        subscribe(subscriber, relay, options, name=name, dbname=name)
    shop.execute("UPDATE item SET price = price + 1 WHERE id <= 500; DELETE FROM item WHERE id > 900")
    shop.execute("INSERT INTO sale (item) VALUES (1); TRUNCATE sale; INSERT INTO sale (item) VALUES (2)")
    for name in ("plain", "fast"):
        wait_for_same_rows(subscriber, shop, dbname=name)
        wait_for_same_rows(subscriber, shop, "sale", dbname=name)
        subscriber.execute(f"ALTER SUBSCRIPTION {name} REFRESH PUBLICATION", dbname=name)
        subscriber.execute(f"DROP SUBSCRIPTION {name}", dbname=name)
    assert slots(relay) == {}


@pytest.mark.at_least(17)
def test_subscription_makes_its_slot_one_for_failover(source, follower, relay, pgcascade):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    follow(follower, relay)
    for wanted in ("true", "false"):
        follower.execute("ALTER SUBSCRIPTION sub DISABLE")
        wait_for(lambda: not slots_in_use(relay))
        follower.execute(f"ALTER SUBSCRIPTION sub SET (failover = {wanted})")
        [slot] = json.loads(pgcascade("slot", "list", relay.conninfo(), "--json").expect(0).stdout)
        assert (slot["slot_name"], slot["failover"]) == ("sub", wanted == "true")
        follower.execute("ALTER SUBSCRIPTION sub ENABLE")
        write(source, 1)
        wait_for_the_same_log(follower, source)


def test_subscriber_in_another_encoding_is_refused_before_anything_is_copied(source, follower, relay):
    write(source, 1)
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    follower.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    follower.psql(TARGET, "latin")
    with pytest.raises(psycopg2.Error, match="the relay's feeds are in UTF8, and are not converted to LATIN1"):
        subscribe(follower, relay, publications="log", dbname="latin")
    assert follower.value("SELECT count(*) FROM pg_subscription") == 0
    assert follower.value("SELECT count(*) FROM item_log", dbname="latin") == 0
    assert slots(relay) == {}


@pytest.mark.at_least(17)
def test_standby_that_would_synchronize_slots_is_told_that_it_can_not_and_streams(nodes, primary, relay):
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    settings = {"sync_replication_slots": "on", "hot_standby_feedback": "on"}
    standby = standby_behind(nodes, relay, primary, "eu", settings=settings, dbname="postgres")
    standby.wait_for_log("cannot synchronize replication slots from a standby server")
    fill(primary, 1, 1000)
    wait_for_items(standby, 1000)
    assert same_table(standby, primary)


def test_slow_reader_costs_the_others_nothing(source, follower, relay):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    create_slot(relay, "slow")
    follow(follower, relay)
    follower.wait_until("SELECT srsubstate FROM pg_subscription_rel", "r")
    with RawSession(address_of(relay)) as session:
        session.log_in()
        session.stream("START_REPLICATION SLOT slow LOGICAL 0/0 (proto_version '1', publication_names 'log')")
        reader = ByteCounter(session, at_once=1000, pause_s=0.1)  # 10 kB a second
        write(source, 200, "x" * 100_000)
        wait_for_the_same_log(follower, source)
        assert reader.bytes < 1_000_000, "the slow one held the fast one up"
        assert slots(relay)["slow"] is True


# -- The feed's slot --------------------------------------------------------------------------------------------


@pytest.mark.at_least(16)
def test_slot_of_a_feed_is_made_on_a_standby(nodes, shop, relay):
    standby = nodes.standby("standby", shop, settings={"hot_standby_feedback": "on"})
    relay.write_file({"shop": (standby, ["pub"])})
    relay.start()
    assert standby.sql("SELECT slot_name, active FROM pg_replication_slots") == [("relay_shop", True)]
    create_slot(relay)
    cursor = start_client(relay)
    shop.execute("INSERT INTO item VALUES (1)")
    assert [change["new"]["id"] for change, _ in read_changes(cursor, 1)] == ["1"]
    cursor.connection.close()


def test_slot_of_a_feed_is_made_only_where_that_is_allowed(source, follower, relay):
    relay.write_file({"log": (source, ["log"])}, feed_settings={"create_slot": "false"})
    relay.start(wait=False)
    relay.program.wait_for_stderr('there is no slot "relay_log"')
    assert source.value("SELECT count(*) FROM pg_replication_slots") == 0
    source.execute("SELECT pg_create_logical_replication_slot('relay_log', 'pgoutput')")
    relay.program.wait_for_stderr("receiving from", timeout=60)
    follow(follower, relay)
    write(source, 1)
    wait_for_the_same_log(follower, source)


def is_dropped(node, slot):
    """The relay comes back to it at once: it is driven away until the slot is free."""
    try:
        node.execute("SELECT pg_drop_replication_slot(%s)", slot)
    except psycopg2.errors.ObjectInUse:
        node.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", slot)
        return False
    return True


def test_slot_of_a_feed_that_was_dropped_is_told_and_nothing_is_skipped(source, follower, relay):
    relay.write_file({"log": (source, ["log"])})
    relay.start()
    follow(follower, relay)
    write(source, 10)
    wait_for_the_same_log(follower, source)
    wait_for_all_received(relay, source)
    source.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
    wait_for(lambda: is_dropped(source, "relay_log"))
    write(source, 10, "behind the gap")
    problem = lambda: shown(relay, "pgcascade.feeds")[0][8]
    wait_for(lambda: problem() and 'there is no slot "relay_log"' in problem(), describe=problem)
    # One of that name that somebody else makes begins behind the gap.
    source.execute("SELECT pg_create_logical_replication_slot('relay_log', 'pgoutput')")
    wait_for(lambda: "beyond" in problem(), describe=problem)
    write(source, 10, "behind the gap")
    assert follower.value("SELECT count(*) FROM item_log") == 10


# -- The upstream and the way to it -----------------------------------------------------------------------------


def test_upstream_of_a_feed_that_falls_silent_is_given_up_and_reached_anew(source, follower, relay):
    with Network(source) as network:
        relay.write_file({"log": (network, ["log"])}, wal_receiver_timeout='"2s"')
        relay.start()
        follow(follower, relay)
        write(source, 10)
        wait_for_the_same_log(follower, source)
        network.hold_after(0)
        write(source, 10)  # the connection is there, and nothing comes through it any more
        assert network.held.wait(30)
        relay.program.wait_for_stderr("nothing has come for 2000 ms")
        wait_for_the_same_log(follower, source)
        network.cut()


def test_garbage_in_the_upstream_s_stream_reaches_nobody(source, follower, relay):
    insert = b"I" + struct.pack("!I", source.value("SELECT 'item_log'::regclass::oid::int")) + b"N"
    with Network(source) as network:
        relay.write_file({"log": (network, ["log"])})
        relay.start()
        follow(follower, relay)
        write(source, 10)
        wait_for_the_same_log(follower, source)
        for number, garbage in enumerate([b"?" + insert[1:], b"B" + insert[1:], b"C" + insert[1:]]):
            network.damage(insert, garbage)
            write(source, 10)
            wait_for(lambda: network.replaced)
            wait_for(lambda: relay.program.stderr().count("receiving from") == number + 2, describe=relay.program.stderr)
            wait_for_the_same_log(follower, source)


@pytest.mark.parametrize("segment_megabytes", [1, 64])
def test_wal_comes_in_segments_of_any_size(nodes, version, relay, segment_megabytes):
    kept = {"wal_keep_size": "1GB"}  # to compare with
    segments = [f"--wal-segsize={segment_megabytes}"]
    primary = nodes.primary("small", version=version, settings=kept, initdb_arguments=segments)
    primary.execute(TABLE)
    relay.write_file(wal=primary)
    relay.start()
    create_physical_slot(relay, "held")
    standby = standby_behind(nodes, relay, primary, "eu")
    fill(primary, 1, 20_000)
    primary.execute("SELECT pg_switch_wal()")
    fill(primary, 20_001, 20_010)
    wait_for_wal(relay, primary)
    wait_for_items(standby, 20_010)
    assert same_table(standby, primary)
    assert physically(relay, "SHOW wal_segment_size") == [[(f"{segment_megabytes}MB",)]]
    complete = lambda: [file for file in (relay.directory / "data/wal").iterdir() if len(file.name) == 24]
    wait_for(lambda: len(complete()) >= (2 if segment_megabytes == 1 else 1))
    for file in complete():
        assert filecmp.cmp(file, primary.data_directory / "pg_wal" / file.name, shallow=False), file
        assert file.stat().st_size == segment_megabytes << 20
