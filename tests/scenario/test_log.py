"""pgcascade log: what it says of a relay's log is what the relay received; damage is named, and nothing is ever changed."""

import json
import os
import shutil
import struct
import subprocess

import pytest

import program_run
from change_lines import lsn_number, lsn_text
from relay_clients import Network, answers, wait_for_all_received
from server_programs import give_to_server_account, run_as_server_account
from test_relay import SHOP, relay, shop  # noqa: F401 (fixtures)
from test_relay_faults import last_entry, overwrite
from waiting import wait_for

KEYS = {"kind", "name", "directory", "whole", "tail_bytes", "torn", "corruptions"}


@pytest.fixture
def log(pgcascade):
    """log("verify", directory, code) gives the logs of its JSON."""

    def run(command, directory, *arguments, code=0):
        printed = pgcascade("log", command, directory, "--json", *arguments).expect(code)
        found = json.loads(printed.stdout)
        assert found["whole"] == all(one["whole"] for one in found["logs"]) == (code == 0)
        assert all(KEYS <= one.keys() for one in found["logs"])
        return found["logs"]

    return run


@pytest.fixture
def started(shop, relay):
    relay.write_file({"shop": (shop, ["pub"])})
    return relay.start()


@pytest.fixture
def stopped(shop, started):
    """A relay that has received ten transactions, the last after the others were on disk, and ended."""
    for number in range(10):
        write(shop, started, number)
        wait_for_all_received(started, shop)
    started.stop()
    return started


def write(node, relay, number):
    """A transaction of its own size."""
    node.execute("INSERT INTO item SELECT %s * 1000 + i, 'item ' || i FROM generate_series(1, %s) i", number, number + 1)


def feed_directory(relay):
    return relay.directory / "data/feeds/shop"


def contents(directory):
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def only_index(relay):
    [index] = feed_directory(relay).glob("*.index")
    return index


def transactions(one):
    return [entry for entry in one["entry_list"] if entry["entry"] == "transaction"]


def by_the_server(node):
    """[(end LSN, rows)] of each transaction since `slot` was made, as the upstream decodes them itself."""
    sql = "SELECT lsn::text, get_byte(data, 0) FROM pg_logical_slot_peek_binary_changes"
    sql += "('oracle', NULL, NULL, 'proto_version', '1', 'publication_names', 'pub')"
    ends, rows = [], 0
    for lsn, kind in node.sql(sql):
        rows += kind == ord("I")
        if kind == ord("C"):
            ends.append((lsn, rows))
            rows = 0
    return ends


def test_log_tells_what_the_relay_received_beside_it_and_after_it(shop, relay, log):
    shop.sql("SELECT pg_create_logical_replication_slot('oracle', 'pgoutput')")
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    for number in range(8):
        write(shop, relay, number)
    wait_for_all_received(relay, shop)
    expected = by_the_server(shop)
    assert [rows for _, rows in expected] == list(range(1, 9))

    def check():
        [one] = log("show", relay.directory / "data", "--segments", "--entries", "--limit", "1000000")
        assert (one["kind"], one["name"], one["directory"]) == ("feed", "shop", str(feed_directory(relay)))
        got = transactions(one)
        assert [entry["end_lsn"] for entry in got] == [end for end, _ in expected]
        sizes = [entry["end_position"] - entry["begin_position"] for entry in got[1:]]
        assert sizes == sorted(set(sizes)), "each has a row more than the one before"
        assert got[0]["has_definitions"] and not got[-1]["has_definitions"]
        assert one["begin_lsn"] == one["entry_list"][0]["commit_lsn"] and one["end_lsn"] == one["entry_list"][-1]["end_lsn"]
        assert one["entries"] == len(one["entry_list"])
        [segment] = one["segment_list"]
        assert segment["segment"] == only_index(relay).stem
        assert (segment["begin_position"], segment["end_position"]) == (one["begin_position"], one["end_position"])
        assert one["bytes"] == only_index(relay).with_suffix(".frames").stat().st_size
        [verified] = log("verify", feed_directory(relay))
        assert (verified["bytes"], verified["entries"], verified["tail_bytes"]) == (one["bytes"], one["entries"], 0)
        [latest] = log("show", feed_directory(relay), "--entries", "--limit", "1")
        assert latest["entry_list"] == one["entry_list"][-1:]

    check()
    [[feed]] = answers(relay, "SHOW pgcascade.feeds")
    assert feed[0] == "shop"
    relay.stop()
    check()


def test_log_is_whole_at_any_moment_beside_a_busy_relay(shop, started, log):
    for number in range(10):
        shop.execute("INSERT INTO item SELECT i FROM generate_series(1, 20000) i; DELETE FROM item")
        log("verify", started.directory / "data")
        log("show", started.directory / "data", "--segments", "--entries")


def test_what_is_under_way_is_told_and_is_no_damage(shop, relay, log, pgcascade):
    with Network(shop) as network:
        relay.write_file({"shop": (network, ["pub"])})
        relay.start()
        write(shop, relay, 1)
        wait_for_all_received(relay, shop)
        [whole] = log("verify", relay.directory / "data")
        network.hold_after(1_000_000)
        shop.execute("INSERT INTO item SELECT -i, repeat('x', 1000) FROM generate_series(1, 10000) i")
        assert network.held.wait(60)
        tail = lambda: log("verify", relay.directory / "data")[0]["tail_bytes"]
        wait_for(lambda: tail() > 500_000)
        [found] = log("verify", relay.directory / "data")
        assert found["torn"] is None and found["entries"] >= whole["entries"]
        said = pgcascade("log", "verify", relay.directory / "data").expect(0).stdout
        assert "feed shop: whole" in said and "a relay that runs has it under way" in said
        network.cut()
        wait_for_all_received(relay, shop)
        wait_for(lambda: tail() == 0)
        assert log("verify", relay.directory / "data")[0]["bytes"] > 10_000_000


def test_people_are_told_the_same(stopped, pgcascade):
    shown = pgcascade("log", "show", stopped.directory / "data", "--segments", "--entries").expect(0).stdout
    logs, segments, entries = [part.splitlines() for part in shown.split("\n\n")]
    assert logs[0].split()[:4] == ["log", "name", "begin", "end"] and logs[1].split()[:2] == ["feed", "shop"]
    assert logs[1].endswith("whole")
    assert segments[1].split()[:2] == ["shop", only_index(stopped).stem]
    assert sum(" transaction " in line for line in entries) == 10
    verified = pgcascade("log", "verify", stopped.directory / "data").expect(0)
    assert verified.stdout.startswith("feed shop: whole, 1 segment, ") and verified.stdout.count("\n") == 1


def test_flipped_bit_is_named_with_file_and_offset_by_both_and_nothing_is_changed(stopped, log, pgcascade):
    [shown] = log("show", feed_directory(stopped), "--entries")
    index = only_index(stopped)
    frames = index.with_suffix(".frames")
    first, second = transactions(shown)[2:4]
    for entry in (first, second):
        at = (entry["begin_position"] + entry["end_position"]) // 2
        overwrite(frames, at, bytes([frames.read_bytes()[at] ^ 4]))
    before = contents(stopped.directory / "data")
    [found] = log("verify", stopped.directory / "data", code=1)
    what = "the frames of an entry are damaged"
    expected = [{"file": str(frames), "offset": entry["begin_position"], "what": what} for entry in (first, second)]
    assert found["corruptions"] == expected and found["torn"] is None
    said = pgcascade("log", "verify", feed_directory(stopped)).expect(1)
    assert "feed shop: corrupt in 2 places" in said.stdout and "hint: " in said.stderr
    for flaw in expected:
        assert f"  {flaw['file']}, offset {flaw['offset']}: {what}\n" in said.stdout
    # The start refuses the same; what stands before it is shown.
    [shown] = log("show", feed_directory(stopped), code=1)
    assert shown["corruptions"] == expected[:1] and shown["end_position"] == first["begin_position"]
    refused = stopped.start_program("relay", stopped.file).wait()
    assert refused.code == 1 and f"{frames}, offset {first['begin_position']}: {what}" in refused.stderr
    assert contents(stopped.directory / "data") == before


def test_torn_tail_is_told_and_is_no_failure(shop, stopped, log, pgcascade):
    index = only_index(stopped)
    frames = index.with_suffix(".frames")
    _, begin, end = last_entry(index)
    whole = frames.read_bytes()
    os.truncate(frames, end - 1)
    before = contents(stopped.directory / "data")
    [found] = log("verify", feed_directory(stopped))
    torn = {"file": str(frames), "offset": begin, "what": "the frames of an entry are cut short"}
    assert found["torn"] == torn and found["tail_bytes"] == end - 1 - begin and found["corruptions"] == []
    said = pgcascade("log", "verify", feed_directory(stopped)).expect(0).stdout
    assert "feed shop: whole" in said and "the end is not whole, " in said and str(frames) in said
    assert "not whole" in pgcascade("log", "show", feed_directory(stopped)).expect(0).stdout
    assert contents(stopped.directory / "data") == before

    # The next start cuts off just that, and fetches it again.
    frames.write_bytes(whole + b"of an entry that is not whole")
    [found] = log("verify", feed_directory(stopped))
    assert (found["tail_bytes"], found["torn"]) == (29, None)
    stopped.start()
    write(shop, stopped, 20)
    wait_for_all_received(stopped, shop)
    [found] = log("verify", feed_directory(stopped))
    assert (found["tail_bytes"], found["torn"]) == (0, None)


def test_files_of_others_are_left_alone_and_segments_that_are_none_are_told(stopped, log):
    directory = feed_directory(stopped)
    [before] = log("verify", directory)
    (directory / "notes.txt").write_text("mine")
    (directory / "00000000000000zz.frames").write_bytes(b"no number")
    (directory / "0000000000000000.frames.old").write_bytes(b"no segment")
    (directory / "ffffffffffffff00.index").mkdir()
    assert log("verify", directory) == [before]
    # A segment beyond the end was never on disk for certain.
    garbage = directory / "7fffffffffffffff.frames"
    garbage.write_bytes(os.urandom(1000))
    [found] = log("verify", directory)
    assert found["tail_bytes"] == 1000 and "is missing" in found["torn"]["what"]
    garbage.unlink()
    (directory / "ffffffffffffff00.index").rmdir()
    index = only_index(stopped)
    index.write_bytes(os.urandom(index.stat().st_size))
    [found] = log("verify", directory, code=1)
    assert found["corruptions"] == [{"file": str(index), "offset": 0, "what": "the header is damaged"}]


def test_what_is_no_log_is_refused(directory, stopped, primary, pgcascade):
    for command in ("show", "verify"):
        missing = pgcascade("log", command, directory / "none").expect(1)
        assert f"can't read {directory / 'none'}: No such file or directory" in missing.stderr
        assert "Not a directory" in pgcascade("log", command, stopped.file).expect(1).stderr
        nothing = pgcascade("log", command, stopped.directory).expect(1)
        assert f"{stopped.directory} holds no log\nhint: name the directory of a relay" in nothing.stderr
        wal = pgcascade("log", command, primary.data_directory / "pg_wal").expect(1)
        assert "holds WAL, but no log of a relay" in wal.stderr
        pgcascade("log", command).expect(2)
        pgcascade("log", command, directory, directory).expect(2)
    pgcascade("log").expect(2)
    pgcascade("log", "show", directory, "--limit", "5").expect(2)
    pgcascade("log", "show", directory, "--entries", "--limit", "0").expect(2)


def test_directory_that_may_not_be_read_is_told(directory, stopped):
    """As who is not root, to whom nothing is forbidden."""
    own = directory / "pgcascade"
    shutil.copy(program_run.binary(), own)
    own.chmod(0o755)
    place = directory / "feed"
    shutil.copytree(feed_directory(stopped), place)

    def verify():
        command = [own, "log", "verify", place]
        return subprocess.run(command, capture_output=True, text=True, cwd="/", env=program_run.environment(), **account)

    account = run_as_server_account()
    for path in [place, *place.iterdir()]:
        give_to_server_account(path)
    for path in place.iterdir():
        path.chmod(0o400)
    place.chmod(0o500)
    assert verify().returncode == 0, "a log that may only be read is enough"
    next(place.glob("*.frames")).chmod(0)
    refused = verify()
    assert refused.returncode == 1 and "Permission denied" in refused.stderr and ".frames" in refused.stderr
    place.chmod(0)
    refused = verify()
    assert refused.returncode == 1 and f"can't read {place}: Permission denied" in refused.stderr
    place.chmod(0o700)


# -- WAL --------------------------------------------------------------------------------------------------------

SEGMENT, BLOCK = 16 << 20, 128 << 10
CRC_TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC_TABLE.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def with_crc(data):
    return data + struct.pack(">I", crc32c(data))


def sums(timeline, start, wal, block, durable):
    """A .sums file, as docs/log_format.md has it."""
    made = with_crc(struct.pack(">8sIQQ", b"pgcwals1", timeline, start, SEGMENT))
    for at in range(0, len(wal), block):
        piece = wal[at : at + block]
        made += with_crc(struct.pack(">QIQ", start + at + len(piece), crc32c(piece), durable))
    return made


def test_log_of_real_wal_is_shown_and_damage_to_it_is_named(primary, directory, log, pgcascade):
    first, lsn = primary.sql("SELECT pg_walfile_name(pg_current_wal_lsn()), pg_current_wal_lsn()::text")[0]
    primary.psql("CREATE TABLE t AS SELECT generate_series(1, 1000); SELECT pg_switch_wal(); CREATE TABLE u ()")
    second = primary.value("SELECT pg_walfile_name(pg_current_wal_flush_lsn())")
    start = lsn_number(lsn) // SEGMENT * SEGMENT
    middle = start + SEGMENT
    wal = directory / "wal"
    wal.mkdir()
    whole = (primary.data_directory / "pg_wal" / first).read_bytes()
    (wal / first).write_bytes(whole)
    (wal / f"{first}.sums").write_bytes(sums(1, start, whole, BLOCK, middle))
    part = (primary.data_directory / "pg_wal" / second).read_bytes()[:5000]
    partial = wal / f"{second}.partial"
    partial.write_bytes(part)
    # Of its batches of 1000 bytes each says that the first two are on disk.
    (wal / f"{second}.sums").write_bytes(sums(1, middle, part, 1000, middle + 2000))
    (wal / "00000002.history").write_text("1\t0/3000000\tno recovery target specified\n")

    before = contents(wal)
    [shown] = log("show", directory, "--segments")
    assert (shown["kind"], shown["name"], shown["segment_bytes"], shown["histories"]) == ("wal", "wal", SEGMENT, [2])
    assert (shown["begin_timeline"], shown["end_timeline"]) == (1, 1)
    assert (shown["begin_lsn"], shown["end_lsn"], shown["durable_lsn"]) == (
        lsn_text(start),
        lsn_text(middle + 5000),
        lsn_text(middle + 2000),
    )
    assert [(one["segment"], one["complete"]) for one in shown["segment_list"]] == [(first, True), (second, False)]
    [found] = log("verify", wal)
    assert (found["bytes"], found["tail_bytes"], found["corruptions"]) == (SEGMENT + 5000, 0, [])
    people = pgcascade("log", "show", wal, "--segments").expect(0).stdout
    assert f"{first}  1 " in people and "complete" in people and "partial" in people

    overwrite(wal / first, 3 * BLOCK + 77, bytes([whole[3 * BLOCK + 77] ^ 1]))
    overwrite(wal / first, SEGMENT - 1, bytes([whole[-1] ^ 1]))
    overwrite(partial, 1500, bytes([part[1500] ^ 1]))
    os.truncate(partial, 4500)
    [found] = log("verify", directory, code=1)
    places = [(flaw["file"], flaw["offset"]) for flaw in found["corruptions"]]
    assert places == [(str(wal / first), 3 * BLOCK), (str(wal / first), SEGMENT - BLOCK), (str(partial), 1000)]
    assert found["torn"] == {"file": str(partial), "offset": 4000, "what": "the WAL is cut short"}
    overwrite(wal / first, 3 * BLOCK + 77, whole[3 * BLOCK + 77 :][:1])
    overwrite(wal / first, SEGMENT - 1, whole[-1:])
    overwrite(partial, 1500, part[1500:1501])
    said = pgcascade("log", "verify", wal).expect(0).stdout
    assert "WAL wal: whole, 2 segments, 16 MB read\n  the end is not whole, 500 B (" in said
    partial.write_bytes(part)
    assert contents(wal) == before
