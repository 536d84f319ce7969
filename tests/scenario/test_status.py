"""pgcascade status: the tree as it is, held against what the servers say by SQL."""

import json
import os
import pty
import re
import signal
import time

import pytest

from fake_login_server import FakeLoginServer
from hand_built_tree import HandBuiltTree, hand_built_tree
from server_messages import refusal
from waiting import wait_for

# Its tests change one tree, one after the other: one process runs them all.
pytestmark = pytest.mark.xdist_group("status")


@pytest.fixture(scope="module")
def shared_tree(version):
    with hand_built_tree(version) as tree:
        yield tree


@pytest.fixture
def tree(shared_tree):
    shared_tree.mend()
    return shared_tree


def write(tree, rows):
    tree.primary.execute("CREATE TABLE IF NOT EXISTS t (id bigint)")
    tree.primary.execute(f"INSERT INTO t SELECT generate_series(1, {rows})")


def status_json(pgcascade, tree, *options, code=0):
    lines = pgcascade("status", tree.file, "--json", *options).expect(code).stdout.splitlines()
    assert len(lines) == 1
    whole = json.loads(lines[0])
    return whole, {node["name"]: node for node in whole["nodes"]}


def row_of(text, name):
    """The cells of the node's line, without what draws the tree."""
    lines = [line for line in text.splitlines() if re.match(rf"^[│├└─ ]*{re.escape(name)}  ", line)]
    assert lines, f"no line of {name} in\n{text}"
    return re.split(r"  +", lines[0].lstrip("│├└─ ").strip())


def test_a_tree_that_is_well_is_drawn_whole(tree, pgcascade):
    write(tree, 1000)
    tree.wait_for_catchup()
    text = pgcascade("status", tree.file).expect(0).stdout
    assert re.search(r"^primary ", text, re.M)
    assert re.search(r"^├─ eu ", text, re.M)
    assert re.search(r"^│  └─ eu-1 ", text, re.M)
    assert re.search(r"^└─ us ", text, re.M)
    assert row_of(text, "primary")[1:3] == ["primary", "running"]
    for node in (tree.eu, tree.us, tree.eu_1):
        row = row_of(text, node.name)
        assert row[1:3] == ["standby", "streaming"]
        assert row[-1] == f"127.0.0.1:{node.port}"
        assert row[-2].startswith(f"{node.version}.")
        assert "0 B" in row[5]
    assert re.search(r"^eu_1 +eu +physical +active", text, re.M)
    assert "\x1b" not in text, "colours where there is no terminal"


def test_json_tells_what_the_servers_say(tree, pgcascade):
    write(tree, 1000)
    tree.wait_for_catchup()
    whole, nodes = status_json(pgcascade, tree)
    assert whole["cascade"] == "shop" and whole["file"] == str(tree.file) and whole["all_answer"] is True
    assert [node["name"] for node in whole["nodes"]] == ["primary", "eu", "eu-1", "us"]
    assert {name: node["upstream"] for name, node in nodes.items()} == {
        "primary": None,
        "eu": "primary",
        "eu-1": "eu",
        "us": "primary",
    }
    system_identifier = tree.primary.value("SELECT system_identifier::text FROM pg_control_system()")
    for node in tree.nodes:
        told = nodes[node.name]
        assert told["port"] == node.port and told["data_directory"] == str(node.data_directory)
        assert told["system_identifier"] == system_identifier
        assert told["timeline"] == 1
        assert told["lsn"] == node.current_lsn()
        assert told["problems"] == [] and told["healthy"] is True
    assert nodes["primary"]["lag"] is None
    assert nodes["eu-1"]["receiver"]["sender_port"] == tree.eu.port
    assert nodes["eu"]["downstreams"][0]["application_name"] == "eu-1"
    slot = next(slot for slot in nodes["primary"]["slots"] if slot["name"] == "eu")
    expected = tree.primary.sql(
        "SELECT restart_lsn::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint"
        " FROM pg_replication_slots WHERE slot_name = 'eu'"
    )
    assert [(slot["restart_lsn"], slot["retained_bytes"])] == expected


def test_lag_is_that_of_the_edge_on_which_it_arises(tree, pgcascade):
    tree.eu_1.execute("SELECT pg_wal_replay_pause()")
    tree.eu_1.wait_until("SELECT pg_get_wal_replay_pause_state() = 'paused'")
    write(tree, 10_000)
    tree.primary.wait_for_catchup(tree.eu)
    tree.eu_1.wait_until(f"SELECT pg_last_wal_receive_lsn() >= '{tree.eu.current_lsn()}'")
    behind = tree.eu.value(f"SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '{tree.eu_1.current_lsn()}')::bigint")
    assert behind > 500_000
    _, nodes = status_json(pgcascade, tree)
    assert nodes["eu-1"]["lag"]["bytes"] == behind
    assert nodes["eu-1"]["lag"]["time_us"] > 0
    assert nodes["eu"]["lag"]["bytes"] == 0
    text = pgcascade("status", tree.file).expect(0).stdout
    assert re.search(r"(kB|MB)", row_of(text, "eu-1")[5])
    tree.eu_1.execute("SELECT pg_wal_replay_resume()")
    tree.primary.wait_for_catchup(tree.eu_1)
    assert status_json(pgcascade, tree)[1]["eu-1"]["lag"]["bytes"] == 0


def test_logical_streams_and_what_their_slots_retain_are_shown(tree, pgcascade):
    tree.primary.execute("SELECT pg_create_logical_replication_slot('orders', 'pgoutput')")
    write(tree, 100_000)
    _, nodes = status_json(pgcascade, tree)
    slot = next(slot for slot in nodes["primary"]["slots"] if slot["name"] == "orders")
    assert (slot["type"], slot["plugin"], slot["active"]) == ("logical", "pgoutput", False)
    assert slot["retained_bytes"] > 5_000_000
    text = pgcascade("status", tree.file).expect(0).stdout
    tree.primary.execute("SELECT pg_drop_replication_slot('orders')")
    assert re.search(r"^orders +primary +pgoutput, postgres +inactive .* MB +reserved", text, re.M)


def test_a_stopped_node_does_not_hide_the_rest(tree, pgcascade):
    tree.eu.stop()
    tree.eu_1.wait_until("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", 0)
    text = pgcascade("status", tree.file).expect(1).stdout
    assert row_of(text, "eu")[1:3] == ["standby", "stopped"]
    assert row_of(text, "primary")[1:3] == ["primary", "running"]
    assert row_of(text, "us")[1:3] == ["standby", "streaming"]
    assert row_of(text, "eu-1")[1:3] == ["standby", "not streaming"]
    assert re.search(r"^eu: .*Connection refused", text, re.M)
    assert f"hint: pgcascade apply {tree.file}" in text
    _, nodes = status_json(pgcascade, tree, code=1)
    assert nodes["eu"]["answers"] is False and nodes["eu"]["lsn"] is None
    assert nodes["us"]["answers"] is True and nodes["us"]["healthy"] is True
    assert nodes["eu-1"]["healthy"] is False


def test_a_node_that_hangs_costs_its_timeout_only(tree, pgcascade):
    pid = tree.us.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        text = pgcascade("status", tree.file, "--timeout", "0.5").expect(1).stdout
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    assert took < 5
    assert row_of(text, "us")[1:3] == ["standby", "unreachable"]
    assert re.search(r"^us: no answer within 500 ms", text, re.M)
    assert row_of(text, "eu-1")[1:3] == ["standby", "streaming"]


def test_a_node_that_takes_no_connections_yet_is_starting_in_any_language(tree, pgcascade):
    with FakeLoginServer(refusal("57P03", "das Datenbanksystem startet", S="FATAL")) as us:
        file = tree.file.with_name("starting.toml")
        file.write_text(tree.file.read_text().replace(f"port = {tree.us.port}", f"port = {us.port}"))
        text = pgcascade("status", file, env={"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}).expect(1).stdout
    assert row_of(text, "us")[1:3] == ["standby", "starting"]
    assert re.search(r"^us: .*das Datenbanksystem startet", text, re.M)


def test_a_promoted_standby_is_told(nodes, version, directory, pgcascade):
    tree = HandBuiltTree(nodes, version, directory)
    tree.us.promote()
    finished = pgcascade("status", tree.file).expect(0)
    assert row_of(finished.stdout, "us")[1:4] == ["primary", "running", "2"]
    assert re.search(r"^us: is a primary; .* says that it is a standby of primary", finished.stdout, re.M)


def test_a_port_that_another_server_has_is_told(tree, nodes, version, pgcascade):
    other = nodes.primary("other", version=version)
    file = tree.file.with_name("other.toml")
    file.write_text(tree.file.read_text().replace(f"port = {tree.us.port}", f"port = {other.port}"))
    text = pgcascade("status", file).expect(0).stdout
    assert row_of(text, "us")[2] == "other server"
    assert str(other.data_directory) in text


def test_watch_goes_on_until_ctrl_c(tree, pgcascade_background):
    watch = pgcascade_background("status", tree.file, "--watch", "--interval", "0.2", "--json")
    wait_for(lambda: len(watch.lines()) >= 3, describe=lambda: watch.finished())
    tree.primary.execute("SELECT pg_create_physical_replication_slot('new')")
    watch.wait_for_stdout('"name":"new"')
    tree.primary.execute("SELECT pg_drop_replication_slot('new')")
    watch.stop(signal.SIGINT).expect(0)
    for line in watch.lines():
        json.loads(line)


def test_watch_redraws_a_terminal_in_place_and_gives_it_back(tree, pgcascade_background):
    controller, terminal = pty.openpty()
    watch = pgcascade_background("status", tree.file, "--watch", "--interval", "0.1", stdout=terminal, env={"TERM": "xterm"})
    os.close(terminal)
    drawn = b""
    while drawn.count(b"\x1b[H") < 3:
        drawn += os.read(controller, 65536)
    watch.process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(controller, 65536):
            drawn += piece
    except OSError:  # EIO: the other end is closed
        pass
    os.close(controller)
    assert watch.wait().code == 0
    assert drawn.startswith(b"\x1b[?1049h\x1b[?25l")
    assert drawn.endswith(b"\x1b[?25h\x1b[?1049l")
    assert "├─ eu".encode() in drawn
    assert b"\x1b[32mstreaming\x1b[0m" in drawn, "no colours on a terminal"


def test_a_reader_that_is_gone_is_an_error(tree, pgcascade_background):
    reader, writer = os.pipe()
    os.close(reader)
    status = pgcascade_background("status", tree.file, stdout=writer)
    os.close(writer)
    finished = status.wait()
    assert finished.code == 1
    assert "standard output" in finished.stderr


def test_a_missing_file_is_named(pgcascade, directory):
    finished = pgcascade("status", directory / "nowhere.toml").expect(1)
    assert "nowhere.toml" in finished.stderr
