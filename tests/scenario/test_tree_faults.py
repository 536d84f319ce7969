"""apply cut off, disturbed and misled; each time, applying again finishes, and nothing that is not ours is touched."""

import os
import random
import re
import shutil
import signal
import subprocess
import time

import psycopg2
import pytest

from cascade_tree import CascadeTree
from pg_node import write_owned
from program_run import Background
from waiting import wait_for

SMALL = {"primary": None, "eu": "primary", "us": "primary", "eu-1": "eu"}
SEED = int(os.environ.get("PGCASCADE_TEST_SEED", random.randrange(1_000_000)))


@pytest.fixture
def tree(nodes, version, directory):
    return CascadeTree(nodes, version, directory, SMALL)


@pytest.fixture
def background(directory):
    """Starts apply and lets it run."""
    started = []

    def start(tree, *arguments):
        place = directory / f"run{len(started)}"
        place.mkdir()
        started.append(Background(place, "apply", tree.file, *arguments, env=tree.env))
        return started[-1]

    yield start
    for program in started:
        program.close()


def size_of(path):
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def expect_no_second_primary(tree):
    """Whatever runs is what the file says: a clone must never have come up as a primary."""
    for name, node in tree.nodes.items():
        if not node.is_running():
            continue
        try:
            assert tree.value(name, "SELECT pg_is_in_recovery()") == (tree.upstreams[name] is not None)
        except psycopg2.OperationalError:
            continue  # it is starting


def cut_off(tree, background, rng, number, is_first=False):
    """Runs apply and ends it by that signal somewhere in a random step; the first time so early that it can't be done before."""
    steps = len(tree.plan())
    program = background(tree)
    step = rng.randint(1, max(steps // 3 if is_first else steps, 1))
    delay = rng.choice([0, rng.uniform(0, 0.05), rng.uniform(0, 0.5)])
    wait_for(
        lambda: f"[{step}/" in program.stderr() or program.process.poll() is not None, 120, lambda: program.stderr()
    )
    time.sleep(delay)  # the fault's own random moment
    if program.process.poll() is None:
        program.process.send_signal(number)
    done = program.wait()
    print(f"step {step}/{steps} + {delay:.3f} s: exit {done.code}, {done.stderr.splitlines()[-1:]}")
    return done


@pytest.mark.parametrize("round_number", [1, 2])
def test_killed_at_random_moments_and_applied_again_finishes(tree, background, round_number):
    seed = SEED + round_number
    print(f"PGCASCADE_TEST_SEED={seed - round_number}")
    rng = random.Random(seed)
    kills = 0
    while kills < 8:
        done = cut_off(tree, background, rng, signal.SIGKILL, is_first=kills == 0)
        expect_no_second_primary(tree)
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL, done
        kills += 1
    tree.apply()
    assert tree.plan(code=0) == []
    tree.expect_whole()
    assert kills > 0


@pytest.mark.parametrize("lets_replication_in", [True, False], ids=["initdb's pg_hba", "no line for replication"])
def test_killed_right_after_initdb_still_listens_where_the_file_says(tree, background, lets_replication_in):
    host = "127.0.0.2"
    tree.upstreams = {"primary": None, "eu": "primary"}
    for name in tree.upstreams:  # initdb's own listen_addresses = localhost does not serve it
        tree.keys[name]["host"] = tree.nodes[name].host = host
    tree.write()
    program = background(tree)
    control = tree.primary.data_directory / "global/pg_control"
    marker = tree.primary.data_directory / "pgcascade.unfinished"
    wait_for(lambda: control.exists() and not marker.exists(), 60, program.stderr)
    program.process.kill()
    program.wait()
    tree.primary.stop()
    if not lets_replication_in:
        hba = tree.primary.data_directory / "pg_hba.conf"
        lines = hba.read_text().splitlines(keepends=True)
        hba.write_text("".join(line for line in lines if line.split()[1:2] != ["replication"]))
    tree.apply()
    assert tree.plan(code=0) == []
    tree.expect_whole()
    assert tree.value("primary", "SHOW listen_addresses") == host
    assert tree.value("primary", "SHOW cluster_name") == "primary"


def test_interrupted_apply_stops_in_order_and_goes_on_later(tree, background):
    rng = random.Random(SEED)
    for _ in range(3):
        done = cut_off(tree, background, rng, signal.SIGINT)
        if done.code == 0:
            break
        within_a_step = r"stopped in step \d+ of \d+ \(.*\); .* done"
        after_the_last = r"\[(\d+)/\1\] done\npgcascade: stopped$"  # it was looking whether there is more to do
        assert done.code == 1 and re.search(f"{within_a_step}|{after_the_last}", done.stderr, re.M), done
        expect_no_second_primary(tree)
    tree.apply()
    tree.expect_whole()


def test_second_apply_refuses_with_the_pid_of_the_first(tree, background):
    first = background(tree)
    wait_for(lambda: "[1/" in first.stderr(), describe=first.stderr)
    first.process.send_signal(signal.SIGSTOP)
    try:
        second = tree.apply(code=1)
        assert f"process {first.process.pid} is changing the servers of {tree.file} already" in second.stderr
        assert "[1/" not in second.stderr
        assert f"process {first.process.pid} is changing" in tree.run("stop", tree.file).expect(1).stderr
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert first.wait(120).code == 0
    # The servers that it has started do not hold its lock.
    tree.apply()
    tree.expect_whole()


# -- what is in the way ------------------------------------------------------------------------------------------


def test_directory_that_is_not_empty_is_never_touched(tree):
    directory = tree.nodes["us"].data_directory
    directory.mkdir()
    (directory / "letter").write_text("mine")
    done = tree.apply(code=1)
    assert f"us: {directory} is not empty and holds no cluster" in done.stderr and "hint: " in done.stderr
    assert [path.name for path in directory.iterdir()] == ["letter"]
    assert not tree.primary.data_directory.exists(), "nothing is begun while something has to be mended"


def test_directory_of_another_cluster_is_never_touched(tree, nodes, version):
    stranger = nodes.primary("stranger", version=version, stranger=True, start=False)
    directory = tree.nodes["us"].data_directory
    tree.apply()
    tree.nodes["us"].stop()
    shutil.rmtree(directory)
    subprocess.run(["cp", "-a", stranger.data_directory, directory], check=True)
    write_owned(directory / "standby.signal", "")
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    for command in ("plan", "apply"):
        done = tree.run(command, tree.file).expect(1)
        assert re.search(rf"us: {directory} belongs to another cluster: its system identifier is \d+, the primary's is \d+", done.stderr)
    assert before == {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_another_server_on_the_port_is_a_problem(tree, nodes, version):
    other = nodes.primary("other", version=version)
    tree.nodes["us"].port = other.port
    tree.write()
    tree.passfile.write_text(f"*:*:*:postgres:{other_password()}\n*:*:*:replicator:secret\n")
    tree.passfile.chmod(0o600)
    done = tree.run("plan", tree.file).expect(1)
    assert f"another server answers: its data directory is {other.data_directory}" in done.stderr, done


def other_password():
    from pg_node import PASSWORD

    return PASSWORD


def test_wrong_password_is_told_for_either_role(tree):
    tree.upstreams = {"primary": None}
    tree.write()
    tree.apply()
    good = tree.passfile.read_text()
    for user, words in (
        ("postgres", r"primary: can't connect: .*password authentication failed for user \"postgres\""),
        ("replicator", r"eu: the replication role replicator can't log in at primary: .*password authentication failed"),
    ):
        if user == "replicator":
            tree.upstreams = {"primary": None, "eu": "primary"}
            tree.write()
            tree.passfile.write_text(good + "*:*:*:replicator:wrong\n")
            tree.sql("primary", "CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'right'")
        else:
            tree.passfile.write_text(re.sub(r":postgres:.*", ":postgres:wrong", good))
        done = tree.run("plan", tree.file).expect(1)
        assert re.search(words, done.stderr) and "hint: check the password" in done.stderr, done
        tree.passfile.write_text(good)


def test_passfile_that_others_can_read_is_told(tree):
    tree.apply()
    tree.nodes["us"].stop()
    tree.passfile.chmod(0o644)
    done = tree.run("plan", tree.file).expect(1)
    assert "chmod 600" in done.stderr, done
    tree.passfile.chmod(0o600)
    tree.apply()


# -- a clone that goes wrong -------------------------------------------------------------------------------------


@pytest.fixture
def grown(tree):
    """A primary with enough data that its clone can be caught in the middle; eu is still to be made."""
    tree.upstreams = {"primary": None}
    tree.write()
    tree.apply()
    tree.sql("primary", "CREATE TABLE filler AS SELECT g, repeat(md5(g::text), 30) t FROM generate_series(1, 150000) g")
    tree.sql("primary", "CHECKPOINT")
    tree.upstreams = {"primary": None, "eu": "primary"}
    tree.write()
    return tree


def catch_in_the_clone(tree, background):
    program = background(tree)
    target = tree.nodes["eu"].data_directory
    wait_for(lambda: size_of(target) > 2_000_000, describe=program.stderr)
    program.process.send_signal(signal.SIGSTOP)
    assert not (target / "global/pg_control").exists(), "the clone was over already"
    return program


def test_upstream_killed_during_the_clone(grown, background):
    program = catch_in_the_clone(grown, background)
    grown.primary.kill9()
    program.process.send_signal(signal.SIGCONT)
    done = program.wait(60)
    assert done.code == 1 and re.search(r"step \d+ of \d+ failed \(primary: clone eu into", done.stderr), done
    assert "`pgcascade apply` again goes on from there" in done.stderr
    assert not (grown.nodes["eu"].data_directory / "global/pg_control").exists()
    grown.apply()
    grown.expect_whole()


def test_disk_that_gets_full_during_the_clone(grown, background, small_disk):
    disk = small_disk("400m", mode="0755")
    eu = grown.nodes["eu"]
    eu.data_directory = disk.path / "data"
    grown.write()
    program = catch_in_the_clone(grown, background)
    disk.fill()
    program.process.send_signal(signal.SIGCONT)
    done = program.wait(60)
    assert done.code == 1 and re.search(r"failed \(primary: clone eu into .*No space left on device", done.stderr), done
    assert "hint: " in done.stderr
    assert not (eu.data_directory / "global/pg_control").exists()
    # Its walsender finds out when it next sends.
    wait_for(
        lambda: grown.value("primary", "SELECT count(*) FROM pg_stat_replication") == 0, describe="the end of the backup"
    )
    disk.make_room()
    grown.apply()
    grown.expect_whole()
    eu.stop()
