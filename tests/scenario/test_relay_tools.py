"""pgcascade's own commands on a relay, and relays behind relays."""

import json

import pytest

from relay_run import Relay
from test_relay import SHOP, relay, shop, wait_for_same_rows  # noqa: F401 (fixtures)


@pytest.fixture
def relays(directory, pgcascade_background):
    """relays("two") makes one more."""

    def make(name):
        place = directory / name
        place.mkdir()
        return Relay(place, pgcascade_background)

    return make


def test_slot_and_stream_work_on_a_relay_as_on_a_server(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    pgcascade("slot", "create", relay.conninfo(), "mine").expect(0)
    [slot] = json.loads(pgcascade("slot", "list", relay.conninfo(), "--json").expect(0).stdout)
    assert (slot["slot_name"], slot["plugin"], slot["active"]) == ("mine", "pgoutput", False)
    shop.execute("INSERT INTO item SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 3) i")
    run = pgcascade(
        "stream", relay.conninfo(), "--slot", "mine", "--publication", "pub", "--until", shop.current_lsn()
    ).expect(0)
    assert [json.loads(line)["new"]["id"] for line in run.stdout.splitlines()] == [1, 2, 3]
    assert "exists" in pgcascade("slot", "create", relay.conninfo(), "mine").expect(1).stderr
    pgcascade("slot", "drop", relay.conninfo(), "mine").expect(0)
    assert json.loads(pgcascade("slot", "list", relay.conninfo(), "--json").expect(0).stdout) == []


def test_stream_says_what_is_wrong_with_a_relay(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    pgcascade("slot", "create", relay.conninfo(), "mine").expect(0)
    other = pgcascade("stream", relay.conninfo(), "--slot", "mine", "--publication", "other").expect(1)
    assert 'just the publications "other"' in other.stderr and "relay.toml" in other.stderr
    missing = pgcascade("stream", relay.conninfo(), "--slot", "none", "--publication", "pub").expect(1)
    assert 'there is no slot "none"' in missing.stderr
    database = pgcascade("stream", relay.conninfo("elsewhere"), "--slot", "mine", "--publication", "pub").expect(1)
    assert 'database "elsewhere" does not exist' in database.stderr


def test_subscriber_behind_three_relays_has_what_the_primary_has(nodes, shop, relays, version):
    upstream = shop
    for name in ("one", "two", "three"):
        behind = relays(name)
        behind.write_file({"shop": (upstream, ["pub"])})
        upstream = behind.start()
    shop.execute("INSERT INTO item SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 1000) i")
    subscriber = nodes.primary("subscriber", version=version)
    subscriber.psql(SHOP)
    subscriber.execute("CREATE SUBSCRIPTION sub CONNECTION %s PUBLICATION pub", upstream.conninfo())
    wait_for_same_rows(subscriber, shop)
    shop.execute("UPDATE item SET price = price + 1 WHERE id <= 500; DELETE FROM item WHERE id > 900")
    wait_for_same_rows(subscriber, shop)
    # A slot at the third relay begins at the primary's position, not at that of a relay before it.
    subscriber.execute("DROP SUBSCRIPTION sub")
    subscriber.execute("TRUNCATE item")
    shop.execute("INSERT INTO item VALUES (5000, 'before', 1)")
    subscriber.execute("CREATE SUBSCRIPTION sub CONNECTION %s PUBLICATION pub WITH (copy_data = false)", upstream.conninfo())
    shop.execute("INSERT INTO item VALUES (5001, 'after', 1)")
    subscriber.wait_until("SELECT array_agg(id)::text FROM item", "{5001}")
