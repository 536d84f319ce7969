"""pgcascade stop: every server down, in an order in which all end at the same LSN."""

import signal
import threading

import psycopg2
import pytest

from hand_built_tree import HandBuiltTree, hand_built_tree
from pg_node import write_owned

# Its tests change one tree, one after the other: one process runs them all.
pytestmark = pytest.mark.xdist_group("stop")


@pytest.fixture(scope="module")
def shared_tree(version):
    with hand_built_tree(version) as tree:
        yield tree


@pytest.fixture
def tree(shared_tree):
    shared_tree.mend()
    return shared_tree


class Writer:
    """Inserts until the server ends its session."""

    def __init__(self, primary):
        primary.execute("CREATE TABLE t (id bigint, filler text)")
        self.primary = primary
        self.began = threading.Event()
        self.thread = threading.Thread(target=self._write)
        self.thread.start()
        assert self.began.wait(30)

    def _write(self):
        connection = self.primary.connect()
        try:
            with connection.cursor() as cursor:
                while True:
                    cursor.execute("INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 500) g")
                    self.began.set()
        except psycopg2.Error:
            pass
        finally:
            connection.close()


def end_of_wal(node):
    """Of a server that is down: what it replays when it is left alone with its own WAL."""
    write_owned(node.data_directory / "standby.signal", "")
    node.append_conf({"primary_conninfo": "", "primary_slot_name": ""})
    node.start()
    # With nothing to stream from, it is at the end once the startup process waits for more.
    node.wait_until("SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'", "RecoveryRetrieveRetryInterval")
    return node.current_lsn()


def test_all_nodes_end_at_the_same_lsn(nodes, version, directory, pgcascade):
    tree = HandBuiltTree(nodes, version, directory)
    writer = Writer(tree.primary)
    finished = pgcascade("stop", tree.file).expect(0)
    writer.thread.join()
    for node in tree.nodes:
        assert not node.is_running()
        assert f"{node.name}: stopped" in finished.stderr
    assert finished.stderr.index("primary: stopped") < finished.stderr.index("eu: stopped")
    assert finished.stderr.index("eu: stopped") < finished.stderr.index("eu-1: stopped")
    ends = {node.name: end_of_wal(node) for node in tree.nodes}
    assert len(set(ends.values())) == 1, ends
    assert len({node.value("SELECT count(*) FROM t") for node in tree.nodes}) == 1


def test_no_program_of_the_server_is_needed(tree, pgcascade):
    pgcascade("stop", tree.file, env={"PGCASCADE_BINDIR": "/nonexistent"}).expect(0)


def test_a_tree_that_is_down_is_left_alone(tree, pgcascade):
    pgcascade("stop", tree.file).expect(0)
    finished = pgcascade("stop", tree.file).expect(0)
    for node in tree.nodes:
        assert f"{node.name}: was not running" in finished.stderr


def test_what_is_missing_or_down_already_does_not_matter(tree, pgcascade):
    tree.eu.kill9()
    tree.eu_1.stop()
    finished = pgcascade("stop", tree.file, "--mode", "immediate").expect(0)
    assert "eu: was not running" in finished.stderr
    assert "us: stopped" in finished.stderr
    assert not any(node.is_running() for node in tree.nodes)


def test_a_server_that_does_not_stop_is_an_error_and_the_others_stop(tree, pgcascade):
    client = tree.primary.connect()
    try:
        finished = pgcascade("stop", tree.file, "--mode", "smart", "--timeout", "1").expect(1)
        assert "primary" in finished.stderr and "has not stopped within 1000 ms" in finished.stderr
        assert "hint:" in finished.stderr
        assert [node.is_running() for node in tree.nodes] == [True, False, False, False]
    finally:
        client.close()
    tree.primary.stop()


def test_ctrl_c_ends_the_wait(tree, pgcascade_background):
    client = tree.primary.connect()
    try:
        before = tree.primary.log_size()
        stop = pgcascade_background("stop", tree.file, "--mode", "smart")
        tree.primary.wait_for_log("received smart shutdown request", since=before)
        finished = stop.stop(signal.SIGINT)
        assert finished.code == 1
        assert tree.eu.is_running()
    finally:
        client.close()
    tree.primary.stop()


def test_an_unknown_mode_is_a_usage_error(pgcascade, directory):
    assert "--mode" in pgcascade("stop", "--mode", "gently").expect(2).stderr
