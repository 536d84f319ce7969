"""pgcascade demo: the whole run, and that it can fail, be interrupted and be kept; it never leaves anything behind."""

import json
import os
import pathlib
import pty
import re
import shlex
import shutil
import signal
import subprocess
import tomllib

import psycopg2
import pytest

import program_run
from server_programs import bin_directory, client_program, run_as_server_account
from waiting import wait_for

RUN_TIMEOUT_S = 240.0
VERIFIED = r"^verified: 7 servers and a subscriber of the relay hold the same (\d+) rows; (\d+) row changes streamed from eu-1, none missing, none twice$"

pytestmark = pytest.mark.at_least(16)  # decoding on a standby


@pytest.fixture
def stage(directory, version):
    """The demo's TMPDIR, and the PostgreSQL it runs."""
    return Stage(directory / "tmp", version)


class Stage:
    def __init__(self, tmpdir, version):
        tmpdir.mkdir()
        tmpdir.chmod(0o1777)
        self.tmpdir = tmpdir
        self.env = {"TMPDIR": str(tmpdir), "PGCASCADE_BINDIR": str(bin_directory(version))}

    def assert_nothing_is_left(self):
        assert list(self.tmpdir.iterdir()) == []
        wait_for(lambda: not processes_below(self.tmpdir), describe=lambda: f"the end of {processes_below(self.tmpdir)}")

    def cascade(self):
        """Of the demo that runs."""
        (file,) = self.tmpdir.glob("*/cascade.toml")
        return RunningCascade(file)


def processes_below(directory):
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if pathlib.Path(os.readlink(process / "cwd")).is_relative_to(directory):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


class RunningCascade:
    def __init__(self, file):
        self.file = file
        self.content = tomllib.loads(file.read_text())

    def conninfo(self, node, dbname="shop"):
        port = self.content["node"][node]["port"]
        passfile = str(self.file.parent / "passwords")
        return psycopg2.extensions.make_dsn(host="127.0.0.1", port=port, user="postgres", dbname=dbname, passfile=passfile)

    def execute(self, node, query):
        connection = psycopg2.connect(self.conninfo(node))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def start_demo(pgcascade_background, stage, *options, **more):
    return pgcascade_background("demo", *options, env=stage.env, **more)


def verified_counts(stdout):
    match = re.search(VERIFIED, stdout, re.M)
    assert match and stdout.rstrip().endswith(match.group(0)), stdout
    return int(match.group(1)), int(match.group(2))


def test_every_node_and_the_stream_are_verified(stage, pgcascade):
    finished = pgcascade("demo", "--seconds", "4", env=stage.env, timeout=RUN_TIMEOUT_S).expect(0)
    rows, changes = verified_counts(finished.stdout)
    assert rows > 250 and changes > rows
    assert re.search(r"cascade\.toml", finished.stderr)
    assert re.search(r"^├─ hub +relay +receiving", finished.stdout, re.M)
    assert re.search(r"^│  └─ subscriber +pgoutput +streaming", finished.stdout, re.M)
    for node in ("│  ├─ hub-1 ", "├─ eu ", "│  ├─ eu-1 ", "│  └─ eu-2 ", "└─ us ", "   └─ us-1 "):
        assert re.search(rf"^{node}.* streaming .* B", finished.stdout, re.M), f"no lag at {node}"
    sample = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    assert {line["table"] for line in sample} <= {"customers", "products", "orders", "order_items"}
    assert 2 <= len(sample) <= 50
    stage.assert_nothing_is_left()


@pytest.mark.parametrize(
    "moment, number",
    [
        pytest.param("*/primary/initdb/base/1", signal.SIGINT, id="initdb"),
        pytest.param("primary: start", signal.SIGINT, id="start"),
        pytest.param("*/eu/base", signal.SIGHUP, id="clone"),
        pytest.param("eu: start", signal.SIGTERM, id="standby"),
        pytest.param("creating the slot", signal.SIGINT, id="slot"),
        pytest.param("waiting until every node", signal.SIGINT, id="verification"),
    ],
)
def test_ctrl_c_leaves_nothing_behind(stage, pgcascade_background, moment, number):
    """A moment is what the program says, or a file that appears."""
    demo = start_demo(pgcascade_background, stage, "--seconds", "1")
    if "/" in moment:
        wait_for(lambda: list(stage.tmpdir.glob(moment)), timeout=RUN_TIMEOUT_S, describe=moment)
    else:
        demo.wait_for_stderr(moment, timeout=RUN_TIMEOUT_S)
    finished = demo.stop(number).expect(1)
    assert "stopped" in finished.stderr and "error" not in finished.stderr
    stage.assert_nothing_is_left()


def test_ctrl_c_gives_the_terminal_back(stage, pgcascade_background):
    controller, terminal = pty.openpty()
    demo = start_demo(pgcascade_background, stage, "--seconds", "600", stdout=terminal)
    os.close(terminal)
    drawn = b""
    while drawn.count(b"\x1b[H") < 3:
        drawn += os.read(controller, 65536)
    demo.process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(controller, 65536):
            drawn += piece
    except OSError:  # EIO: the other end is closed
        pass
    os.close(controller)
    assert demo.wait().code == 1
    assert drawn.startswith(b"\x1b[?1049h") and b"\x1b[?25h\x1b[?1049l" in drawn
    text = drawn.decode()
    assert "├─ eu" in text and '{"op":' in text and "Ctrl-C" in text
    stage.assert_nothing_is_left()


def test_what_is_missing_and_what_is_too_much_are_found(stage, pgcascade_background):
    demo = start_demo(pgcascade_background, stage, "--seconds", "5")
    demo.wait_for_stderr("a shop writes", timeout=RUN_TIMEOUT_S)
    cascade = stage.cascade()
    cascade.execute("primary", "INSERT INTO customers (name, email) VALUES ('Stranger', 'x@example.com')")
    cascade.execute("primary", "ALTER PUBLICATION shop DROP TABLE order_items")
    finished = demo.wait(timeout=RUN_TIMEOUT_S).expect(1)
    assert re.search(r"transaction \d+ \(customers \+1 ~0 -0\) was streamed; the workload did not commit it", finished.stderr)
    assert re.search(r"was committed with .*order_items.* and streamed with ", finished.stderr)
    assert re.search(r"order_items \(\d+, \d+\) is on the primary, and not in what was streamed", finished.stderr)
    assert "not verified" in finished.stdout and "verified: 7" not in finished.stdout
    stage.assert_nothing_is_left()


def run_as_ordinary_user(directory, stage, *arguments):
    """Who isn't root, as the tests may be: a copy of the program that the servers' account can reach, run as it."""
    own = directory / "pgcascade"
    shutil.copy(program_run.binary(), own)
    own.chmod(0o755)
    done = subprocess.run(
        [own, *arguments],
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        cwd="/",
        env=program_run.environment({**stage.env, "HOME": str(directory)}),
        **run_as_server_account(),
    )
    return program_run.Finished(arguments, done.returncode, done.stdout, done.stderr)


def test_an_ordinary_user_can_keep_use_and_stop_it(stage, directory, pgcascade, pgcascade_background):
    place = stage.tmpdir / "kept by a shell's user"
    finished = run_as_ordinary_user(directory, stage, "demo", "--keep", "--seconds", "1", "--directory", place).expect(0)
    rows, _ = verified_counts(finished.stdout)
    cascade = stage.cascade()
    try:
        nodes = json.loads(pgcascade("status", cascade.file, "--json").expect(0).stdout)["nodes"]
        assert [node["name"] for node in nodes] == ["primary", "hub", "hub-1", "eu", "eu-1", "eu-2", "us", "us-1"]
        assert all(node["healthy"] for node in nodes), nodes
        pgcascade("plan", cascade.file, env=stage.env).expect(0)
        counts = "SELECT sum(n) FROM (SELECT count(*) n FROM customers UNION ALL SELECT count(*) FROM products"
        counts += " UNION ALL SELECT count(*) FROM orders UNION ALL SELECT count(*) FROM order_items) t"
        assert {int(cascade.execute(node["name"], counts)[0][0]) for node in nodes if node["kind"] == "server"} == {rows}

        lines = {line.split()[0]: line for line in re.findall(r"^  (psql .*|.* stream .*)$", finished.stdout, re.M)}
        psql = lines.pop("psql")  # the last: of the leaf
        shell = f"{client_program('psql')}{psql.removeprefix('psql')} -XAtc 'SELECT count(*) > 0 FROM customers'"
        assert subprocess.run(shell, shell=True, capture_output=True, text=True, check=True).stdout == "t\n"

        (stream_line,) = lines.values()
        conninfo = shlex.split(stream_line)[2]
        stream = pgcascade_background("stream", conninfo, "--slot", "shop", "--publication", "shop")
        cascade.execute("primary", "INSERT INTO customers (name, email) VALUES ('Next', 'next@example.com')")
        stream.wait_for_stdout('"name":"Next"')
        stream.stop(signal.SIGINT)
        assert len(stream.lines()) == 1, "what the demo had read comes again"
    finally:
        for file in (cascade.file, place / "subscriber.toml"):
            pgcascade("stop", file, timeout=RUN_TIMEOUT_S).expect(0)
    assert not processes_below(place)
    shutil.rmtree(place)
    stage.assert_nothing_is_left()


def test_a_directory_with_something_in_it_is_left_alone(stage, pgcascade):
    (stage.tmpdir / "letter.txt").write_text("dear")
    finished = pgcascade("demo", "--directory", stage.tmpdir, env=stage.env).expect(1)
    assert "not an empty directory" in finished.stderr
    assert [path.name for path in stage.tmpdir.iterdir()] == ["letter.txt"]


def test_a_server_that_cannot_decode_on_a_standby_is_refused(stage, pgcascade):
    finished = pgcascade("demo", env={**stage.env, "PGCASCADE_BINDIR": str(bin_directory(15))}).expect(1)
    assert "a standby decodes from 16 on" in finished.stderr
    stage.assert_nothing_is_left()
