"""plan and apply: a whole tree from one file, and what becomes of it when the file changes."""

import copy
import os
import pwd
import re
import shutil
import stat
import subprocess

import psycopg2
import pytest

import program_run
from cascade_tree import CascadeTree
from pg_node import PgNodes
from server_programs import SERVER_ACCOUNT

SIX = {"primary": None, "eu": "primary", "us": "primary", "eu-1": "eu", "eu-2": "eu", "us-1": "us"}

# Its tests change one tree, one after the other: one process runs them all.
pytestmark = pytest.mark.xdist_group("tree_apply")


@pytest.fixture(scope="module")
def fresh(version):
    """Six nodes from one file, made once for this module; what apply said about it."""
    with PgNodes() as nodes:
        directory = nodes.directory / "file"
        directory.mkdir(mode=0o755)
        tree = CascadeTree(nodes, version, directory, SIX)
        tree.first_plan = tree.plan(code=3)
        before = tree.files()
        tree.plan(code=3)
        assert tree.files() == before
        tree.first_apply = tree.apply()
        yield tree


def secrets(tree):
    return [tree.password("postgres"), tree.password("replicator")]


def test_whole_tree_is_made_from_one_file(fresh):
    fresh.expect_whole()
    assert fresh.plan(code=0) == []
    assert "nothing to do" not in fresh.first_apply.stderr
    for name in fresh.nodes:
        assert fresh.value(name, "SHOW wal_level") == "logical"
        assert fresh.value(name, "SHOW cluster_name") == name
    for name in fresh.standbys():
        assert fresh.value(name, "SHOW hot_standby_feedback") == "on"


def test_apply_runs_exactly_the_planned_steps(fresh):
    started = re.findall(r"^pgcascade: \[\d+/\d+\] (.*) …$", fresh.first_apply.stderr, re.MULTILINE)
    assert started == fresh.first_plan


def test_siblings_are_cloned_from_one_backup_stream(fresh):
    clones = [step for step in fresh.first_plan if "clone" in step]
    assert len(clones) == 3
    assert clones[0].startswith("primary: clone eu into") and ", us into" in clones[0]
    assert len(re.findall(r"received replication command: BASE_BACKUP", fresh.primary.log_text())) == 1


def test_new_tree_is_secure(fresh):
    mode = fresh.passfile.stat()
    assert stat.S_IMODE(mode.st_mode) == 0o600
    if os.geteuid() == 0:
        assert pwd.getpwuid(mode.st_uid).pw_name == SERVER_ACCOUNT
    for secret in secrets(fresh):
        assert len(secret) >= 24
        assert secret not in fresh.first_apply.stdout + fresh.first_apply.stderr
        for node in fresh.nodes.values():
            assert secret not in (node.data_directory / "postgresql.auto.conf").read_text()
            assert secret not in node.log_text()
    for name in fresh.standbys():
        conninfo = fresh.value(name, "SHOW primary_conninfo")
        assert "password=" not in conninfo and f"passfile={fresh.passfile}" in conninfo
    with pytest.raises(psycopg2.OperationalError):
        fresh.primary.connect(password="wrong")


def test_running_tree_needs_nothing(fresh):
    before = fresh.started_at()
    done = fresh.apply()
    assert "the servers are as the file says" in done.stderr
    assert fresh.started_at() == before
    assert fresh.run("plan", fresh.file, "--json").expect(0).stdout.split() == '{ "steps": [], "problems": [] }'.split()


def test_plan_without_a_path_reads_the_file_here(fresh):
    fresh.run("plan", cwd=fresh.directory).expect(0)
    fresh.run("plan", cwd="/").expect(1)


def test_setting_without_a_restart_restarts_nothing(fresh):
    before = fresh.started_at()
    fresh.settings["work_mem"] = "8MB"
    fresh.own_settings["us-1"] = {"work_mem": "9MB", "log_min_duration_statement": "1min"}
    fresh.write()
    steps = fresh.plan(code=3)
    assert "primary: set work_mem = 8MB" in steps and "us-1: set log_min_duration_statement = 1min, work_mem = 9MB" in steps
    assert all("restart" not in step for step in steps)
    fresh.apply()
    assert fresh.value("eu-2", "SHOW work_mem") == "8MB" and fresh.value("us-1", "SHOW work_mem") == "9MB"
    assert fresh.started_at() == before
    # Other words for the same values are no difference.
    fresh.settings["work_mem"] = "8192"
    fresh.own_settings["us-1"] = {"work_mem": "9216kB", "log_min_duration_statement": "60s"}
    fresh.write()
    assert fresh.plan(code=0) == []


def test_setting_with_a_restart_restarts_only_that_server(fresh):
    before = fresh.started_at()
    fresh.own_settings["eu"] = {"shared_buffers": "24MB"}
    fresh.write()
    assert fresh.plan(code=3)[:2] == ["eu: set shared_buffers = 24MB (needs a restart)", "eu: restart (for shared_buffers)"]
    refused = fresh.apply(code=1)
    assert "1 of these steps restarts" in refused.stderr and "--yes" in refused.stderr
    assert fresh.started_at() == before
    fresh.apply("--yes")
    assert fresh.value("eu", "SHOW shared_buffers") == "24MB"
    after = fresh.started_at()
    assert [name for name in SIX if before[name] != after[name]] == ["eu"]
    fresh.expect_whole()


def test_plan_changes_nothing(fresh):
    def everything():
        files = [fresh.file, fresh.passfile]
        for node in fresh.nodes.values():
            files += [node.data_directory / name for name in ("postgresql.auto.conf", "postgresql.conf", "pg_hba.conf")]
        slots = "SELECT slot_name FROM pg_replication_slots ORDER BY 1"
        return (
            [file.read_bytes() for file in files],
            [fresh.sql(name, slots) for name in fresh.nodes],
            fresh.sql("primary", "SELECT rolname, rolpassword, rolreplication FROM pg_authid ORDER BY 1"),
            [fresh.value(name, "SELECT pg_conf_load_time()") for name in fresh.nodes],
            fresh.started_at(),
            sorted(path.name for path in fresh.file.parent.iterdir()),
        )

    before = everything()
    said = copy.deepcopy((fresh.settings, fresh.own_settings, fresh.upstreams, fresh.keys))
    fresh.settings["work_mem"] = "9MB"
    fresh.own_settings["eu"] = {"shared_buffers": "32MB"}
    fresh.upstreams["eu-2"] = "us"
    fresh.keys["us-1"]["slot"] = "other_name"
    fresh.write()
    assert len(fresh.plan(code=3)) >= 5
    fresh.settings, fresh.own_settings, fresh.upstreams, fresh.keys = said
    fresh.write()
    assert everything() == before
    assert fresh.plan(code=0) == []


def test_what_standbys_need_is_raised_before_the_primary_and_lowered_after_it(fresh):
    order = ["eu", "us", "eu-1", "eu-2", "us-1"]

    def restarts(steps):
        return [step.split(":")[0] for step in steps if "restart (for" in step]

    def change(value):
        fresh.settings["max_connections"] = value
        fresh.write()
        steps = fresh.plan(code=3)
        fresh.apply("--yes")
        for name in fresh.nodes:
            assert fresh.value(name, "SHOW max_connections") == str(value)
        fresh.expect_whole()
        return restarts(steps)

    assert change(130) == order + ["primary"]
    assert change(60) == ["primary"] + order
    for name in fresh.standbys():
        assert "insufficient parameter settings" not in fresh.nodes[name].log_text()


def test_standby_moves_to_another_upstream(fresh):
    fresh.upstreams["eu-2"] = "us"
    fresh.write()
    before = fresh.started_at()
    assert fresh.plan(code=3) == [
        "us: create physical slot eu_2 for eu-2",
        "eu-2: stream from us through slot eu_2 instead of from eu",
        "eu-2: wait until it streams from us (slot eu_2)",
        "eu: drop physical slot eu_2, which eu-2 uses no longer",
    ]
    fresh.apply("--yes")
    fresh.expect_whole()
    assert fresh.sql("eu", "SELECT slot_name FROM pg_replication_slots ORDER BY 1") == [("eu_1",)]
    assert fresh.started_at() == before
    assert fresh.plan(code=0) == []


def test_standby_goes_under_its_sibling_and_back_up(fresh):
    for upstream in ("us-1", "primary"):
        fresh.upstreams["eu-1"] = upstream
        fresh.write()
        fresh.apply("--yes")
        fresh.expect_whole()
        assert fresh.plan(code=0) == []


def test_slot_gets_another_name(fresh):
    fresh.keys["us-1"]["slot"] = "other_name"
    fresh.write()
    assert fresh.plan(code=3)[-1] == "us: drop physical slot us_1, which us-1 uses no longer"
    fresh.apply("--yes")
    fresh.expect_whole()
    assert fresh.plan(code=0) == []


def test_new_node_is_added(fresh):
    before = fresh.started_at_of(SIX)
    fresh.add("eu-9", "eu")
    fresh.apply()
    fresh.expect_whole()
    assert fresh.started_at_of(SIX) == before


def test_stopped_servers_are_started(fresh):
    for name in ("eu-1", "us", "primary"):
        fresh.nodes[name].stop()
    steps = fresh.plan(code=3)
    assert steps[0] == "primary: start" and "us: start" in steps and "eu-1: start" in steps
    assert not any("create" in step or "clone" in step or "set" in step or "standby of" in step for step in steps)
    fresh.apply()
    fresh.expect_whole()
    fresh.nodes["us"].kill9()
    fresh.apply()
    fresh.expect_whole()


def test_port_changes_through_the_file(fresh):
    node = fresh.nodes["us-1"]
    node.port += 1
    fresh.write()
    assert fresh.plan(code=3)[:3] == [
        "us-1: stop (it does not answer, and needs other settings)",
        f"us-1: make it a standby of us (slot other_name) with port = {node.port}",
        "us-1: start",
    ]
    fresh.apply("--yes")
    fresh.expect_whole()


@pytest.mark.at_least(17)  # before, ALTER SYSTEM refuses a name that the server does not know
def test_setting_of_an_extension_that_is_not_loaded_converges(fresh):
    fresh.own_settings["eu-1"] = {'"auto_explain.log_min_duration"': "1s"}
    fresh.write()
    assert fresh.plan(code=3) == ["eu-1: set auto_explain.log_min_duration = 1s"]
    fresh.apply()
    assert fresh.plan(code=0) == []
    fresh.own_settings["eu-1"] = {'"auto_explain.log_min_duration"': "2s"}
    fresh.write()
    fresh.apply()
    assert fresh.value("eu-1", "SHOW auto_explain.log_min_duration") == "2s"
    fresh.own_settings["eu-1"] = {}
    fresh.write()
    assert fresh.plan(code=0) == []


def test_bad_value_of_a_setting_changes_nothing(fresh):
    before = fresh.value("us-1", "SHOW work_mem")
    fresh.own_settings["us-1"] = {"work_mem": "lots"}
    fresh.write()
    done = fresh.apply(code=1)
    assert 'invalid value for parameter "work_mem": "lots"' in done.stderr
    assert fresh.value("us-1", "SHOW work_mem") == before
    fresh.own_settings["us-1"] = {"wrok_mem": "1MB"}
    fresh.write()
    assert 'has no setting "wrok_mem"' in fresh.run("plan", fresh.file).expect(1).stderr
    fresh.own_settings["us-1"] = {}
    fresh.write()
    fresh.apply()


def test_primary_that_waits_for_synchronous_standbys_gets_them(version, nodes, directory):
    tree = CascadeTree(nodes, version, directory, {"primary": None, "eu": "primary"})
    tree.own_settings["primary"] = {"synchronous_standby_names": "eu"}
    tree.write()
    tree.apply()
    tree.expect_whole()
    assert tree.value("primary", "SELECT sync_state FROM pg_stat_replication") == "sync"
    assert tree.plan(code=0) == []


def test_passfile_goes_before_pgpassword_which_no_server_gets(version, nodes, directory):
    tree = CascadeTree(nodes, version, directory, {"primary": None, "eu": "primary"})
    run = lambda command: program_run.run(command, tree.file, env={**tree.env, "PGPASSWORD": "wrong"}, timeout=180)
    run("apply").expect(0)
    tree.expect_whole()
    run("plan").expect(0)
    for node in tree.nodes.values():
        with open(f"/proc/{node.pid()}/environ", "rb") as environment:
            names = [entry.split(b"=")[0] for entry in environment.read().split(b"\0")]
        assert b"PATH" in names and b"PGPASSWORD" not in names and b"PGPASSFILE" not in names


def test_empty_directory_of_root_goes_to_the_account_of_the_file(version, nodes, directory):
    if os.geteuid() != 0:
        pytest.skip("only root gives directories away")
    tree = CascadeTree(nodes, version, directory, {"primary": None, "eu": "primary"})
    tree.cascade["account"] = "nobody"
    tree.write()
    for node in tree.nodes.values():
        node.data_directory.mkdir()
    tree.apply()
    tree.expect_whole()
    for node in tree.nodes.values():
        assert os.stat(node.data_directory).st_uid == pwd.getpwnam("nobody").pw_uid
        assert os.stat(f"/proc/{node.pid()}").st_uid == pwd.getpwnam("nobody").pw_uid
    assert tree.plan(code=0) == []


def test_ordinary_user_makes_a_tree_of_his_own(version, nodes):
    """Without root the servers run as whoever runs pgcascade."""
    if os.geteuid() != 0:
        pytest.skip("every other test here runs as an ordinary user already")
    user = pwd.getpwnam("nobody")
    place = nodes.directory / "own"
    place.mkdir()
    tree = CascadeTree(nodes, version, place, {"primary": None, "eu": "primary"})
    shutil.copy(program_run.binary(), place / "pgcascade")
    for path in (place, *(node.directory for node in tree.nodes.values())):
        os.chown(path, user.pw_uid, user.pw_gid)
    run = lambda *arguments: subprocess.run(
        [place / "pgcascade", *arguments], capture_output=True, text=True, timeout=120, cwd=place,
        user=user.pw_uid, group=user.pw_gid, extra_groups=[], env={**program_run.environment(), **tree.env, "HOME": str(place)},
    )  # fmt: skip
    done = run("apply")
    assert done.returncode == 0, done
    tree.expect_whole()
    assert tree.passfile.stat().st_uid == user.pw_uid
    for node in tree.nodes.values():
        assert os.stat(f"/proc/{node.pid()}").st_uid == user.pw_uid
    assert run("plan").returncode == 0
    assert run("stop").returncode == 0
