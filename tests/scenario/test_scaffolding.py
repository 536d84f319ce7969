"""The scaffolding itself: servers start, replicate over two hops, stop, and leave nothing behind."""

import os

import pytest

from pg_node import PgNodes
from server_programs import server_account
from waiting import wait_for


def test_rows_reach_a_standby_of_a_standby(nodes, version):
    primary = nodes.primary(version=version)
    eu = nodes.standby("eu", primary)
    leaf = nodes.standby("eu-1", eu)
    primary.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    primary.wait_for_catchup(leaf)
    assert leaf.value("SELECT sum(id) FROM t") == 500500
    assert eu.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'eu_1'") is True


def test_a_crashed_server_starts_again(nodes, version):
    primary = nodes.primary(version=version)
    primary.execute("CREATE TABLE t AS SELECT 1 AS id")
    primary.kill9()
    assert not primary.is_running()
    primary.start()
    assert primary.value("SELECT id FROM t") == 1



def test_servers_do_not_run_as_root_and_leave_nothing_behind(version):
    with PgNodes() as nodes:
        primary = nodes.primary(version=version)
        pid = primary.pid()
        account = server_account()
        assert os.stat(f"/proc/{pid}").st_uid == (account.pw_uid if account else os.getuid())
        assert primary.psql("SELECT current_user") == "postgres\n"
    assert not os.path.exists(f"/proc/{pid}")
    assert not nodes.directory.exists()


def test_a_wait_in_vain_says_for_what():
    with pytest.raises(AssertionError, match="in vain for: the moon"):
        wait_for(lambda: False, timeout=0.05, describe="the moon")


def test_the_program_tells_its_version(pgcascade):
    assert pgcascade("--version").expect(0).stdout.startswith("pgcascade ")
