"""pgcascade stream: memory does not grow with the transaction, and a value that does not fit is an error, not a crash."""

import pathlib
import re
import resource
import subprocess

import pytest

import program_run
from workload import SCHEMA, large_transaction

MB = 1024 * 1024


@pytest.fixture
def source(primary):
    primary.psql(SCHEMA)
    primary.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    return primary


def start(node, *more, limit=None, **options):
    """`limit`: of the address space, in bytes (ulimit -v)."""
    command = [program_run.binary(), "stream", node.conninfo(), "-S", "s", "-P", "pub", "--until", node.current_lsn()]
    limited = {} if limit is None else {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}
    environment = program_run.environment()
    return subprocess.Popen([*command, *more], env=environment, stderr=subprocess.PIPE, **limited, **options)


def test_memory_does_not_grow_with_the_transaction(pgcascade_background, source):
    options = ["-S", "s", "-P", "pub", "--status-interval", "0.1", "--output", "/dev/null"]
    program = pgcascade_background("stream", source.conninfo(), *options)
    peaks = []
    for rows in (1_000, 150_000):
        source.execute("TRUNCATE item")
        large_transaction(source, rows)
        end = source.current_lsn()
        source.wait_until(f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots", timeout=100)
        status = pathlib.Path(f"/proc/{program.process.pid}/status").read_text()
        peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)
    assert peaks[1] < 64, f"MB: {peaks}"
    assert peaks[1] < peaks[0] + 4, f"MB: {peaks}"


VALUE = 60 * MB


# With the smaller limit the value can't be received, with the larger one it can't be printed.
@pytest.mark.parametrize("limit, told", [(150 * MB, "message of the stream is too large"), (260 * MB, "too large to be printed")], ids=["receive", "print"])
def test_a_value_that_does_not_fit_in_memory_is_an_error(source, limit, told):
    source.execute("INSERT INTO item VALUES (1, 1, 'before')")
    source.execute("INSERT INTO item VALUES (2, 1, repeat('x', %s))", VALUE)
    program = start(source, limit=limit, stdout=subprocess.PIPE)
    stdout, stderr = program.communicate(timeout=100)
    message = stderr.decode()
    assert program.returncode == 1, message
    assert told in message and "hint: " in message
    assert "leave the column with the huge value out" in message
    # What came before it is there, and nothing of the value.
    assert stdout.count(b"\n") == 1 and b'"note":"before"' in stdout

    # With enough memory the same slot goes on with it.
    program = start(source, stdout=subprocess.PIPE)
    stdout, stderr = program.communicate(timeout=100)
    assert program.returncode == 0, stderr
    assert len(stdout.splitlines()[-1]) > VALUE
