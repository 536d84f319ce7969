"""pgcascade relay, feeds: the upstream is failed over, and whoever is behind the relay ends up with the rows of the new
primary, or is told why not."""

import psycopg2
import pytest

from pgoutput_reader import by_psycopg2
from relay_clients import Network, answer, create_slot, for_replication, shown, slots_in_use, wait_for_all_received
from relay_run import Relay
from relay_wal import lsn
from test_relay import relay, subscribe, wait_for_same_rows  # noqa: F401 (relay is a fixture)
from waiting import wait_for

SOURCE = "CREATE TABLE item (id int PRIMARY KEY, what text); CREATE PUBLICATION pub FOR TABLE item;"
TARGET = "CREATE TABLE item (id int PRIMARY KEY, what text);"
START = "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names 'pub')"
IS_CUT = "is cut away"
GOES_ON = "timeline 1 goes on as timeline 2"


def fill(node, first, last):
    node.execute("INSERT INTO item SELECT i, 'item ' || i FROM generate_series(%s, %s) i", first, last)


def slot_of(relay, name):
    """(confirmed_flush_lsn, invalidation_reason)"""
    [found] = [row for row in shown(relay, "pgcascade.slots") if row[0] == name]
    return found[8], found[14]


def wait_for_slot(relay, name, wanted):
    wait_for(lambda: wanted(*slot_of(relay, name)), describe=lambda: f"slot {name}, which is {slot_of(relay, name)}")


def received(relay):
    [feed] = shown(relay, "pgcascade.feeds")
    return feed[5]


class Pair:
    """A primary and a standby that has the relay's slot on the primary, synchronized. Stands in for the upstream in
    Relay.write_file(): whichever of them is the primary."""

    def __init__(self, nodes, primary):
        self.primary = primary
        primary.psql(SOURCE)
        primary.execute("SELECT pg_create_logical_replication_slot('relay_shop', 'pgoutput', false, false, true)")
        settings = {"hot_standby_feedback": "on"}
        self.standby = nodes.standby("other", primary, settings=settings, conninfo=primary.conninfo())

    def conninfo(self, **more):
        ports = f"{self.primary.port},{self.standby.port}"
        hosts = "127.0.0.1,127.0.0.1"
        return self.primary.conninfo(host=hosts, port=ports, target_session_attrs="read-write", **more)

    def synchronize(self):
        """Until the standby has the slot for good."""
        synced = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'relay_shop' AND synced AND NOT temporary"

        def is_synchronized():
            self.primary.execute("SELECT pg_log_standby_snapshot()")
            self.primary.wait_for_catchup(self.standby)
            try:
                self.standby.execute("SELECT pg_sync_replication_slots()")
            except psycopg2.Error:  # it is not far enough yet
                return False
            return self.standby.value(synced) == 1

        wait_for(is_synchronized, describe="the relay's slot to be on the standby")

    def outrun_standby(self):
        """The primary writes more than the standby gets, though nobody commits anything; returns how far it is then."""
        self.standby.stop()
        self.primary.execute("SELECT pg_switch_wal()")
        self.primary.execute("SELECT pg_log_standby_snapshot()")
        return self.primary.current_lsn()

    def fail_over(self):
        """The standby gets nothing any more, and is promoted."""
        self.primary.kill9()
        if self.standby.pid() is None:
            self.standby.append_conf({"primary_conninfo": "", "primary_slot_name": ""})
            self.standby.start()
        self.standby.promote()


@pytest.fixture
def pair(nodes, primary):
    return Pair(nodes, primary)


def start(relay, upstream):
    relay.write_file({"shop": (upstream, ["pub"])})
    return relay.start()


def follower_of(nodes, relay, version, name):
    node = nodes.primary(name, version=version)
    node.psql(TARGET)
    subscribe(node, relay, name=name)
    wait_for(lambda: name in slots_in_use(relay))
    return node


# -- Failover ----------------------------------------------------------------------------------------------------


@pytest.mark.at_least(17)
def test_relay_that_is_not_ahead_goes_on_at_the_new_primary(nodes, version, pair, relay):
    start(relay, pair)
    follower = follower_of(nodes, relay, version, "follower")
    fill(pair.primary, 1, 100)
    wait_for_same_rows(follower, pair.primary)
    pair.synchronize()
    pair.fail_over()
    fill(pair.standby, 101, 200)
    wait_for_same_rows(follower, pair.standby)
    assert GOES_ON in relay.program.stderr()
    assert IS_CUT not in relay.program.stderr()
    assert slot_of(relay, "follower")[1] == ""


@pytest.mark.at_least(17)
def test_relay_that_is_ahead_cuts_back_and_nobody_is_served_two_histories(nodes, version, pair, relay):
    start(relay, pair)
    ahead, behind = (follower_of(nodes, relay, version, name) for name in ("ahead", "behind"))
    fill(pair.primary, 1, 100)
    for node in (ahead, behind):
        wait_for_same_rows(node, pair.primary)
    pair.synchronize()
    behind.execute("ALTER SUBSCRIPTION behind DISABLE")
    wait_for(lambda: "behind" not in slots_in_use(relay))
    pair.standby.stop()
    fill(pair.primary, 101, 200)
    lost = pair.primary.current_lsn()
    wait_for_same_rows(ahead, pair.primary)
    wait_for_slot(relay, "ahead", lambda position, _: lsn(position) >= lsn(lost))
    pair.fail_over()
    relay.program.wait_for_stderr(r"what the log held beyond, up to .* \(transactions: 1, .*\), is cut away")
    relay.program.wait_for_stderr(GOES_ON)
    relay.program.wait_for_stderr('slot "ahead", which stood at .*, is invalidated')
    fill(pair.standby, 301, 310)
    behind.execute("ALTER SUBSCRIPTION behind ENABLE")
    wait_for_same_rows(behind, pair.standby)
    assert slot_of(relay, "behind")[1] == ""
    assert slot_of(relay, "ahead")[1] == "diverged"
    ahead.wait_for_log('due to "diverged"')
    assert ahead.value("SELECT count(*) FROM item") == 200
    # So it is after a crash, and the next one that comes gets one history.
    relay.kill9()
    relay.start()
    assert slot_of(relay, "ahead")[1] == "diverged"
    fresh = follower_of(nodes, relay, version, "fresh")
    fill(pair.standby, 311, 320)
    for node in (behind, fresh):
        wait_for_same_rows(node, pair.standby)


# What a client has taken it need not have confirmed.
@pytest.mark.at_least(17)
def test_who_took_what_is_lost_without_confirming_it_is_told_so_and_others_miss_nothing(pair, relay, directory):
    start(relay, pair)
    for name in ("took_it", "was_told", "knows_nothing"):
        create_slot(relay, name)
    fill(pair.primary, 1, 10)
    wait_for_all_received(relay, pair.primary)
    pair.synchronize()
    common = received(relay)
    # All three have been there: the slot is of the feed.
    for name in ("took_it", "was_told", "knows_nothing"):
        connection = for_replication(relay)
        assert answer(connection, START.format(name, "0/0")) == "it streams"
        connection.close()
    pair.outrun_standby()
    wait_for_all_received(relay, pair.primary)
    told = received(relay)
    assert lsn(told) > lsn(common)
    fill(pair.primary, 11, 20)
    wait_for_all_received(relay, pair.primary)
    lost = received(relay)
    pair.fail_over()
    relay.program.wait_for_stderr(GOES_ON)
    fill(pair.standby, 21, 30)
    wait_for_all_received(relay, pair.standby)
    connection = for_replication(relay)
    assert answer(connection, START.format("took_it", lost)) == ("55000", 'replication slot "took_it" was invalidated')
    connection.close()
    assert slot_of(relay, "took_it")[1] == "diverged"
    relay.program.wait_for_stderr('slot "took_it" is invalidated: its client asks to go on at')
    new = [str(number) for number in range(21, 31)]
    old = [str(number) for number in range(1, 11)]
    for name, position, wanted in (("was_told", told, new), ("knows_nothing", "0/0", old + new)):
        changes = by_psycopg2(relay, name, "pub", pair.standby.current_lsn(), start=position)
        assert [change["new"]["id"] for change in changes if change["op"] == "insert"] == wanted, name


# A primary writes more than a standby gets before it dies, though nobody has committed anything.
def follow_while_only_positions_are_lost(pair, relay, follower):
    fill(pair.primary, 1, 100)
    wait_for_same_rows(follower, pair.primary)
    pair.synchronize()
    position = pair.outrun_standby()
    wait_for_slot(relay, "follower", lambda confirmed, _: lsn(confirmed) >= lsn(position))
    pair.fail_over()
    fill(pair.standby, 101, 101)
    assert lsn(pair.standby.current_lsn()) < lsn(position)
    wait_for_same_rows(follower, pair.standby)


@pytest.mark.at_least(17)
def test_relay_that_only_knew_of_a_later_position_skips_nothing(nodes, version, pair, relay):
    start(relay, pair)
    follow_while_only_positions_are_lost(pair, relay, follower_of(nodes, relay, version, "follower"))
    assert GOES_ON in relay.program.stderr()
    assert IS_CUT not in relay.program.stderr()
    assert slot_of(relay, "follower")[1] == ""


@pytest.mark.at_least(17)
def test_relay_behind_a_relay_follows_too(nodes, version, pair, relay, directory, pgcascade_background):
    start(relay, pair)
    far_directory = directory / "far"
    far_directory.mkdir()
    far = start(Relay(far_directory, pgcascade_background), relay)
    follow_while_only_positions_are_lost(pair, far, follower_of(nodes, far, version, "follower"))
    for each in (relay, far):
        each.program.wait_for_stderr(GOES_ON)
        assert IS_CUT not in each.program.stderr()


@pytest.mark.at_least(17)
def test_old_primary_is_never_gone_back_to(nodes, version, pair, relay):
    start(relay, pair)
    follower = follower_of(nodes, relay, version, "follower")
    pair.synchronize()
    pair.fail_over()
    fill(pair.standby, 1, 100)
    wait_for_same_rows(follower, pair.standby)
    pair.standby.stop()
    pair.primary.start()
    relay.program.wait_for_stderr("the upstream is on timeline 1, the log on timeline 2: it has not followed the promotion")
    fill(pair.primary, 201, 210)
    pair.primary.stop()
    pair.standby.start()
    fill(pair.standby, 101, 200)
    wait_for_same_rows(follower, pair.standby)


# -- A standby that is promoted while it is the upstream ---------------------------------------------------------


@pytest.mark.at_least(16)
@pytest.mark.parametrize("is_cut", [False, True], ids=["goes_on", "is_cut"])
def test_standby_is_promoted_while_the_relay_follows_it(nodes, primary, version, relay, is_cut):
    primary.psql(SOURCE)
    leaf = nodes.standby("leaf", primary, settings={"hot_standby_feedback": "on"})
    primary.wait_for_catchup(leaf)
    with Network(leaf) as network:
        relay.write_file({"shop": (network, ["pub"])})
        relay.start(wait=False)

        def has_started():
            primary.execute("SELECT pg_log_standby_snapshot()")
            return "receiving from" in relay.program.stderr()

        wait_for(has_started, describe=relay.program.stderr)
        follower = follower_of(nodes, relay, version, "follower")
        fill(primary, 1, 100)
        wait_for_same_rows(follower, primary)
        primary.wait_for_catchup(leaf)
        leaf.promote()
        fill(leaf, 101, 200)
        wait_for_same_rows(follower, leaf)
        if is_cut:
            network.cut()
        relay.program.wait_for_stderr(GOES_ON)
        fill(leaf, 201, 300)
        wait_for_same_rows(follower, leaf)
        # Nor after a restart of either.
        relay.kill9()
        leaf.restart()
        relay.start()
        fill(leaf, 301, 400)
        wait_for_same_rows(follower, leaf)
        assert IS_CUT not in relay.program.stderr()
        assert slot_of(relay, "follower")[1] == ""
