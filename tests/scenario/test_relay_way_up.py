"""From a standby to its primary through relays: whoever makes a logical slot down there, and whoever examines it, gets up."""

import json
import time

import pytest

from pg_node import PASSWORD
from relay_clients import Network, secret_of
from relay_wal import standby_behind
from test_doctor import Report, address
from test_relay import relay  # noqa: F401 (fixture)
from test_relay_wal import relays  # noqa: F401 (fixture)
from test_slot import SLOT, refused
from waiting import wait_for

SETTINGS = {"wal_level": "logical", "hot_standby_feedback": "on"}


@pytest.fixture
def primary(nodes, version):
    """Idle, and nothing but ordinary settings: by itself it writes a snapshot record every 15 s at most."""
    made = nodes.primary(version=version, settings=SETTINGS)
    made.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
    return made


def chain_of(relays, primary, *names, **settings):
    """primary -> relay -> relay …, from the top."""
    chain = []
    for name in names:
        chain.append(relays(name))
        chain[-1].write_file(wal=chain[-2] if chain[:-1] else primary, **settings)
        chain[-1].start()
    return chain


def done_at_once(run):
    begun = time.monotonic()
    run()
    took = time.monotonic() - begun
    assert took < 10, f"took {took:.1f} s"


# -- slots -------------------------------------------------------------------------------------------------------


@pytest.mark.at_least(16)
@pytest.mark.parametrize("names", [["one"], ["one", "two"]], ids=["a_relay", "two_relays"])
def test_slot_on_an_idle_standby_behind_relays_is_made_at_once(pgcascade, nodes, primary, relays, names):
    chain = chain_of(relays, primary, *names)
    leaf = standby_behind(nodes, chain[-1], primary, "leaf", settings=SETTINGS)
    idle_at = primary.current_lsn()
    done_at_once(lambda: pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0))
    assert leaf.value(SLOT.format("orders")) == 1 and primary.value(SLOT.format("orders")) == 0
    written = primary.value("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", idle_at)
    assert written < 100_000, "only snapshot records were needed"


@pytest.mark.at_least(16)
def test_stream_makes_its_slot_behind_a_standby_behind_a_relay(pgcascade, pgcascade_background, nodes, primary, relays):
    """primary -> relay -> standby -> leaf"""
    [one] = chain_of(relays, primary, "one")
    eu = standby_behind(nodes, one, primary, "eu", settings=SETTINGS)
    leaf = nodes.standby("leaf", eu, settings=SETTINGS)
    stream = pgcascade_background("stream", leaf.conninfo(), "-S", "s", "-P", "p", "--create-slot")
    leaf.wait_until("SELECT count(*) FROM pg_replication_slots WHERE active AND confirmed_flush_lsn IS NOT NULL", 1, timeout=10)
    primary.execute("INSERT INTO t VALUES (42)")
    stream.wait_for_stdout('"42"|:42')
    stream.stop().expect(0)


@pytest.mark.at_least(16)
def test_of_several_upstreams_the_one_in_use_is_asked(pgcascade, nodes, primary, relay):
    """The relay's connection string names a server that is down first."""
    away = nodes.reserve("away", primary.version)
    several = primary.conninfo(dbname=None, host="127.0.0.1,127.0.0.1", port=f"{away.port},{primary.port}")
    relay.write_file(wal=type("Both", (), {"conninfo": lambda self, **_: several})())
    relay.start()
    leaf = standby_behind(nodes, relay, primary, "leaf", settings=SETTINGS)
    done_at_once(lambda: pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0))


@pytest.mark.at_least(16)
def test_a_relay_that_refuses_us_or_receives_from_nobody_is_named_with_the_cure(pgcascade, nodes, primary, relay):
    network = Network(primary)
    users = relay.directory / "users.toml"
    write_user = lambda name: users.write_text(f'[user.{name}]\nsecret = "{secret_of("other")}"\nphysical = true\n')
    write_user("standby")
    users.chmod(0o600)
    relay.write_file(wal=network, users=f'"{users}"', trust="[]")
    relay.start()
    leaf = standby_behind(nodes, relay, primary, "leaf", settings=SETTINGS, user="standby", password="other")
    # As long as this transaction is open, no record that the primary writes by itself is enough.
    blocker = primary.connect()
    blocker.autocommit = False
    blocker.cursor().execute("CREATE TABLE uncommitted ()")
    create = lambda: pgcascade("slot", "create", leaf.conninfo(), "orders")
    by_hand = "run on the primary: SELECT pg_log_standby_snapshot()"
    refused(create(), "password authentication failed", by_hand, "if a relay answers there: it lets in whom its users file names")
    assert Report(pgcascade("doctor", leaf.conninfo(), "--json")).finding(
        address(leaf), "upstream", "password authentication failed", "the primary was not examined", "its users file names"
    )

    relay.write_file(wal=network)
    relay.stop()
    relay.start()
    leaf.wait_for_streaming()
    network.close()
    wait_for(lambda: wal_status(pgcascade, relay)["state"] == "connecting")
    refused(create(), f"127.0.0.1:{relay.port}, a relay, receives WAL from no server now", by_hand, "see to [wal] in its relay.toml")
    blocker.close()


def wal_status(pgcascade, relay):
    return json.loads(pgcascade("relay", "status", "--json", relay.file).stdout)["wal"]


@pytest.mark.at_least(16)
def test_a_relay_is_no_primary(pgcascade, nodes, primary, relays):
    [one] = chain_of(relays, primary, "one")
    leaf = standby_behind(nodes, one, primary, "leaf", settings=SETTINGS)
    refused(
        pgcascade("slot", "create", leaf.conninfo(), "orders", "--primary", one.conninfo()),
        f"127.0.0.1:{one.port}, named as the primary, is a relay",
        "hint: name the server that the relay gets its WAL from in the end, or none: it is found",
    )
    assert leaf.value(SLOT.format("orders")) == 0


# -- doctor ------------------------------------------------------------------------------------------------------


def looked_at(report):
    return [(name, server["role"], server["upstream"]) for name, server in report.servers.items()]


@pytest.mark.at_least(16)
def test_doctor_climbs_through_relays_and_finds_nothing(pgcascade, nodes, primary, relays):
    one, two = chain_of(relays, primary, "one", "two")
    leaf = standby_behind(nodes, two, primary, "leaf", settings=SETTINGS)
    from_the_relay = [
        (address(two), "relay", address(one)),
        (address(one), "relay", address(primary)),
        (address(primary), "primary", None),
    ]
    report = Report(pgcascade("doctor", leaf.conninfo(), "--json"))
    assert looked_at(report) == [(address(leaf), "standby", address(two)), *from_the_relay]
    assert report.checks() == set()
    # The relay itself, which has no database. It asks for no password, the primary does.
    report = Report(pgcascade("doctor", two.conninfo(dbname=None, password=PASSWORD), "--json"))
    assert looked_at(report) == from_the_relay
    assert report.checks() == set()


@pytest.mark.at_least(16)
def test_doctor_examines_a_relay_of_a_feed_and_its_primary(pgcascade, primary, relay):
    relay.write_file({"f": (primary, ["p"])})
    relay.start()
    report = Report(pgcascade("doctor", relay.conninfo(password=PASSWORD), "--json"))
    assert looked_at(report) == [(address(relay), "relay", address(primary)), (address(primary), "primary", None)]
    assert report.checks() == set()


@pytest.mark.at_least(16)
def test_doctor_looks_for_a_slot_where_it_is(pgcascade, nodes, primary, relay):
    """The WAL comes from a standby, the feed from the primary."""
    eu = nodes.standby("eu", primary)
    relay.write_file({"f": (primary, ["p"])}, wal=eu)
    relay.start()
    for log in ("feed f", "wal"):
        relay.program.wait_for_stderr(f"{log}: receiving from")
    report = Report(pgcascade("doctor", relay.conninfo(password=PASSWORD), "--json"))
    assert [name for name, _, _ in looked_at(report)] == [address(relay), address(eu), address(primary)]
    assert report.checks() == set()


@pytest.mark.at_least(16)
def test_doctor_says_where_the_way_up_ends(pgcascade, nodes, primary, relays):
    one, two = chain_of(relays, primary, "one", "two")
    leaf = standby_behind(nodes, two, primary, "leaf", settings=SETTINGS)
    look = lambda: Report(pgcascade("doctor", leaf.conninfo(), "--json"))
    primary.stop()
    wait_for(lambda: (address(one), "relay_receives") in look().checks())
    report = look()
    assert looked_at(report)[-1] == (address(one), "relay", None)
    assert report.checks() == {(address(one), "relay_receives")}
    report.finding(address(one), "relay_receives", "the WAL is not received", "falls behind", "tries again by itself")
    primary.start()
    # A role that the primary does not know, while the relays trust whoever comes from here.
    wait_for(lambda: look().checks() == set())
    stranger = Report(pgcascade("doctor", two.conninfo(user="nobody_there", password="x"), "--json"))
    assert stranger.checks() == {(address(one), "upstream")}
    stranger.finding(
        address(one), "upstream", "nobody_there", "making a logical slot on a standby of it hangs", "if a relay answers there"
    )
