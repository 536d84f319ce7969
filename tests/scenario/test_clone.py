"""pgcascade clone on real servers: what it makes really runs, and what it could not finish never does."""

import os
import re
import resource
import signal
import subprocess

import pytest

from pg_node import PgNodes
from server_programs import bin_directory, client_program, give_to_server_account, run_as_server_account
from tcp_proxy import TcpProxy
from waiting import wait_for

ROWS = 60_000  # a table of about 15 MB, so that a clone takes a while
CHECK = "SELECT count(*), sum(id), md5(string_agg(v, '' ORDER BY id, v)) FROM big"


@pytest.fixture(scope="module")
def shared_source(version):
    with PgNodes() as nodes:
        primary = nodes.primary(version=version)
        primary.execute(
            f"CREATE TABLE big AS SELECT id, repeat(md5(id::text), 6) AS v FROM generate_series(1, {ROWS}) id"
        )
        yield primary


@pytest.fixture
def source(shared_source):
    """A running primary with a big table. Slots of earlier tests are gone."""
    if not shared_source.is_running():
        shared_source.start()
    shared_source.wait_until("SELECT count(*) FROM pg_replication_slots WHERE active", 0)
    shared_source.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    return shared_source


def replication(node, **more):
    return node.conninfo(dbname=None, **more)


def started_as_standby(nodes, node, upstream):
    """Real proof of a clone: a server on it catches up and holds the same rows."""
    slot = node.name.replace("-", "_")
    nodes.make_standby(node, upstream, slot)
    node.start()
    node.wait_for_streaming()
    upstream.wait_for_catchup(node)
    assert node.sql(CHECK) == upstream.sql(CHECK)
    return node


def bytes_on_disk(directory):
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def state_of(directory):
    names = {path.name for path in directory.iterdir()} if directory.exists() else None
    if not names:
        return "missing" if names is None else "empty"
    if "pgcascade.unfinished" in names:
        assert not (directory / "global/pg_control").exists()
        return "partial"
    return "cluster" if (directory / "global/pg_control").exists() else "foreign"


def assert_no_server_starts_on(directory, version):
    done = subprocess.run(
        [bin_directory(version) / "postgres", "-D", directory, "-c", "listen_addresses="],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
        env={**os.environ, "LC_ALL": "C"},
        **run_as_server_account(),
    )
    assert done.returncode > 0, f"a server ran on a partial clone: {done}"
    assert re.search("pg_control|could not find the database system|could not access|not a valid data directory|postgresql.conf", done.stderr), done


# -- what a clone is for -----------------------------------------------------------------------------------------


def test_three_siblings_of_a_primary_run_after_one_backup(nodes, source, version, pgcascade):
    siblings = [nodes.reserve(name, version) for name in ("eu", "us", "asia")]
    for sibling in siblings:
        source.create_physical_slot(sibling.name)
    since = source.log_size()
    done = pgcascade("clone", replication(source), *[each.data_directory for each in siblings], "--json").expect(0)

    log = source.log_text()[since:]
    assert len(re.findall("received replication command: BASE_BACKUP", log)) == 1, log
    assert '"timeline":1' in done.stdout
    received = int(re.search(r'"bytes":(\d+)', done.stdout)[1])
    assert received < 1.2 * bytes_on_disk(siblings[0].data_directory), "more came than one copy holds"
    source.execute("INSERT INTO big SELECT id, 'later' FROM generate_series(1, 100) id")
    for sibling in siblings:
        started_as_standby(nodes, sibling, source)


def test_a_standby_is_cloned_too_and_feeds_its_clone(nodes, source, version, pgcascade):
    eu = nodes.standby("eu", source)
    leaf = nodes.reserve("eu-1", version)
    eu.create_physical_slot("eu_1")
    done = pgcascade("clone", replication(eu), leaf.data_directory).expect(0)
    assert re.search(r"cloned [\d.]+ MB in .* needs the WAL from \w+/\w+ on \(timeline 1\)", done.stdout)
    started_as_standby(nodes, leaf, eu)
    source.execute("CREATE TABLE made_later AS SELECT 42 AS answer")
    source.wait_for_catchup(leaf)
    assert leaf.value("SELECT answer FROM made_later") == 42
    source.execute("DROP TABLE made_later")


@pytest.mark.at_most(15)  # Debian's pg_verifybackup is of 15
def test_an_independent_program_finds_the_clone_whole(source, directory, pgcascade):
    pgcascade("clone", replication(source), directory / "data").expect(0)
    done = subprocess.run(
        [client_program("pg_verifybackup"), "-n", directory / "data"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "successfully verified" in done.stdout + done.stderr, done


def test_files_belong_to_the_server_account_and_keep_group_access(nodes, version, pgcascade):
    primary = nodes.primary(version=version, initdb_arguments=("--allow-group-access",))
    clone = nodes.reserve("eu", version)
    pgcascade("clone", replication(primary), clone.data_directory).expect(0)
    owner = os.stat(primary.data_directory).st_uid
    for folder, folders, files in os.walk(clone.data_directory):
        for name in folders:
            status = os.stat(os.path.join(folder, name))
            assert (status.st_uid, status.st_mode & 0o777) == (owner, 0o750), (folder, name)
        for name in files:
            status = os.stat(os.path.join(folder, name))
            assert status.st_uid == owner and status.st_mode & 0o777 in (0o640, 0o600), (folder, name)
    assert os.stat(clone.data_directory).st_mode & 0o777 == 0o750
    assert os.stat(clone.data_directory / "base/1/PG_VERSION").st_mode & 0o777 == 0o640


# -- tablespaces -------------------------------------------------------------------------------------------------


def test_a_result_that_nobody_got_is_an_error(pgcascade_background, source, directory):
    with open("/dev/full", "wb") as full:
        program = pgcascade_background("clone", replication(source), directory / "eu", stdout=full)
    finished = program.wait()
    assert finished.code == 1
    assert "standard output" in finished.stderr and "No space left" in finished.stderr


@pytest.fixture
def source_with_tablespace(source, directory):
    space = directory / "space of source"
    space.mkdir()
    give_to_server_account(space)
    source.execute(f"CREATE TABLESPACE fast LOCATION '{space}'")
    source.execute("CREATE TABLE in_space TABLESPACE fast AS SELECT generate_series(1, 10000) AS id")
    yield source, space
    source.execute("DROP TABLE in_space")
    source.execute("DROP TABLESPACE fast")


def test_tablespaces_go_where_they_are_mapped(nodes, source_with_tablespace, version, directory, pgcascade):
    source, space = source_with_tablespace
    siblings = [nodes.reserve(name, version) for name in ("eu", "us")]
    places = [directory / f"space of {each.name}" for each in siblings]
    for sibling in siblings:
        source.create_physical_slot(sibling.name)
    mappings = [f"--tablespace-mapping={space}={place}" for place in places]
    pgcascade("clone", replication(source), *[each.data_directory for each in siblings], *mappings).expect(0)
    for sibling, place in zip(siblings, places):
        (link,) = (sibling.data_directory / "pg_tblspc").iterdir()
        assert os.readlink(link) == str(place)
        assert not (place / "pgcascade.unfinished").exists()
        started_as_standby(nodes, sibling, source)
        assert sibling.value("SELECT sum(id) FROM in_space") == 50005000


def test_tablespace_without_a_place_is_refused_before_anything_is_touched(source_with_tablespace, directory, pgcascade):
    source, space = source_with_tablespace
    refused = pgcascade("clone", replication(source), directory / "data").expect(1)
    assert f"the tablespace {space} of the source can't go to {space}" in refused.stderr
    assert f"--tablespace-mapping {space}=" in refused.stderr
    assert not (directory / "data").exists()


def test_two_clones_never_share_a_place(source_with_tablespace, directory, pgcascade):
    source, space = source_with_tablespace
    both = [directory / "a", directory / "b"]
    mapping = f"--tablespace-mapping={space}={directory / 'same'}"
    pgcascade("clone", replication(source), *both, mapping).expect(2)  # one for two directories
    refused = pgcascade("clone", replication(source), *both, mapping, mapping).expect(1)
    assert "would put both" in refused.stderr
    inside = f"--tablespace-mapping={space}={directory / 'a/inside'}"
    assert "would put both" in pgcascade("clone", replication(source), both[0], inside).expect(1).stderr
    assert "would put both" in pgcascade("clone", replication(source), both[0], both[0], mapping, mapping).expect(1).stderr
    assert not any(path.exists() for path in [*both, directory / "same"])


def test_clone_with_a_tablespace_that_was_cut_off_is_made_whole(nodes, source_with_tablespace, version, directory, pgcascade, pgcascade_background):
    source, space = source_with_tablespace
    eu = nodes.reserve("eu", version)
    source.create_physical_slot("eu")
    mapping = f"--tablespace-mapping={space}={directory / 'place'}"
    with TcpProxy(source.port, hold_at=8_000_000) as proxy:
        program = pgcascade_background("clone", replication(source, port=proxy.port), eu.data_directory, mapping)
        wait_for(lambda: bytes_on_disk(eu.data_directory) > 1_000_000, describe="data in the target")
        program.stop(signal.SIGKILL)
    assert state_of(eu.data_directory) == "partial" and (directory / "place/pgcascade.unfinished").exists()
    # Another clone has no business in what this one left.
    refused = pgcascade("clone", replication(source), directory / "other", mapping).expect(1)
    assert "is not empty" in refused.stderr
    pgcascade("clone", replication(source), eu.data_directory, mapping).expect(0)
    started_as_standby(nodes, eu, source)


# -- directories that are in the way -----------------------------------------------------------------------------


def test_files_that_are_in_the_way_are_never_touched(nodes, source, version, directory, pgcascade):
    foreign = directory / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    refused = pgcascade("clone", replication(source), directory / "new", foreign).expect(1)
    assert f"{foreign} is not empty" in refused.stderr and "hint:" in refused.stderr
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]

    other = nodes.primary("other", version=version, start=False)
    control = (other.data_directory / "global/pg_control").read_bytes()
    refused = pgcascade("clone", replication(source), directory / "new", other.data_directory).expect(1)
    assert f"holds a PostgreSQL {version} cluster already (system identifier" in refused.stderr
    assert (other.data_directory / "global/pg_control").read_bytes() == control

    refused = pgcascade("clone", replication(source), source.data_directory).expect(1)
    assert "cluster already" in refused.stderr
    assert state_of(directory / "new") == "missing", "nothing is touched before all targets are fit"


# -- interruptions -----------------------------------------------------------------------------------------------


def interrupted(nodes, source, version, pgcascade_background, hold, interrupt):
    """Clones into a fresh node through a proxy that stops at some point, and calls interrupt(program, proxy) then.
    Returns the node and how the program ended."""
    eu = nodes.reserve("eu", version)
    source.create_physical_slot("eu")
    with TcpProxy(source.port, **hold) as proxy:
        program = pgcascade_background("clone", replication(source, port=proxy.port), eu.data_directory)
        assert proxy.held.wait(timeout=30)
        # Some megabytes may still be on their way to the disk.
        wanted = max(1, proxy.bytes_from_server - 5_000_000)
        wait_for(lambda: bytes_on_disk(eu.data_directory) >= wanted, describe=f"{wanted} bytes in {eu.data_directory}")
        interrupt(program, proxy)
        finished = program.wait()
    assert state_of(eu.data_directory) == "partial"
    assert_no_server_starts_on(eu.data_directory, version)
    return eu, finished


@pytest.mark.parametrize("point", ["at the start", "in the middle", "in the manifest"])
def test_kill_9_leaves_nothing_startable_and_the_next_clone_is_whole(
    nodes, source, version, pgcascade, pgcascade_background, point
):
    hold = {
        "at the start": {"hold_at": 20_000},
        "in the middle": {"hold_at": 12_000_000},
        "in the manifest": {"hold_in": b'"WAL-Ranges"'},
    }[point]
    eu, finished = interrupted(
        nodes, source, version, pgcascade_background, hold, lambda program, _: program.process.kill()
    )
    assert finished.code == -signal.SIGKILL
    pgcascade("clone", replication(source), eu.data_directory).expect(0)
    started_as_standby(nodes, eu, source)


def test_ctrl_c_ends_it_in_order(nodes, source, version, pgcascade, pgcascade_background):
    eu, finished = interrupted(
        nodes, source, version, pgcascade_background, {"hold_at": 10_000_000}, lambda program, _: program.process.send_signal(signal.SIGINT)
    )
    assert finished.code == 1 and "stopped" in finished.stderr, finished
    pgcascade("clone", replication(source), eu.data_directory).expect(0)
    assert state_of(eu.data_directory) == "cluster"


def test_server_that_dies_is_reported_and_the_next_clone_is_whole(nodes, source, version, pgcascade, pgcascade_background):
    def kill_server(_, proxy):
        source.kill9()
        proxy.release()

    eu, finished = interrupted(nodes, source, version, pgcascade_background, {"hold_at": 10_000_000}, kill_server)
    assert finished.code == 1, finished
    assert re.search("base backup: .*(closed the connection|terminat)", finished.stderr) and "hint:" in finished.stderr
    source.start()
    pgcascade("clone", replication(source), eu.data_directory).expect(0)
    started_as_standby(nodes, eu, source)


def test_second_clone_into_the_same_directory_is_refused(nodes, source, version, pgcascade, pgcascade_background):
    eu = nodes.reserve("eu", version)
    with TcpProxy(source.port, hold_at=10_000_000) as proxy:
        first = pgcascade_background("clone", replication(source, port=proxy.port), eu.data_directory)
        assert proxy.held.wait(timeout=30)
        refused = pgcascade("clone", replication(source), eu.data_directory).expect(1)
        assert "another pgcascade is filling" in refused.stderr
        proxy.release()
        assert first.wait().code == 0, first.finished()
    assert state_of(eu.data_directory) == "cluster"


def test_damage_on_the_way_is_found(source, directory, pgcascade):
    source.execute("CREATE TABLE marked AS SELECT 'unmistakable-text' AS v FROM generate_series(1, 10000)")
    with TcpProxy(source.port, replace=(b"unmistakable-text", b"unmistakable-tExt")) as proxy:
        refused = pgcascade("clone", replication(source, port=proxy.port), directory / "data").expect(1)
        assert proxy.replaced
    assert re.search(r'"base/\d+/\d+" in the base backup does not have the checksum', refused.stderr), refused
    assert state_of(directory / "data") == "partial"
    source.execute("DROP TABLE marked")


# -- disk full ---------------------------------------------------------------------------------------------------


def test_disk_that_is_too_small_is_told_beforehand(source, small_disk, pgcascade):
    disk = small_disk("60m", mode="0777")
    disk.leave_room(5_000_000)
    refused = pgcascade("clone", replication(source), disk.path / "data").expect(1)
    assert re.search(r"has 4\.\d MB free, but what is to be cloned there needs [\d.]+ MB", refused.stderr), refused
    disk.make_room()
    pgcascade("clone", replication(source), disk.path / "data").expect(0)


def test_disk_that_gets_full_fails_its_target_only(source, small_disk, directory, pgcascade, pgcascade_background, version):
    disk = small_disk("60m", mode="0777")
    full, roomy = disk.path / "data", directory / "data"
    with TcpProxy(source.port, hold_at=8_000_000) as proxy:
        program = pgcascade_background("clone", replication(source, port=proxy.port), full, roomy)
        assert proxy.held.wait(timeout=30)
        wait_for(lambda: bytes_on_disk(full) > 1_000_000, describe="data in the target")
        disk.fill()
        proxy.release()
        finished = program.wait()
    assert finished.code == 1, finished
    assert re.search(rf"the clone into {full} failed after [\d.]+ MB of [\d.]+ MB: .*No space left on device", finished.stderr)
    assert f"whole are: {roomy}" in finished.stderr and "hint: free room" in finished.stderr, finished
    assert (state_of(full), state_of(roomy)) == ("partial", "cluster")
    assert_no_server_starts_on(full, version)
    disk.make_room()
    pgcascade("clone", replication(source), full).expect(0)
    assert state_of(full) == "cluster"


def test_failing_write_is_an_error_that_names_the_file(source, directory, pgcascade_background):
    def limit_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    target = directory / "data"
    program = pgcascade_background("clone", replication(source), target, preexec_fn=limit_files)
    failed = program.wait()
    assert failed.code == 1, failed
    assert re.search(rf"the clone into {target} failed .*{target}/base/\d+/\d+: File too large\nhint:", failed.stderr), failed
    assert state_of(target) == "partial"


# -- who may not -------------------------------------------------------------------------------------------------


def test_refusals_of_the_server_come_with_a_hint(nodes, version, directory, pgcascade):
    primary = nodes.primary(version=version)
    primary.execute("CREATE ROLE reader LOGIN PASSWORD 'x'")
    target = directory / "data"
    for conninfo, message in [
        (replication(primary, password="wrong"), "password authentication failed"),
        (replication(primary, user="reader", password="x"), "permission denied to start WAL sender|must be superuser or replication role"),
        (replication(primary, port=1), "refused"),
    ]:
        refused = pgcascade("clone", conninfo, target).expect(1)
        assert re.search(message, refused.stderr) and "hint:" in refused.stderr, refused
        assert "wrong" not in refused.stderr
    assert not target.exists()
