"""Servers that were there before the cascade file: those that match it need nothing, the others only what differs."""

import os
import re
import shutil
import subprocess

import pytest

from hand_built_tree import hand_built_tree, write_cascade_file
from pg_node import SUPERUSER
from program_run import run as run_program
from server_programs import bin_directory, give_to_server_account, run_as_server_account
from waiting import wait_for

# Its tests change one tree, one after the other: one process runs them all.
pytestmark = pytest.mark.xdist_group("tree_adoption")


@pytest.fixture(scope="module")
def built(version):
    with hand_built_tree(version) as tree:
        for standby in (tree.eu, tree.us, tree.eu_1):
            standby.configure({"hot_standby_feedback": "on"})
        yield tree


def plan(file, version, code):
    done = run_program("plan", file, env={"PGCASCADE_BINDIR": str(bin_directory(version))}).expect(code)
    return [re.sub(r"^ *\d+\. ", "", line) for line in done.stdout.splitlines()]


def apply(file, version, *arguments, code=0):
    return run_program(
        "apply", file, *arguments, env={"PGCASCADE_BINDIR": str(bin_directory(version))}, timeout=120
    ).expect(code)


def configuration(node):
    return node.sql(
        "SELECT name, setting, source FROM pg_settings WHERE source <> 'client' AND context <> 'internal' ORDER BY name"
    )


def test_tree_built_by_hand_needs_nothing(built, version):
    before = [configuration(node) for node in built.nodes]
    assert plan(built.file, version, 0) == ["shop: the servers are as the file says"]
    apply(built.file, version)
    assert [configuration(node) for node in built.nodes] == before
    for node in built.nodes:
        assert not (node.data_directory / "postgresql.auto.conf").read_text().count("primary_conninfo")


def test_conninfo_in_other_words_is_no_difference(built, version):
    # Who feeds whom is seen on both ends of the stream; the text of primary_conninfo says nothing.
    built.eu.configure({"primary_conninfo": built.primary.conninfo(dbname=None, host="localhost", application_name="other")})
    built.eu.wait_for_streaming()
    wait_for(
        lambda: built.primary.sql("SELECT 1 FROM pg_stat_replication WHERE application_name = 'other'"),
        describe="the walreceiver to come back",
    )
    assert plan(built.file, version, 0) == ["shop: the servers are as the file says"]


def test_plan_sees_by_sql_alone(built, version, tmp_path):
    # An account that may not read the data directories can still tell that all is well.
    if os.geteuid() != 0:
        pytest.skip("takes root to run as another account")
    place = built.file.parent / "nobody"
    place.mkdir(exist_ok=True)
    file = place / "cascade.toml"
    file.write_text(built.file.read_text())
    shutil.copy(built.file.parent / "passwords", place / "passwords")
    for path in (place, file, place / "passwords"):
        shutil.chown(path, "nobody")
    binary = place / "pgcascade"
    from program_run import binary as program

    shutil.copy(program(), binary)
    done = subprocess.run(
        [binary, "plan", file], capture_output=True, text=True, user="nobody", group="nogroup", extra_groups=[], cwd="/"
    )
    assert (done.returncode, done.stdout) == (0, "shop: the servers are as the file says\n"), done


def test_standby_without_a_slot_gets_one_and_keeps_its_conninfo(nodes, version, directory):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    eu = nodes.standby("eu", primary, slot=None, settings={"hot_standby_feedback": "on"})
    file = write_cascade_file(directory, [(primary, None), (eu, primary)])
    if os.geteuid() == 0:
        give_to_server_account(directory / "passwords")
    before = eu.value("SHOW primary_conninfo")
    assert plan(file, version, 3) == [
        "primary: create physical slot eu for eu",
        "eu: stream from primary through slot eu",
        "eu: wait until it streams from primary (slot eu)",
    ]
    apply(file, version)
    assert eu.value("SHOW primary_conninfo") == before
    assert primary.sql("SELECT slot_name, active FROM pg_replication_slots") == [("eu", True)]
    assert plan(file, version, 0) == ["shop: the servers are as the file says"]


def test_primary_with_wal_level_replica_gets_standbys(nodes, version, directory):
    primary = nodes.primary(version=version, settings={"wal_level": "replica", "max_replication_slots": "2"})
    primary.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) n")
    eu, us = nodes.reserve("eu", version), nodes.reserve("us", version)
    file = write_cascade_file(directory, [(primary, None), (eu, primary), (us, primary)])
    if os.geteuid() == 0:
        give_to_server_account(directory / "passwords")
    steps = plan(file, version, 3)
    assert steps[0] == "primary: set max_replication_slots = 10 (needs a restart), wal_level = logical (needs a restart)"
    assert steps[1] == "primary: restart (for wal_level, max_replication_slots)"
    assert "--yes" in apply(file, version, code=1).stderr
    apply(file, version, "--yes")
    for standby in (eu, us):
        standby.wait_until("SELECT count(*) FROM t", 1000)
        assert standby.value("SHOW wal_level") == "logical"
    assert plan(file, version, 0) == ["shop: the servers are as the file says"]


def test_line_of_pg_hba_is_added_once_and_only_where_it_is_needed(nodes, version, directory):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    hba = primary.data_directory / "pg_hba.conf"
    primary.set_hba(["local all all trust", "host all postgres 127.0.0.1/32 scram-sha-256"])
    primary.reload()
    eu = nodes.reserve("eu", version)
    file = write_cascade_file(directory, [(primary, None), (eu, primary)])
    file.write_text(file.read_text().replace(f'replication_user = "{SUPERUSER}"', 'replication_user = "copier"'))
    with open(directory / "passwords", "a") as passfile:
        passfile.write("*:*:*:copier:it's secret\\:\n")
    if os.geteuid() == 0:
        give_to_server_account(directory / "passwords")
    before = hba.stat()
    line = "host replication copier 127.0.0.1/32 scram-sha-256"
    assert f"primary: add to pg_hba.conf: {line}" in plan(file, version, 3)
    apply(file, version)
    assert hba.read_text().splitlines()[-2:] == ["# Added by pgcascade:", line]
    assert (hba.stat().st_mode, hba.stat().st_uid) == (before.st_mode, before.st_uid)
    eu.wait_for_streaming()
    assert plan(file, version, 0) == ["shop: the servers are as the file says"]


def test_line_that_rejects_is_a_problem(nodes, version, directory):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    primary.set_hba(["host replication all all reject", "host all all 127.0.0.1/32 scram-sha-256"])
    primary.reload()
    file = write_cascade_file(directory, [(primary, None), (nodes.reserve("eu", version), primary)])
    done = run_program("plan", file, env={"PGCASCADE_BINDIR": str(bin_directory(version))}).expect(1)
    assert "pg_hba.conf rejects" in done.stderr and "hint: " in done.stderr, done


def test_server_with_its_configuration_elsewhere_is_cloned(nodes, version, directory):
    """As Debian has it: postgresql.conf and pg_hba.conf are not in the data directory."""
    primary = nodes.primary(version=version, settings={"wal_level": "logical", "max_connections": "155"}, start=False)
    etc = directory / "etc"
    etc.mkdir()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        shutil.move(primary.data_directory / name, etc / name)
        give_to_server_account(etc / name)
    with open(etc / "postgresql.conf", "a") as conf:
        conf.write(f"data_directory = '{primary.data_directory}'\nhba_file = '{etc}/pg_hba.conf'\nident_file = '{etc}/pg_ident.conf'\n")
    with open(primary.log_file, "ab") as log:
        server = subprocess.Popen(
            [bin_directory(version) / "postgres", "-D", primary.data_directory, "-c", f"config_file={etc}/postgresql.conf"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True, **run_as_server_account(),
        )  # fmt: skip
    try:
        primary.wait_until("SELECT true")
        eu, eu_1 = nodes.reserve("eu", version), nodes.reserve("eu-1", version)
        file = write_cascade_file(directory, [(primary, None), (eu, primary), (eu_1, eu)])
        with open(file, "a") as cascade:  # Debian's own default is for one account only
            for standby in (eu, eu_1):
                cascade.write(f'[node."{standby.name}".settings]\nunix_socket_directories = "{standby.socket_directory}"\n')
        if os.geteuid() == 0:
            give_to_server_account(directory / "passwords")
        apply(file, version)
        for standby in (eu, eu_1):
            standby.wait_for_streaming()
            assert standby.value("SHOW max_connections") == "155"
        assert plan(file, version, 0) == ["shop: the servers are as the file says"]
        # Down, it is started as it was before: with its configuration where that is.
        primary.stop()
        server.wait()
        assert plan(file, version, 3)[0] == "primary: start"
        apply(file, version)
        assert primary.value("SHOW config_file") == f"{etc}/postgresql.conf"
    finally:
        primary.stop("immediate")
        server.wait()


def test_tablespace_goes_where_the_file_says(nodes, version, directory):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    there, here = directory / "fast there", directory / "fast here"
    there.mkdir()
    give_to_server_account(there)
    primary.execute(f"CREATE TABLESPACE fast LOCATION '{there}'")
    primary.execute("CREATE TABLE t TABLESPACE fast AS SELECT generate_series(1, 1000) n")
    eu = nodes.reserve("eu", version)
    file = write_cascade_file(directory, [(primary, None), (eu, primary)])
    if os.geteuid() == 0:
        give_to_server_account(directory / "passwords")
    done = apply(file, version, code=1)  # on this machine its place is taken: by the primary itself
    assert f'hint: say in the cascade file where it goes: [node.eu.tablespaces] "{there}"' in done.stderr, done
    with open(file, "a") as text:
        text.write(f'[node."eu".tablespaces]\n"{there}" = "{here}"\n')
    apply(file, version)
    eu.wait_until("SELECT count(*) FROM t", 1000)
    assert eu.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'") == str(here)
    assert plan(file, version, 0) == ["shop: the servers are as the file says"]


def test_former_primary_is_not_made_a_standby(nodes, version, directory):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    eu = nodes.standby("eu", primary, settings={"hot_standby_feedback": "on"})
    eu.promote()
    file = write_cascade_file(directory, [(primary, None), (eu, primary)])
    for state in ("running", "stopped"):
        done = run_program("plan", file, env={"PGCASCADE_BINDIR": str(bin_directory(version))}).expect(1)
        assert re.search(r"eu: .*(is a primary|was a primary's), and the file says it is a standby of primary", done.stderr)
        assert "hint: it may have changes that the primary has not" in done.stderr, state
        eu.stop()


def test_role_of_the_nodes_is_checked(nodes, version, directory):
    primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    eu = nodes.standby("eu", primary, settings={"hot_standby_feedback": "on"})
    file = write_cascade_file(directory, [(eu, None), (primary, eu)])
    done = run_program("plan", file, env={"PGCASCADE_BINDIR": str(bin_directory(version))}).expect(1)
    assert "eu: is a standby, and the file says it is the primary" in done.stderr
    assert "primary: is a primary, and the file says it is a standby of eu" in done.stderr


def test_standby_that_needs_wal_that_is_gone_is_told(nodes, version, directory):
    settings = {"wal_level": "logical", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    primary = nodes.primary(version=version, settings=settings)
    eu = nodes.standby("eu", primary, settings={"hot_standby_feedback": "on"})
    file = write_cascade_file(directory, [(primary, None), (eu, primary)])
    eu.stop()
    primary.configure({"max_slot_wal_keep_size": "1MB"})
    for _ in range(6):
        primary.execute("SELECT pg_switch_wal() FROM pg_logical_emit_message(false, 'x', repeat('x', 1000))")
        primary.execute("CHECKPOINT")
    primary.wait_until("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'eu'", "lost")
    done = run_program("plan", file, env={"PGCASCADE_BINDIR": str(bin_directory(version))}).expect(1)
    assert "eu: primary has removed WAL that it still needs (slot eu:" in done.stderr, done
    assert "empty its data directory, and apply clones it" in done.stderr
    # As told: the slot is replaced and the node cloned.
    primary.configure({"max_slot_wal_keep_size": "-1"})
    shutil.rmtree(eu.data_directory)
    if os.geteuid() == 0:
        give_to_server_account(directory / "passwords")
    assert plan(file, version, 3)[0] == "primary: replace the unusable physical slot eu for eu"
    apply(file, version)
    eu.wait_for_streaming()
