"""Relays as nodes of the tree: plan, apply, status, stop and doctor, with real servers and real subscribers."""

import json
import os
import pwd
import re
import shutil
import socket
import stat

import pytest

from cascade_tree import CascadeTree
from pg_node import free_port
from server_programs import SERVER_ACCOUNT
from waiting import wait_for


class Shop:
    """primary -> hub, a relay with one feed, in a tree that apply has made; a subscriber outside of it."""

    def __init__(self, nodes, version, directory):
        self.nodes = nodes
        self.version = version
        self.tree = CascadeTree(nodes, version, directory, {"primary": None})
        self.tree.apply()
        self.sql("CREATE DATABASE shop", dbname="postgres")
        self.sql("CREATE TABLE orders (id int PRIMARY KEY, total text)")
        self.sql("CREATE TABLE stock (id int PRIMARY KEY)")
        self.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
        self.sql("CREATE PUBLICATION orders FOR TABLE orders")
        self.sql("CREATE PUBLICATION stock FOR TABLE stock")
        self.sql("INSERT INTO orders SELECT g, 'before' FROM generate_series(1, 100) g")
        self.hub = self.tree.add_relay("hub", "primary", {"orders": ("shop", ["orders"])})
        self.subscribers = 0

    def sql(self, query, *parameters, dbname="shop"):
        return self.tree.sql("primary", query, *parameters, dbname=dbname)

    def subscriber(self, publication="orders", relay=None):
        """A server of its own that subscribes to the relay, and has copied the table."""
        self.subscribers += 1
        node = self.nodes.primary(f"subscriber{self.subscribers}", version=self.version, stranger=True)
        node.execute("CREATE TABLE orders (id int PRIMARY KEY, total text)")
        node.execute("CREATE TABLE stock (id int PRIMARY KEY)")
        relay = relay or self.hub
        conninfo = f"host={relay.host} port={relay.port} dbname=shop user=replicator password={self.tree.password('replicator')}"
        node.execute(
            f"CREATE SUBSCRIPTION {publication}{self.subscribers} CONNECTION '{conninfo}' PUBLICATION {publication}"
        )
        return node

    def expect_followed(self, node, table="orders"):
        """After a row more, the subscriber has what the primary has, and no copy is under way that a restart could break."""
        self.sql(f"INSERT INTO {table} (id) SELECT coalesce(max(id), 0) + 1 FROM {table}")
        wanted = self.sql(f"SELECT id FROM {table} ORDER BY id")
        wait_for(
            lambda: node.sql(f"SELECT id FROM {table} ORDER BY id") == wanted,
            describe=lambda: f"{node.name} to follow {table}: {node.value(f'SELECT count(*) FROM {table}')} of {len(wanted)}",
        )
        node.wait_until("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'", 0)

    def slots(self, name="primary"):
        return {row[0]: row[1] for row in self.tree.sql(name, "SELECT slot_name, active FROM pg_replication_slots")}

    def status(self, *arguments, code=0):
        done = self.tree.run("status", self.tree.file, "--json", *arguments).expect(code)
        return {node["name"]: node for node in json.loads(done.stdout)["nodes"]}

    def apply_until_it_listens(self):
        self.tree.apply()
        assert self.tree.plan(code=0) == []


@pytest.fixture
def shop(nodes, version, directory):
    made = Shop(nodes, version, directory)
    yield made
    made.tree.close_relays()


def test_relay_is_made_fed_shown_and_stopped(shop):
    assert shop.tree.plan(code=3) == [
        "primary: create role replicator (LOGIN REPLICATION, with the password of the passfile)",
        "primary: create logical slot hub_orders in database shop for hub",
        f"hub: write {shop.hub.data_directory}/relay.toml, and the users postgres and replicator beside it",
        "hub: start",
        "hub: wait until it listens and receives from primary",
    ]
    done = shop.tree.apply()
    assert shop.tree.plan(code=0) == []
    assert shop.slots() == {"hub_orders": True}
    subscriber = shop.subscriber()
    shop.expect_followed(subscriber)

    hub = shop.status()["hub"]
    assert (hub["kind"], hub["role"], hub["state"], hub["healthy"]) == ("relay", "relay", "receiving", True)
    assert hub["upstream"] == "primary" and hub["problems"] == []
    [feed] = hub["feeds"]
    assert (feed["name"], feed["database"], feed["slot"], feed["problem"]) == ("orders", "shop", "hub_orders", None)
    assert [downstream["slot"] for downstream in hub["downstreams"]] == ["orders1"]
    drawing = shop.tree.run("status", shop.tree.file).expect(0).stdout
    assert "hub_orders  pgoutput" not in drawing.partition("slot ")[0]
    assert re.search(r"└─ hub +relay +receiving", drawing), drawing
    assert re.search(r" +└─ orders1 +pgoutput +streaming", drawing), drawing

    for secret in (shop.tree.password("postgres"), shop.tree.password("replicator")):
        assert secret not in done.stderr + drawing + shop.hub.log_file.read_text()
        for name in ("relay.toml", "users"):
            assert secret not in (shop.hub.data_directory / name).read_text()
    users = (shop.hub.data_directory / "users").stat()
    assert stat.S_IMODE(users.st_mode) == 0o600
    if os.geteuid() == 0:
        assert pwd.getpwuid(users.st_uid).pw_name == SERVER_ACCOUNT
        assert pwd.getpwuid(os.stat(f"/proc/{shop.hub.pid()}").st_uid).pw_name == SERVER_ACCOUNT

    stopped = shop.tree.run("stop", shop.tree.file).expect(0).stderr
    assert stopped.index("primary: stopped") < stopped.index("hub: stopped")
    assert shop.hub.pid() is None
    assert "hub: was not running" in shop.tree.run("stop", shop.tree.file).expect(0).stderr
    assert shop.status(code=1)["hub"]["state"] == "stopped"

    assert shop.tree.plan(code=3) == ["primary: start", "hub: start", "hub: wait until it listens and receives from primary"]
    shop.apply_until_it_listens()
    shop.expect_followed(subscriber)


def test_killed_relay_is_mended_by_apply(shop):
    shop.tree.apply()
    subscriber = shop.subscriber()
    shop.expect_followed(subscriber)
    shop.hub.kill9()
    shop.sql("INSERT INTO orders SELECT g FROM generate_series(1001, 1100) g")
    assert shop.status(code=1)["hub"]["state"] == "stopped"
    assert shop.tree.plan(code=3) == ["hub: start", "hub: wait until it listens and receives from primary"]
    shop.apply_until_it_listens()
    shop.expect_followed(subscriber)


def test_running_relay_follows_the_file_feed_by_feed(shop):
    shop.tree.apply()
    subscriber = shop.subscriber()
    first = shop.hub.pid()
    shop.hub.feeds["stock"] = ("shop", ["stock"])
    shop.hub.settings["max_bytes"] = "1 GB"
    shop.tree.write()
    assert shop.tree.plan(code=3) == [
        "primary: create logical slot hub_stock in database shop for hub",
        "hub: stop (its relay.toml changes)",
        f"hub: write {shop.hub.data_directory}/relay.toml, and the users postgres and replicator beside it",
        "hub: start",
        "hub: wait until it listens and receives from primary",
    ]
    assert "--yes" in shop.tree.apply(code=1).stderr
    shop.tree.apply("--yes")
    assert shop.tree.plan(code=0) == [] and shop.hub.pid() != first
    assert shop.slots() == {"hub_orders": True, "hub_stock": True}
    other = shop.subscriber("stock")
    shop.expect_followed(subscriber)
    shop.expect_followed(other, "stock")

    # What nobody wants any more holds no WAL back.
    del shop.hub.feeds["stock"]
    shop.tree.write()
    assert "primary: drop logical slot hub_stock, which hub uses no longer" in shop.tree.plan(code=3)
    shop.tree.apply("--yes")
    assert shop.tree.plan(code=0) == []
    assert shop.slots() == {"hub_orders": True}
    shop.expect_followed(subscriber)


def test_new_password_reaches_the_relay_without_a_restart(shop):
    shop.tree.apply()
    first = shop.hub.pid()
    for role in ("postgres", "replicator"):
        new = f"new-{role}"
        shop.sql(f"ALTER ROLE {role} PASSWORD '{new}'")
        lines = shop.tree.passfile.read_text().splitlines()
        shop.tree.passfile.write_text("".join(f"*:*:*:{role}:{new}\n" if f":{role}:" in line else line + "\n" for line in lines))
    assert shop.tree.plan(code=3)[0] == "hub: renew the users postgres and replicator"
    shop.apply_until_it_listens()
    assert shop.hub.pid() == first
    shop.expect_followed(shop.subscriber())


def test_relay_is_killed_in_an_apply_at_any_step_and_the_next_one_finishes(shop):
    """Each step of the first apply is the last one of a run that is cut off behind it."""
    from program_run import Background

    steps = shop.tree.plan(code=3)
    for number in range(1, len(steps)):
        # The server notices within a second that whoever was making a slot is gone.
        making = "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_create_logical%' AND state = 'active' AND pid <> pg_backend_pid()"
        wait_for(lambda: not shop.sql(making))
        place = shop.tree.directory / f"cut{number}"
        place.mkdir()
        run = Background(place, "apply", "--yes", shop.tree.file, env=shop.tree.env)
        run.wait_for_stderr(rf"\[1/\d+\] done|as the file says")
        run.stop(9)
    shop.tree.apply("--yes")
    assert shop.tree.plan(code=0) == []
    shop.expect_followed(shop.subscriber())


@pytest.mark.at_least(16)
def test_relay_moves_to_a_standby_and_loses_nothing(shop):
    shop.tree.add("eu", "primary")
    shop.tree.apply()
    subscriber = shop.subscriber()
    shop.expect_followed(subscriber)
    shop.hub.upstream = "eu"
    shop.tree.write()
    steps = shop.tree.plan(code=3)
    assert steps[0] == "eu: create logical slot hub_orders in database shop for hub"
    assert "hub: wait until it has received what eu does not keep for it" in steps
    assert steps[-1] == "primary: drop logical slot hub_orders, which hub uses no longer"
    shop.tree.apply("--yes")
    assert shop.tree.plan(code=0) == []
    assert shop.slots("eu") == {"hub_orders": True} and shop.slots() == {"eu": True}
    shop.expect_followed(subscriber)


def test_relay_behind_a_relay(shop):
    far = shop.tree.add_relay("far", "hub", {"orders": ("shop", ["orders"])})
    shop.tree.apply()
    assert shop.tree.plan(code=0) == []
    subscriber = shop.subscriber(relay=far)
    shop.expect_followed(subscriber)
    shop.hub.kill9()
    assert shop.status(code=1)["far"]["state"] == "not receiving"
    shop.apply_until_it_listens()
    shop.expect_followed(subscriber)


# -- WAL ---------------------------------------------------------------------------------------------------------


class WalTree:
    """primary -> hub, which relays WAL -> eu, a standby."""

    def __init__(self, nodes, version, directory):
        self.tree = CascadeTree(nodes, version, directory, {"primary": None, "eu": "hub"})
        self.hub = self.tree.add_relay("hub", "primary", {})
        self.first_plan = self.tree.plan(code=3)
        self.tree.apply()
        assert self.tree.plan(code=0) == []

    def expect_fed(self, names=("eu",), by="hub"):
        """Both ends say so, and the rows arrive."""
        for name in names:
            self.tree.wait_until(
                name, "SELECT slot_name || ' ' || sender_port FROM pg_stat_wal_receiver WHERE status = 'streaming'",
                f"{name} {self.hub.port if by == 'hub' else self.tree.nodes[by].port}",
            )
        self.tree.expect_same_rows()

    def senders(self):
        rows = self.tree.sql("primary", "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
        return sorted(row[0] for row in rows)

    def status(self, code=0):
        done = self.tree.run("status", self.tree.file, "--json").expect(code)
        return {node["name"]: node for node in json.loads(done.stdout)["nodes"]}


@pytest.fixture
def wal_tree(nodes, version, directory):
    made = WalTree(nodes, version, directory)
    yield made
    made.tree.close_relays()


def test_standby_behind_a_relay_is_made_from_one_file(wal_tree):
    tree, hub = wal_tree.tree, wal_tree.hub
    steps = wal_tree.first_plan
    begin = steps.index("primary: create physical slot hub for hub")
    assert steps[begin + 1 : begin + 6] == [
        f"hub: write {hub.data_directory}/relay.toml, and the users postgres and replicator beside it",
        "hub: start",
        "hub: wait until it listens and receives from primary",
        "hub: create physical slot eu for eu",
        f"primary: clone eu into {tree.nodes['eu'].data_directory}",
    ]
    assert steps[begin + 6].startswith("eu: make it a standby of hub (slot eu)")
    assert steps[begin + 7 :] == ["eu: start", "eu: wait until it streams from hub (slot eu)"]
    wal_tree.expect_fed()
    assert wal_tree.senders() == ["hub"]

    seen = wal_tree.status()
    assert seen["hub"]["state"] == "receiving" and seen["hub"]["wal"]["problem"] is None
    assert [slot["name"] for slot in seen["hub"]["slots"]] == ["eu"]
    assert seen["eu"]["upstream"] == "hub" and seen["eu"]["state"] == "streaming" and seen["eu"]["healthy"]
    assert seen["eu"]["lag"]["bytes"] is not None
    drawing = tree.run("status", tree.file).expect(0).stdout
    assert re.search(r"└─ hub +relay +receiving.*\n   └─ eu +standby +streaming", drawing), drawing
    # hot_standby_feedback comes through.
    assert tree.value("eu", "SHOW hot_standby_feedback") == "on"

    hub.kill9()
    assert tree.plan(code=3) == [
        "hub: start",
        "hub: wait until it listens and receives from primary",
        "eu: wait until it streams from hub (slot eu)",
    ]
    tree.apply()
    assert tree.plan(code=0) == []
    wal_tree.expect_fed()

    stopped = tree.run("stop", tree.file).expect(0).stderr
    order = [stopped.index(f"{name}: stopped") for name in ("primary", "hub", "eu")]
    assert order == sorted(order)
    tree.apply()
    assert tree.plan(code=0) == []
    wal_tree.expect_fed()


def test_standby_moves_under_a_relay_and_away_from_it(wal_tree):
    tree = wal_tree.tree
    tree.add("us", "primary")
    tree.apply()
    assert wal_tree.senders() == ["hub", "us"]
    before = tree.started_at_of(["primary", "eu", "us"])
    tree.upstreams["us"] = "hub"
    tree.write()
    assert tree.plan(code=3) == [
        "hub: create physical slot us for us",
        "us: stream from hub through slot us instead of from primary",
        "us: wait until it streams from hub (slot us)",
        "primary: drop physical slot us, which us uses no longer",
    ]
    tree.apply("--yes")
    assert tree.plan(code=0) == []
    wal_tree.expect_fed(["eu", "us"])
    assert wal_tree.senders() == ["hub"]
    tree.upstreams.update({"us": "primary", "eu": "primary"})
    tree.write()
    assert "hub: drop physical slot eu, which eu uses no longer" in tree.plan(code=3)
    tree.apply("--yes")
    assert tree.plan(code=0) == []
    wal_tree.expect_fed(["eu", "us"], by="primary")
    assert wal_tree.status()["hub"]["slots"] == []
    assert tree.started_at_of(["primary", "eu", "us"]) == before


def test_slot_that_a_relay_has_given_up_is_told(wal_tree):
    tree = wal_tree.tree
    tree.nodes["eu"].stop("immediate")
    wal_tree.hub.settings.update({"max_bytes": "80 MB", "keep": "16 MB"})
    tree.write()
    tree.apply("--yes")
    tree.nodes["eu"].stop("immediate")
    tree.sql("primary", "CREATE TABLE filler AS SELECT repeat(md5(g::text), 20) FROM generate_series(1, 300000) g")
    wait_for(
        lambda: wal_tree.status(code=1)["hub"]["slots"][0]["invalidation_reason"],
        timeout=60,
        describe="the relay to give the slot up",
    )
    # What still comes would carry a new slot beyond the limit as well.
    wait_for(lambda: wal_tree.status(code=1)["hub"]["lag"]["bytes"] == 0, describe="the relay to receive all WAL")
    told = tree.run("plan", tree.file).expect(1).stderr
    assert "eu: hub has removed WAL that it still needs" in told and "empty its data directory" in told
    doctor = tree.run("doctor", tree.file).expect(3).stdout
    assert "PROBLEM hub: slot eu is invalidated" in doctor
    shutil.rmtree(tree.nodes["eu"].data_directory)
    tree.apply("--yes")
    assert tree.plan(code=0) == []
    wal_tree.expect_fed()


# -- what is in the way ------------------------------------------------------------------------------------------


def test_what_is_in_the_way_is_told(shop):
    def problem(*words):
        error = shop.tree.run("plan", shop.tree.file).expect(1).stderr
        for word in words:
            assert word in error, error

    line = shop.tree.file.read_text().splitlines().index('[node."hub".feed.orders]') + 1
    shop.hub.feeds["orders"] = ("nowhere", ["orders"])
    shop.tree.write()
    problem(f"{shop.tree.file}:{line}: feed orders of hub: the primary has no database nowhere", "hint: CREATE DATABASE")
    shop.hub.feeds["orders"] = ("shop", ["orders", "nothing"])
    shop.tree.write()
    problem(f":{line}: feed orders of hub: database shop has no publication nothing", "CREATE PUBLICATION")
    shop.hub.feeds["orders"] = ("shop", ["orders"])
    shop.tree.write()

    shop.hub.data_directory.mkdir()
    (shop.hub.data_directory / "precious").write_text("mine")
    problem("is not empty and holds no relay that pgcascade apply has made", "pgcascade never does")
    (shop.hub.data_directory / "precious").unlink()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        mine, shop.hub.port = shop.hub.port, taken.getsockname()[1]
        shop.tree.write()
        assert "Address already in use" in shop.tree.apply(code=1).stderr
    shop.hub.port = mine
    shop.tree.write()
    shop.apply_until_it_listens()

    # Another tree may not have what this one's relay works in, nor take its relay for its own.
    elsewhere, shop.hub.data_directory = shop.hub.data_directory, shop.hub.directory / "other"
    shop.tree.write()
    problem("another relay answers")
    shop.hub.data_directory = elsewhere
    shop.tree.write()

    stranger = shop.nodes.primary("stranger", version=shop.version, stranger=True)
    stranger.execute("CREATE DATABASE shop")
    stranger.execute(f"ALTER ROLE postgres PASSWORD '{shop.tree.password()}'")
    shop.hub.port = stranger.port
    shop.tree.write()
    shop.hub.kill9()
    problem("a PostgreSQL server answers, and")


def test_slot_that_is_gone_is_never_made_anew_behind_a_gap(shop):
    shop.tree.apply()
    shop.hub.kill9()
    shop.sql("SELECT pg_drop_replication_slot('hub_orders')")
    shop.sql("INSERT INTO orders VALUES (2000)")
    refused = shop.tree.apply(code=1).stderr
    assert "hub: its slot hub_orders on primary is gone" in refused and "empty its directory" in refused
    assert shop.hub.pid() is None and shop.slots() == {}
    shutil.rmtree(shop.hub.data_directory)
    shop.apply_until_it_listens()
    shop.expect_followed(shop.subscriber())


def test_doctor_finds_what_is_wrong_with_a_relay(shop):
    shop.tree.apply()

    def findings():
        done = shop.tree.run("doctor", "--json", shop.tree.file).expect(3)
        found = json.loads(done.stdout)["findings"]
        return {(one["server"], one["check"]): one for one in found if one["severity"] == "problem"}

    assert list(findings()) == [("primary", "durability")]  # fsync is off here
    assert re.search(r"^hub +relay", shop.tree.run("doctor", shop.tree.file).expect(3).stdout, re.MULTILINE)
    shop.sql("ALTER PUBLICATION orders RENAME TO other")
    shop.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'hub_orders'")
    problem = lambda: shop.status()["hub"]["feeds"][0]["problem"] or ""
    wait_for(lambda: "publication" in problem(), describe=lambda: f"the relay to tell of its problem: {problem()}")
    found = findings()
    assert "publication" in found[("hub", "relay_receives")]["what"]
    assert shop.status()["hub"]["state"] == "not receiving"
    shop.sql("ALTER PUBLICATION other RENAME TO orders")
    wait_for(lambda: shop.status()["hub"]["state"] == "receiving", describe="the relay to go on")
    shop.hub.kill9()
    assert ("hub", "unreachable") in findings()
