"""pgcascade relay, for WAL: what breaks is mended, or said; standbys have what the primary has at the end."""

import os
import random
import re

import pytest

from relay_clients import Network, slots
from relay_wal import create_physical_slot, lsn, standby_behind, wait_for_wal, wal_of
from test_relay import relay  # noqa: F401 (fixture)
from test_relay_faults import ROUNDS, seed  # noqa: F401 (a fixture)
from test_relay_wal import TABLE, fill, fill_segments, same_table, wait_for_items
from waiting import wait_for
from workload import SCHEMA, Workload


@pytest.fixture
def source(primary):
    primary.execute(TABLE)
    return primary


# -- Killed at random -------------------------------------------------------------------------------------------


def test_whoever_is_killed_the_standby_has_what_the_primary_has(nodes, version, relay, seed):
    choose = random.Random(seed)
    source = nodes.primary("source", version=version, durable=True)
    source.psql(SCHEMA)
    relay.write_file(wal=source)
    relay.start()
    standby = standby_behind(nodes, relay, source, "eu")
    applied = lambda: standby.value("SELECT count(*) FROM item_log")
    victims = choose.choices(["relay", "upstream", "standby"], weights=[3, 1, 1], k=ROUNDS)
    print(victims)
    with Workload(source, seed):
        for victim in victims:
            enough = applied() + choose.randrange(1, 200)
            wait_for(lambda: applied() > enough, 60, lambda: f"progress after {victims}: {relay.program.finished()}")
            if victim == "relay":
                relay.kill9()
                relay.start(wait=False)
                relay.program.wait_for_stderr("listening on")
            else:
                node = source if victim == "upstream" else standby
                node.kill9()
                node.start()
    source.wait_for_catchup(standby, 60)
    for table in ("item", "item_log"):
        assert same_table(standby, source, table)


# -- The upstream -----------------------------------------------------------------------------------------------


def test_upstream_that_falls_silent_is_given_up_and_reached_anew(nodes, source, relay):
    with Network(source) as network:
        relay.write_file(wal=network, wal_receiver_timeout='"2s"')
        relay.start()
        standby = standby_behind(nodes, relay, source, "eu")
        fill(source, 1, 10)
        wait_for_items(standby, 10)
        network.hold_after(0)
        fill(source, 11, 20)  # the connection is there, and nothing comes through it any more
        assert network.held.wait(30)
        relay.program.wait_for_stderr("nothing has come for 2000 ms")
        wait_for_items(standby, 20)
        # One that has nothing to say is asked, and answers.
        said = relay.program.stderr().count("nothing has come")
        wait_for(lambda: source.log_text().count("START_REPLICATION") >= 2)
        before = relay.program.stderr().count("receiving from")
        source.wait_until("SELECT now() - backend_start > '5s' FROM pg_stat_replication", timeout=60)
        assert relay.program.stderr().count("nothing has come") == said
        assert relay.program.stderr().count("receiving from") == before


def test_another_cluster_behind_the_same_address_is_refused(nodes, source, relay, version):
    with Network(source) as network:
        relay.write_file(wal=network)
        relay.start()
        fill(source, 1, 10)
        end = wait_for_wal(relay, source)
        relay.stop()
        stranger = nodes.primary("stranger", version=version, stranger=True)
        relay.write_file(wal=stranger)
        relay.start(wait=False)
        relay.program.wait_for_stderr("the upstream is another cluster now: its system identifier is")
        assert "another cluster" in wal_of(relay)["problem"]
        assert lsn(wal_of(relay)["received"]) >= lsn(end)
        assert stranger.value("SELECT count(*) FROM pg_replication_slots") == 0


def test_slot_is_made_only_where_that_is_allowed(source, relay):
    relay.write_file(wal=source, wal_settings={"create_slot": "false"})
    relay.start(wait=False)
    relay.program.wait_for_stderr('replication slot "relay_wal" does not exist')
    assert "create_slot = true" in relay.program.stderr()
    source.create_physical_slot("relay_wal")
    relay.program.wait_for_stderr("receiving from")


def test_older_timeline_is_waited_for_and_never_followed(nodes, source, relay):
    promoted = nodes.standby("promoted", source)
    source.wait_for_catchup(promoted)
    promoted.promote()
    relay.write_file(wal=promoted)
    relay.start()
    create_physical_slot(relay, "held")
    fill(promoted, 1, 10)
    end = wait_for_wal(relay, promoted)
    relay.stop()
    relay.write_file(wal=source)
    relay.start(wait=False)
    relay.program.wait_for_stderr("the upstream is on timeline 1, the log on timeline 2: it has not followed the promotion")
    assert lsn(wal_of(relay)["received"]) >= lsn(end) and wal_of(relay)["timeline"] == "2"


# -- Its directory ----------------------------------------------------------------------------------------------


def test_on_a_full_disk_it_waits_and_loses_nothing(nodes, source, relay, small_disk):
    disk = small_disk("96m", "0700")
    relay.write_file(wal=source, directory=f'"{disk.path}"')
    relay.start()
    standby = standby_behind(nodes, relay, source, "eu")
    standby.stop()
    wait_for_wal(relay, source)
    disk.fill()
    fill(source, 1, 100_000)
    relay.program.wait_for_stderr("receiving goes on once there is room")
    assert "No space left" in wal_of(relay)["problem"]
    held = source.value("SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = 'relay_wal'")
    assert lsn(held) <= lsn(wal_of(relay)["durable"])
    disk.make_room()
    wait_for_wal(relay, source)
    wait_for(lambda: wal_of(relay)["problem"] is None)
    standby.start()
    wait_for_items(standby, 100_000)
    assert same_table(standby, source)


def damage(file, at, change):
    with open(file, "r+b") as opened:
        opened.seek(at)
        old = opened.read(1)
        opened.seek(at)
        opened.write(bytes([old[0] ^ change]))


def test_torn_tail_is_fetched_again_and_damage_below_it_is_refused(nodes, source, relay):
    relay.write_file(wal=source)
    relay.start()
    standby = standby_behind(nodes, relay, source, "eu")
    directory = relay.directory / "data" / "wal"
    partial = lambda: max(directory.glob("*.partial"))
    tears = {
        "cut": lambda: os.truncate(partial(), partial().stat().st_size - 1),
        "zeroed": lambda: damage(partial(), partial().stat().st_size - 1, 0xFF),
        "without its sum": lambda: os.truncate(sums(), sums().stat().st_size - 10),
    }
    sums = lambda: partial().with_suffix(".sums")
    for number, (what, tear) in enumerate(tears.items()):
        fill(source, number * 100 + 1, number * 100 + 100)
        wait_for_items(standby, number * 100 + 100)
        wait_for_wal(relay, source)
        relay.kill9()
        tear()
        relay.start()
        assert "were not whole and are received again" in relay.program.stderr(), what
    fill(source, 1001, 1100)
    wait_for_items(standby, 400)
    assert same_table(standby, source)

    wait_for_wal(relay, source)
    fill(source, 1101, 1101)  # its sum says that what came before was on disk
    wait_for_wal(relay, source)
    relay.stop()
    damage(partial(), 20_000, 1)
    refused = relay.start_program("relay", relay.file).wait()
    assert refused.code == 1
    assert re.search(re.escape(str(partial())) + r", offset \d+: ", refused.stderr), refused.stderr
    damage(partial(), 20_000, 1)
    relay.start()


# -- Slow ones --------------------------------------------------------------------------------------------------


def test_standby_that_stalls_costs_the_others_nothing(nodes, source, relay):
    relay.write_file(wal=source, wal_sender_timeout='"3s"')
    relay.start()
    quick = standby_behind(nodes, relay, source, "quick")
    with Network(relay) as network:
        node = standby_behind(nodes, relay, source, "stalled", port=network.port)
        network.hold_after(0)
        fill(source, 1, 100_000)
        wait_for_items(quick, 100_000)
        wait_for(lambda: slots(relay) == {"quick": True, "stalled": False}, 60)
        network.cut()
        wait_for_items(node, 100_000)
        assert same_table(node, source)
