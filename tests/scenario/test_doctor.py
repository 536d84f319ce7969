"""pgcascade doctor: each thing that is wrong is found on the server where it is, with why it matters and with the
command that mends it; what is well is called healthy."""

import json
import re

import psycopg2
import pytest

from pg_node import PASSWORD, free_port

GOOD = {"wal_level": "logical", "hot_standby_feedback": "on"}


class Report:
    def __init__(self, result):
        self.result = result
        report = json.loads(result.stdout)
        self.healthy = report["healthy"]
        self.servers = {server["name"]: server for server in report["servers"]}
        self.findings = report["findings"]
        problems = [finding for finding in self.findings if finding["severity"] == "problem"]
        assert self.healthy == (not problems), result
        result.expect(3 if problems else 0)

    def checks(self, durable=False):
        """What was found: pairs of server and check. Advice is left out: the minor version under test may be old. So is
        fsync=off where the servers are not meant to be durable, which makes the tests quick."""
        return {
            (finding["server"], finding["check"])
            for finding in self.findings
            if finding["severity"] == "problem" and (durable or finding["what"] != "fsync is off")
        }

    def finding(self, server, check, what, why, mend):
        """The one finding of that check there, with these words in it."""
        found = [f for f in self.findings if (f["server"], f["check"]) == (server, check) and what in f["what"]]
        assert len(found) == 1, f"{len(found)} findings of {check} at {server} with {what!r}: {self.result}"
        assert why in found[0]["why"], found
        assert mend in found[0]["mend"], found
        return found[0]


@pytest.fixture
def doctor(pgcascade):
    return lambda target: Report(pgcascade("doctor", target, "--json"))


def address(node):
    return f"127.0.0.1:{node.port}"


def follow(mend, node, nodes, dbname="postgres"):
    """Does what a mend says, to the letter."""
    by_name = {key: each for each in nodes for key in (each.name, address(each))}
    here = node
    for part in re.findall(r"on (\S+): |(here: )|on the (primary)|(pg_ctl restart)|((?:ALTER|SELECT|CREATE|GRANT) [^;]+);", mend):
        upstream, back, primary, restart, statement = part
        if upstream:
            here = by_name[upstream]
        elif back:
            here = node
        elif primary:
            here = nodes[0]
        elif restart:
            here.restart()
        else:
            here.execute(statement, dbname=dbname)


def healthy_servers(nodes, version, durable=False):
    """primary -> eu -> leaf with nothing wrong, but fsync where they are not durable."""
    primary = nodes.primary(version=version, durable=durable, settings=GOOD)
    primary.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
    eu = nodes.standby("eu", primary)
    leaf = nodes.standby("leaf", eu)
    return primary, eu, leaf


@pytest.fixture
def healthy(nodes, version):
    return healthy_servers(nodes, version)


@pytest.fixture
def healthy_primary(nodes, version):
    primary = nodes.primary(version=version, settings=GOOD)
    primary.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
    return primary


def write_cascade(directory, primary, *standbys, dbname="postgres"):
    """A cascade.toml of (name, upstream, node) for servers that run."""
    passfile = directory / "passfile"
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    passfile.chmod(0o600)
    lines = ["[cascade]", 'name = "shop"', f'passfile = "{passfile}"', f'dbname = "{dbname}"', 'replication_user = "postgres"']
    for name, upstream, node in [("primary", None, primary), *standbys]:
        lines += [f"[node.{name}]", f"port = {node.port}", f'data_directory = "{node.data_directory}"']
        lines += [f'upstream = "{upstream}"'] if upstream else []
    file = directory / "cascade.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


# -- healthy ---------------------------------------------------------------------------------------------------


@pytest.mark.at_least(16)
def test_a_healthy_cascade_is_called_healthy(doctor, pgcascade, nodes, version, directory):
    primary, eu, leaf = healthy_servers(nodes, version, durable=True)
    report = doctor(leaf.conninfo())
    assert report.checks(durable=True) == set() and report.healthy
    assert [(name, server["role"], server["upstream"]) for name, server in report.servers.items()] == [
        (address(leaf), "standby", address(eu)),
        (address(eu), "standby", address(primary)),
        (address(primary), "primary", None),
    ]
    text = pgcascade("doctor", leaf.conninfo()).expect(0).stdout
    assert "healthy (3 servers examined)" in text and "PROBLEM" not in text and "\033" not in text

    report = doctor(write_cascade(directory, primary, ("eu", "primary", eu), ("eu-1", "eu", leaf)))
    assert report.checks(durable=True) == set() and report.healthy
    assert list(report.servers) == ["primary", "eu", "eu-1"]


def test_a_healthy_primary_is_called_healthy(doctor, nodes, version):
    primary = nodes.primary(version=version, durable=True, settings=GOOD)
    primary.execute("CREATE PUBLICATION p FOR ALL TABLES")
    report = doctor(primary.conninfo())
    assert report.checks(durable=True) == set() and report.healthy


# -- the naive recipe --------------------------------------------------------------------------------------------


@pytest.mark.at_least(16)
def test_the_naive_recipe_is_mended_by_doing_what_the_doctor_says(doctor, pgcascade, nodes, version):
    """wal_level=replica, standbys without slot and feedback, nothing published, fsync off: one by one, to the letter."""
    primary = nodes.primary(version=version, settings={"wal_keep_size": "64MB"})
    eu = nodes.standby("eu", primary, slot=None)
    leaf = nodes.standby("eu-1", eu, slot=None)
    everything = [primary, eu, leaf]

    report = doctor(leaf.conninfo())
    expected = {(address(node), check) for node in everything for check in ("wal_level", "durability")}
    expected |= {(address(node), check) for node in (eu, leaf) for check in ("hot_standby_feedback", "primary_slot_name")}
    assert report.checks(durable=True) == expected | {(address(leaf), "publications")}
    here = address(leaf)
    report.finding(
        here, "wal_level", "wal_level is replica, and decoding needs logical", "no logical slot can be made on it",
        f"ALTER SYSTEM SET wal_level = 'logical'; then: pg_ctl restart -D '{leaf.data_directory}'",
    )
    report.finding(
        address(primary), "wal_level", "wal_level is replica", "nothing can be decoded, on it or on any standby of it",
        "ALTER SYSTEM SET wal_level = 'logical'",
    )
    report.finding(
        here, "hot_standby_feedback", "is off", "invalidated for good (rows_removed)",
        "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();",
    )
    report.finding(
        here, "primary_slot_name", "no physical slot on its upstream", "removes WAL that it still needs",
        f"on {address(eu)}: SELECT pg_create_physical_replication_slot('eu_1', true); here: ALTER SYSTEM SET primary_slot_name = 'eu_1'",
    )
    report.finding(
        here, "publications", 'database "postgres" has no publication', "nothing ever arrives, and no error says so",
        "CREATE PUBLICATION everything FOR ALL TABLES;",
    )

    by_address = {address(node): node for node in everything}
    for finding in sorted(report.findings, key=lambda finding: everything.index(by_address[finding["server"]])):
        if finding["severity"] == "problem":
            follow(finding["mend"], by_address[finding["server"]], everything)
    leaf.wait_for_streaming()
    primary.wait_for_catchup(leaf)
    assert doctor(leaf.conninfo()).checks(durable=True) == set()
    pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0)


def test_a_setting_that_waits_for_a_restart_is_not_asked_for_again(doctor, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "replica"})
    primary.execute("ALTER SYSTEM SET wal_level = logical")
    primary.reload()
    primary.wait_until("SELECT pending_restart FROM pg_settings WHERE name = 'wal_level'")
    finding = doctor(primary.conninfo()).finding(address(primary), "wal_level", "is replica", "", "pg_ctl restart -D")
    assert "ALTER SYSTEM" not in finding["mend"] and "waits for that" in finding["mend"]


@pytest.mark.at_most(15)
def test_a_standby_before_16_cannot_decode(doctor, healthy):
    _, eu, leaf = healthy
    report = doctor(leaf.conninfo())
    assert report.checks() == {(address(eu), "version"), (address(leaf), "version")}
    report.finding(
        address(leaf), "version", "a standby of PostgreSQL 15", "before 16 there are no logical slots on a standby",
        "stream from the primary, or upgrade the cluster to PostgreSQL 16 or later",
    )


def test_old_minor_versions_are_advice_until_they_can_fail(doctor, healthy, version):
    fixed = {15: "15.19", 16: "16.15", 17: "17.11", 18: "18.6"}[version]
    _, _, leaf = healthy
    running = leaf.value("SHOW server_version").split()[0]
    is_old = [int(part) for part in running.split(".")] < [int(part) for part in fixed.split(".")]
    of_check = lambda report: {f["server"]: f["severity"] for f in report.findings if f["check"] == "minor_version"}
    report = doctor(leaf.conninfo())
    assert set(of_check(report).values()) == ({"advice"} if is_old else set())
    leaf.append_conf({"restore_command": "false"})
    leaf.restart()
    leaf.wait_for_streaming()
    report = doctor(leaf.conninfo())
    if is_old:
        assert of_check(report)[address(leaf)] == "problem"
        report.finding(
            address(leaf), "minor_version", f"PostgreSQL {running} is older than {fixed}",
            "requested starting point is ahead of the WAL flush position", f"install the packages of {fixed} or later",
        )


# -- who gets in -------------------------------------------------------------------------------------------------


def could_not_look(result, *parts):
    result.expect(1)
    assert result.stdout == "", result
    for part in parts:
        assert part in result.stderr, result


def test_a_server_that_does_not_let_us_look_is_a_failure(pgcascade, healthy_primary):
    port = free_port()
    could_not_look(
        pgcascade("doctor", f"host=127.0.0.1 port={port} user=postgres"), "Connection refused", "hint: is the server running"
    )
    could_not_look(
        pgcascade("doctor", healthy_primary.conninfo(password="guess-4711")),
        "password authentication failed",
        "hint: check the password",
    )
    could_not_look(
        pgcascade("doctor", healthy_primary.conninfo(dbname="nowhere")), 'database "nowhere" does not exist', "hint: check"
    )
    healthy_primary.set_hba(["local all all trust"])
    healthy_primary.reload()
    could_not_look(pgcascade("doctor", healthy_primary.conninfo()), "no pg_hba.conf entry", "hint: add a line")


def test_files_that_are_no_cascade_are_failures(pgcascade, directory):
    could_not_look(pgcascade("doctor", directory / "missing.toml"), "missing.toml")
    (directory / "broken.toml").write_text("[cascade\n")
    could_not_look(pgcascade("doctor", directory / "broken.toml"), "broken.toml:1")


def test_a_role_without_the_right_to_replicate(doctor, healthy_primary):
    healthy_primary.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
    report = doctor(healthy_primary.conninfo(user="reader", password="secret"))
    assert report.checks() == {(address(healthy_primary), "replication_role")}
    finding = report.finding(
        address(healthy_primary), "replication_role", 'the role "reader" has no right to replicate',
        "it can neither make a slot nor START_REPLICATION", 'on the primary: ALTER ROLE "reader" REPLICATION;',
    )
    follow(finding["mend"], healthy_primary, [healthy_primary])
    assert doctor(healthy_primary.conninfo(user="reader", password="secret")).checks() == set()


def test_no_line_for_replication_in_pg_hba(doctor, healthy_primary):
    """`all` is not `replication`: the trap that pg_hba.conf sets for everybody once."""
    healthy_primary.set_hba(["host all all 127.0.0.1/32 scram-sha-256"])
    healthy_primary.reload()
    report = doctor(healthy_primary.conninfo())
    assert report.checks() == {(address(healthy_primary), "replication_login")}
    finding = report.finding(
        address(healthy_primary), "replication_login", "no pg_hba.conf entry for replication connection",
        '"all" in pg_hba.conf does not cover it',
        f'add to {healthy_primary.data_directory}/pg_hba.conf, before any line that rejects: host  replication  "postgres"  127.0.0.1/32',
    )
    line = re.search(r"host .*scram-sha-256", finding["mend"]).group()
    healthy_primary.set_hba(["host all all 127.0.0.1/32 scram-sha-256", line])
    healthy_primary.reload()
    assert doctor(healthy_primary.conninfo()).checks() == set()


@pytest.mark.at_least(16)
def test_a_role_that_sees_and_may_too_little_on_the_way_up(doctor, healthy):
    primary, _, leaf = healthy
    primary.execute("CREATE ROLE reader LOGIN REPLICATION PASSWORD 'secret'")
    primary.wait_for_catchup(leaf)
    look = lambda: doctor(leaf.conninfo(user="reader", password="secret"))
    here = address(leaf)
    report = look()
    assert report.checks() == {(here, "upstream")}
    report.finding(
        here, "upstream", "may not see who feeds this standby", "making a logical slot here hangs while the primary is idle",
        'on the primary: GRANT pg_read_all_stats TO "reader"',
    )
    primary.execute("GRANT pg_read_all_stats TO reader")
    primary.wait_for_catchup(leaf)
    report = look()
    finding = report.finding(
        here, "snapshot_right", 'the role "reader" may not call pg_log_standby_snapshot() on the primary',
        "hangs for as long as the primary is idle",
        'on the primary: GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO "reader";',
    )
    follow(finding["mend"], leaf, healthy)
    primary.wait_for_catchup(leaf)
    assert look().checks() == set()


@pytest.mark.at_least(16)
def test_an_upstream_that_does_not_let_us_in(doctor, healthy):
    _, eu, leaf = healthy
    eu.set_hba(["host replication all 127.0.0.1/32 scram-sha-256"])
    eu.reload()
    report = doctor(leaf.conninfo())
    assert report.checks() == {(address(leaf), "upstream")}
    report.finding(address(leaf), "upstream", "no pg_hba.conf entry", "the primary was not examined", "add a line for this host")


# -- room and settings -------------------------------------------------------------------------------------------


def test_slots_and_walsenders_used_up(doctor, nodes, version):
    primary = nodes.primary(
        version=version, settings={**GOOD, "max_replication_slots": 1, "max_wal_senders": 1}
    )
    primary.execute("CREATE PUBLICATION p FOR ALL TABLES")
    standby = nodes.standby("eu", primary)
    report = doctor(primary.conninfo())
    assert report.checks() == {(address(primary), "max_replication_slots"), (address(primary), "max_wal_senders")}
    report.finding(
        address(primary), "max_replication_slots", "all 1 replication slots are taken", "no slot can be made",
        "ALTER SYSTEM SET max_replication_slots = 11; then: pg_ctl restart",
    )
    report.finding(
        address(primary), "max_wal_senders", "all 1 walsenders are taken", "no other standby and no other stream can connect",
        "ALTER SYSTEM SET max_wal_senders = 11; then: pg_ctl restart",
    )
    standby.stop()


@pytest.mark.at_least(16)
def test_settings_that_fail_one_day(doctor, healthy):
    primary, eu, leaf = healthy
    leaf.configure({"wal_receiver_timeout": 0, "wal_receiver_status_interval": 0})
    primary.configure({"wal_sender_timeout": 0, "full_page_writes": "off"})
    report = doctor(leaf.conninfo())
    assert report.checks() == {
        (address(leaf), "timeouts"),
        (address(primary), "timeouts"),
        (address(primary), "durability"),
    }
    report.finding(
        address(leaf), "timeouts", "wal_receiver_timeout is 0", "is never noticed", "SET wal_receiver_timeout = '60s'"
    )
    report.finding(
        address(leaf), "timeouts", "wal_receiver_status_interval is 0", "hot_standby_feedback is not sent",
        "SET wal_receiver_status_interval = '10s'; SELECT pg_reload_conf();",
    )
    report.finding(
        address(primary), "timeouts", "wal_sender_timeout is 0", "its slot stays active", "SET wal_sender_timeout = '60s'"
    )
    report.finding(address(primary), "durability", "fsync is off", "a history that no longer fits", "SET fsync = on;")
    report.finding(address(primary), "durability", "full_page_writes is off", "half-written pages", "SET full_page_writes = on;")
    for finding in report.findings:
        if finding["severity"] == "problem":
            follow(finding["mend"], {address(node): node for node in healthy}[finding["server"]], healthy)
    assert doctor(leaf.conninfo()).checks(durable=True) == set()


@pytest.mark.at_least(16)
def test_a_standby_with_less_room_than_its_primary(doctor, healthy):
    primary, eu, _ = healthy
    primary.append_conf({"max_connections": 60})
    primary.restart()
    eu.wait_until("SELECT pg_is_wal_replay_paused()")
    report = doctor(eu.conninfo())
    assert report.checks() == {(address(eu), "capacity"), (address(eu), "replay")}
    finding = report.finding(
        address(eu), "capacity", "max_connections is 40, and 60 on the primary", "stops replaying",
        "ALTER SYSTEM SET max_connections = 60; then: pg_ctl restart",
    )
    report.finding(address(eu), "replay", "replay is paused", "decoding here stands still", "SELECT pg_wal_replay_resume();")
    follow(finding["mend"], eu, healthy)
    eu.wait_for_streaming()
    assert doctor(eu.conninfo()).checks() == set()


@pytest.mark.at_least(17)
def test_slots_synchronized_from_a_standby(doctor, healthy):
    primary, eu, leaf = healthy
    for node, upstream in ((eu, primary), (leaf, eu)):
        node.configure({"sync_replication_slots": "on", "primary_conninfo": upstream.conninfo(dbname="postgres", application_name=node.name)})
        node.wait_for_streaming()
    report = doctor(leaf.conninfo())
    assert report.checks() == {(address(leaf), "sync_replication_slots")}
    finding = report.finding(
        address(leaf), "sync_replication_slots", "is on, and its upstream is a standby",
        "cannot synchronize replication slots from a standby server", "ALTER SYSTEM SET sync_replication_slots = off;",
    )
    follow(finding["mend"], leaf, healthy)
    assert doctor(leaf.conninfo()).checks() == set()
    eu.configure({"primary_conninfo": primary.conninfo(dbname=None, application_name="eu")})
    eu.wait_for_streaming()
    doctor(eu.conninfo()).finding(
        address(eu), "sync_replication_slots", "primary_conninfo names no dbname", "no slot is synchronized",
        "add dbname=postgres to primary_conninfo",
    )


@pytest.mark.at_least(17)
def test_synchronized_standby_slots_that_hold_up_everything(doctor, healthy_primary):
    healthy_primary.execute("SELECT pg_create_physical_replication_slot('eu', true)")
    healthy_primary.configure({"synchronized_standby_slots": "eu, us"})
    report = doctor(healthy_primary.conninfo())
    assert report.checks() == {(address(healthy_primary), "synchronized_standby_slots")}
    finding = report.finding(
        address(healthy_primary), "synchronized_standby_slots", 'names the slot "us", which does not exist',
        "every stream of a failover slot stands still", "SELECT pg_create_physical_replication_slot('us', true);",
    )
    follow(finding["mend"], healthy_primary, [healthy_primary])
    assert doctor(healthy_primary.conninfo()).checks() == set()


@pytest.mark.at_least(18)
def test_a_time_limit_for_idle_slots(doctor, healthy_primary):
    healthy_primary.configure({"idle_replication_slot_timeout": "1d"})
    report = doctor(healthy_primary.conninfo())
    assert report.checks() == {(address(healthy_primary), "idle_replication_slot_timeout")}
    finding = report.finding(
        address(healthy_primary), "idle_replication_slot_timeout", "idle_replication_slot_timeout is 86400 s",
        "loses its slot for good", "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();",
    )
    follow(finding["mend"], healthy_primary, [healthy_primary])
    assert doctor(healthy_primary.conninfo()).checks() == set()


# -- slots and publications ----------------------------------------------------------------------------------------


def fill_segments(node, count):
    for _ in range(count):
        node.execute("SELECT pg_logical_emit_message(false, 'filler', 'x'), pg_switch_wal()")


def test_a_slot_on_its_way_to_invalidation(doctor, healthy_primary):
    here = address(healthy_primary)
    healthy_primary.configure({"max_wal_size": "32MB"})
    healthy_primary.execute("SELECT pg_create_logical_replication_slot('orders', 'pgoutput')")
    fill_segments(healthy_primary, 4)
    report = doctor(healthy_primary.conninfo())
    assert report.checks() == {(here, "idle_slot")}
    report.finding(
        here, "idle_slot", 'logical slot "orders" holds ', "more than max_wal_size (32 MB), and grows until the disk is full",
        "SELECT pg_drop_replication_slot('orders');",
    )

    healthy_primary.configure({"max_slot_wal_keep_size": "64MB"})
    report = doctor(healthy_primary.conninfo())
    assert report.checks() == {(here, "idle_slot"), (here, "slot_near_limit")}
    finding = report.finding(
        here, "slot_near_limit", 'logical slot "orders" is invalidated after', "it can never be used again",
        "ALTER SYSTEM SET max_slot_wal_keep_size = '256MB'; SELECT pg_reload_conf();",
    )
    follow(finding["mend"], healthy_primary, [healthy_primary])
    assert doctor(healthy_primary.conninfo()).checks() == {(here, "idle_slot")}

    healthy_primary.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
    healthy_primary.configure({"max_slot_wal_keep_size": "1MB"})
    fill_segments(healthy_primary, 2)
    healthy_primary.execute("CHECKPOINT")
    healthy_primary.wait_until("SELECT wal_status FROM pg_replication_slots", "lost")
    report = doctor(healthy_primary.conninfo())
    assert report.checks() == {(here, "invalidated_slot")}
    finding = report.finding(
        here, "invalidated_slot", 'logical slot "orders" is invalidated: wal_removed', "its consumer has lost changes",
        "SELECT pg_drop_replication_slot('orders'); then make it again and copy the tables anew",
    )
    follow(finding["mend"], healthy_primary, [healthy_primary])
    assert doctor(healthy_primary.conninfo()).checks() == set()


@pytest.mark.at_least(16)
def test_a_logical_slot_that_conflicted_on_a_standby(doctor, pgcascade, nodes, version):
    primary = nodes.primary(version=version, settings={"wal_level": "logical", "autovacuum": "off"})
    primary.execute("CREATE PUBLICATION p FOR ALL TABLES")
    leaf = nodes.standby("leaf", primary)
    pgcascade("slot", "create", leaf.conninfo(), "orders").expect(0)
    primary.execute("CREATE TABLE gone (id int)")
    primary.execute("DROP TABLE gone")
    for catalog in ("pg_class", "pg_attribute", "pg_type"):
        primary.execute(f"VACUUM {catalog}")
    conflicting = "SELECT conflicting FROM pg_replication_slots WHERE slot_name = 'orders'"
    leaf.wait_until(conflicting)
    report = doctor(leaf.conninfo())
    assert report.checks() == {(address(leaf), "invalidated_slot"), (address(leaf), "hot_standby_feedback")}
    reason = "rows_removed" if version >= 17 else "conflicting"
    report.finding(
        address(leaf), "invalidated_slot", f'logical slot "orders" is invalidated: {reason}', "its consumer has lost changes",
        "SELECT pg_drop_replication_slot('orders');",
    )
    report.finding(
        address(leaf), "hot_standby_feedback", "is off", "each of the 1 logical slots here is invalidated", "= on; SELECT"
    )


def test_tables_whose_updates_will_fail(doctor, healthy_primary):
    healthy_primary.execute(
        """CREATE TABLE "No Key" (id int);
           CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
           CREATE TABLE whole (id int); ALTER TABLE whole REPLICA IDENTITY FULL;
           CREATE TABLE parts (id int) PARTITION BY LIST (id);
           CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
           CREATE TABLE part_2 PARTITION OF parts (PRIMARY KEY (id)) FOR VALUES IN (2);
           CREATE TABLE inserts (id int);
           CREATE PUBLICATION shop FOR TABLE "No Key", nothing, whole, parts WITH (publish_via_partition_root = true);
           CREATE PUBLICATION log FOR TABLE inserts WITH (publish = 'insert')"""
    )
    report = doctor(healthy_primary.conninfo())
    found = [finding for finding in report.findings if finding["check"] == "replica_identity"]
    assert report.checks() == {(address(healthy_primary), "replica_identity")} and len(found) == 3
    for table in ('"No Key"', "nothing", "part_1"):
        finding = report.finding(
            address(healthy_primary), "replica_identity", f'table {table} of database "postgres" is in publication "shop"',
            "every UPDATE and DELETE on it fails on the primary", f"ALTER TABLE {table} REPLICA IDENTITY FULL;",
        )
        with pytest.raises(psycopg2.Error, match="does not have a replica identity and publishes updates"):
            healthy_primary.execute(f"INSERT INTO {table} VALUES (1); UPDATE {table} SET id = 1")
        healthy_primary.execute(re.search(r"or: (ALTER TABLE .*);", finding["mend"]).group(1))
    assert doctor(healthy_primary.conninfo()).checks() == set()


# -- a standby that is cut off ---------------------------------------------------------------------------------------


@pytest.mark.at_least(16)
def test_a_standby_whose_slot_is_gone(doctor, healthy):
    primary, eu, _ = healthy
    eu.stop()
    primary.execute("SELECT pg_drop_replication_slot('eu')")
    eu.start()
    eu.wait_for_log('replication slot "eu" does not exist')
    report = doctor(eu.conninfo())
    assert report.checks() == {(address(eu), "streaming")}
    finding = report.finding(
        address(eu), "streaming", f'{address(primary)} has no slot "eu", which primary_slot_name names',
        "what is decoded here stands still",
        f"on {address(primary)}: SELECT pg_create_physical_replication_slot('eu', true);",
    )
    follow(finding["mend"], eu, healthy)
    eu.wait_for_streaming()
    assert doctor(eu.conninfo()).checks() == set()


@pytest.mark.at_least(16)
def test_a_standby_whose_upstream_is_down(doctor, healthy):
    primary, eu, _ = healthy
    primary.stop()
    eu.wait_until("SELECT count(*) FROM pg_stat_wal_receiver", 0)
    report = doctor(eu.conninfo())
    assert report.checks() == {(address(eu), "streaming")}
    finding = report.finding(
        address(eu), "streaming", "it streams from nobody now (primary_conninfo: user=postgres", "it falls behind",
        "its log says why",
    )
    assert f"port={primary.port}" in finding["what"] and "secret" not in finding["what"]
    # The server takes any text as primary_conninfo.
    eu.configure({"primary_conninfo": "hots=nowhere"})
    doctor(eu.conninfo()).finding(address(eu), "streaming", "primary_conninfo is no connection string", "", "mend primary_conninfo")


@pytest.mark.at_least(16)
def test_a_standby_of_nobody(doctor, healthy):
    _, eu, _ = healthy
    eu.configure({"primary_conninfo": ""})
    eu.wait_until("SELECT count(*) FROM pg_stat_wal_receiver", 0)
    report = doctor(eu.conninfo())
    assert report.checks() == {(address(eu), "streaming")}
    report.finding(
        address(eu), "streaming", "it streams from nobody: primary_conninfo is empty", "it falls behind",
        "ALTER SYSTEM SET primary_conninfo",
    )


def test_a_standby_that_takes_no_connections(doctor, nodes, version):
    primary = nodes.primary(version=version, settings=GOOD)
    eu = nodes.standby("eu", primary, settings={"hot_standby": "off"}, start=False).start()
    report = doctor(eu.conninfo())
    assert report.checks() == {(address(eu), "hot_standby")}
    report.finding(
        address(eu), "hot_standby", "the standby replays, and takes no connections", "nobody can read it",
        "set hot_standby = on, then restart it",
    )


# -- a cascade file ----------------------------------------------------------------------------------------------------


@pytest.mark.at_least(16)
def test_a_node_that_is_down_does_not_hide_the_rest(doctor, pgcascade, healthy, directory):
    primary, eu, leaf = healthy
    eu.stop()
    leaf.wait_until("SELECT count(*) FROM pg_stat_wal_receiver", 0)
    file = write_cascade(directory, primary, ("eu", "primary", eu), ("leaf", "eu", leaf))
    report = doctor(file)
    assert report.checks() == {("eu", "unreachable"), ("leaf", "streaming")}
    assert report.servers["eu"] == {"name": "eu", "reached": False, "role": None, "version": None, "upstream": "primary"}
    report.finding("eu", "unreachable", "Connection refused", "is not in this list", "is the server running there")
    report.finding("leaf", "streaming", "it streams from nobody now: eu", "it falls behind", "is the server running there")
    text = pgcascade("doctor", file).expect(3).stdout
    assert "PROBLEM eu: can't be looked at" in text and "problems (3 servers examined)" in text


@pytest.mark.at_least(16)
def test_each_database_that_is_decoded_is_looked_at(doctor, pgcascade, healthy, directory):
    primary, eu, leaf = healthy
    primary.execute("CREATE DATABASE shop")
    primary.execute("CREATE DATABASE bare")
    primary.execute("CREATE TABLE t (id int); CREATE PUBLICATION p FOR TABLE t", dbname="shop")
    primary.wait_for_catchup(leaf)
    for dbname in ("shop", "bare"):
        pgcascade("slot", "create", leaf.conninfo(dbname=dbname), f"orders_{dbname}").expect(0)
    report = doctor(write_cascade(directory, primary, ("eu", "primary", eu), ("leaf", "eu", leaf)))
    assert report.checks() == {("primary", "replica_identity"), ("primary", "publications")}
    report.finding("primary", "replica_identity", 'table t of database "shop"', "fails on the primary", 'in database "shop"')
    report.finding("primary", "publications", 'database "bare" has no publication', "nothing ever arrives", 'in database "bare"')


def test_a_file_whose_replication_role_cannot_replicate(doctor, healthy_primary, directory):
    file = write_cascade(directory, healthy_primary)
    named = lambda role: file.write_text(re.sub('replication_user = ".*"', f'replication_user = "{role}"', file.read_text()))
    named("replicator")
    doctor(file).finding(
        "primary", "replication_role", 'there is no role "replicator"', "no standby can stream",
        'CREATE ROLE "replicator" LOGIN REPLICATION;',
    )
    healthy_primary.execute("CREATE ROLE replicator")
    report = doctor(file)
    report.finding("primary", "replication_role", "may not log in", "begins with a login", 'ALTER ROLE "replicator" LOGIN;')
    report.finding("primary", "replication_role", "no right to replicate", "", 'ALTER ROLE "replicator" REPLICATION;')
    for finding in report.findings:
        if finding["check"] == "replication_role":
            follow(finding["mend"], healthy_primary, [healthy_primary])
    assert doctor(file).checks() == set()
