"""Fixtures of the scenarios: real servers, and the real binary from outside.

    PGCASCADE_TEST_VERSIONS   major versions of PostgreSQL to run on, default "15 18"; a missing one is an error
    PGCASCADE_BINARY          the program under test, default build/release/pgcascade
"""

import os
import pathlib
import shutil
import signal
import tempfile

import pytest

import program_run
from pg_node import PgNodes, remove_templates
from server_programs import bin_directory, give_to_server_account
from small_disk import CanNotMount, SmallDisk

VERSIONS = [int(version) for version in os.environ.get("PGCASCADE_TEST_VERSIONS", "15 18").split()]


def pytest_configure():
    # As Ctrl-C: what `timeout` or a CI job ends must not leave servers and directories behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_sessionstart(session):
    if session.config.option.collectonly:
        return
    try:
        for version in VERSIONS:
            bin_directory(version)
        program_run.binary()
    except FileNotFoundError as problem:
        raise pytest.UsageError(str(problem)) from problem


def pytest_collection_modifyitems(config, items):
    """Drops, for a test that only some versions can run, the versions that it names as out of range."""
    kept, dropped = [], []
    for item in items:
        version = item.callspec.params.get("version") if hasattr(item, "callspec") else None
        (kept if version is None or in_range(item, version) else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def in_range(item, version):
    at_least = item.get_closest_marker("at_least")
    at_most = item.get_closest_marker("at_most")
    return (at_least is None or version >= at_least.args[0]) and (at_most is None or version <= at_most.args[0])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the servers and the background programs said."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed or report.when == "teardown":  # then their files are gone
        return
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, PgNodes):
            for name, tail in value.logs():
                report.sections.append((f"log of {name}", tail))
        if isinstance(value, BackgroundStarter):
            for program in value.programs:
                report.sections.append(("background program", repr(program.finished())))


@pytest.fixture(scope="session", autouse=True)
def initdb_templates():
    yield
    remove_templates()


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"pg{version}")
def version(request):
    """The major version of PostgreSQL that the test runs on; see the markers at_least and at_most."""
    return request.param


@pytest.fixture
def nodes(directory):
    """Makes servers (nodes.primary(version=version), nodes.standby("eu", primary)); they end with the test, and before
    `directory` goes, where a standby may have tablespaces."""
    with PgNodes() as made:
        yield made


@pytest.fixture
def primary(nodes, version):
    """A running primary with wal_level=logical."""
    return nodes.primary(version=version, settings={"wal_level": "logical"})


@pytest.fixture(scope="session")
def pgcascade():
    """pgcascade("slot", "list", conninfo) runs the program to its end: .code, .stdout, .stderr, .expect(code)."""
    return program_run.run


class BackgroundStarter:
    def __init__(self, directory):
        self.directory = directory
        self.programs = []

    def __call__(self, *arguments, **options):
        directory = self.directory / str(len(self.programs))
        directory.mkdir()
        self.programs.append(program_run.Background(directory, *arguments, **options))
        return self.programs[-1]

    def close(self):
        for program in self.programs:
            program.close()


@pytest.fixture
def pgcascade_background(directory):
    """Starts the program and lets it run: .wait_for_stdout(regex), .wait(), .stop(signal), .lines(); killed at the end."""
    made = directory / "programs"
    made.mkdir()
    starter = BackgroundStarter(made)
    yield starter
    starter.close()


@pytest.fixture
def directory():
    """A temporary directory that the server account can reach and write (pytest's tmp_path is for its owner alone)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="pgc-dir-", dir="/tmp"))
    path.chmod(0o755)
    give_to_server_account(path)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def small_disk(directory):
    """small_disk(size, mode) mounts a file system with that much room; where nobody may mount, the test skips."""
    made = []

    def mount(size, mode):
        try:
            made.append(SmallDisk(directory / "small", size, mode, owner=os.stat(directory).st_uid))
        except CanNotMount as problem:
            pytest.skip(f"can't mount a small file system here: {problem}")
        return made[-1]

    yield mount
    for disk in made:
        disk.close()
