"""pgcascade relay: what a feed's log keeps, what it gives up, and what becomes of it on a full disk."""

import subprocess

import pytest

from pgoutput_reader import PgoutputReader, by_pg_recvlogical
from relay_clients import (
    DeafNetwork,
    Network,
    RecvLogical,
    create_slot,
    shown,
    slots,
    wait_for_all_received,
)
from relay_wal import lsn, standby_behind, wait_for_wal, wal_of
from test_relay import read_changes, relay  # noqa: F401 (a fixture)
from test_relay_faults import follow, follower, source, wait_for_the_same_log, write  # noqa: F401 (fixtures)
from test_relay_shutdown import paused
from test_relay_status import start_client
from test_relay_wal import TABLE, fill, same_table, wait_for_items
from waiting import wait_for

MEGABYTE = 1 << 20


def log_bytes(relay):
    return sum(file.stat().st_size for file in relay.directory.glob("data/feeds/log/*.frames"))


def write_megabytes(node, count):
    for _ in range(count):
        write(node, 10, "x" * 100_000)


def worker_of(follower):
    return follower.value("SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL AND relid IS NULL")


def slot_rows(relay):
    """{name: (position, why it is invalidated)}"""
    return {row[0]: (row[8], row[14]) for row in shown(relay, "pgcascade.slots")}


def feed_row(relay):
    """(received, durable) of its only feed."""
    return shown(relay, "pgcascade.feeds")[0][5:7]


# -- max_bytes --------------------------------------------------------------------------------------------------


def test_segments_of_a_feed_are_removed_as_its_subscriber_confirms(source, follower, relay):
    relay.write_file({"log": (source, ["log"])}, max_bytes='"8 MB"')
    relay.start()
    follow(follower, relay)
    for _ in range(3):
        write_megabytes(source, 5)
        wait_for_the_same_log(follower, source)
        wait_for(lambda: log_bytes(relay) <= 2 * MEGABYTE, describe=lambda: log_bytes(relay))
    assert "invalidated" not in relay.program.stderr()
    relay.kill9()
    relay.start()
    write(source, 1)
    wait_for_the_same_log(follower, source)


def test_only_the_slot_that_lags_most_is_given_up_at_the_limit(source, follower, relay, directory):
    relay.write_file({"log": (source, ["log"])}, max_bytes='"8 MB"')
    relay.start()
    for name in ("laggard", "reader"):
        create_slot(relay, name)
    follow(follower, relay)
    write_megabytes(source, 5)
    wait_for_the_same_log(follower, source)
    assert len(by_pg_recvlogical(relay, "reader", "log", source.current_lsn(), directory)) == 50
    write_megabytes(source, 5)
    relay.program.wait_for_stderr('slot "laggard", which stood at .* is invalidated')
    write_megabytes(source, 1)
    wait_for_the_same_log(follower, source)
    assert {name: why for name, (_, why) in slot_rows(relay).items() if why} == {"laggard": "wal_removed"}
    assert len(by_pg_recvlogical(relay, "reader", "log", source.current_lsn(), relay.directory)) == 60
    wait_for(lambda: log_bytes(relay) <= 2 * MEGABYTE, describe=lambda: log_bytes(relay))


def test_relay_that_pauses_at_the_limit_goes_on_by_itself(source, follower, relay, directory):
    relay.write_file({"log": (source, ["log"])}, max_bytes='"8 MB"', when_full='"pause"')
    relay.start()
    create_slot(relay, "laggard")
    follow(follower, relay)
    write_megabytes(source, 12)
    relay.program.wait_for_stderr('nothing is received until slot "laggard"')
    write(source, 300, "x" * 100_000)  # more than may be kept, in one transaction
    write_megabytes(source, 1)
    assert lsn(feed_row(relay)[0]) < lsn(source.current_lsn())
    with RecvLogical(relay, "laggard", "log", directory, more=["--endpos", source.current_lsn()]) as laggard:
        laggard.wait()
        assert len(laggard.changes()) == 120 + 300 + 10
    assert "there is room in the log again" in relay.program.stderr()
    wait_for_the_same_log(follower, source)
    assert "invalidated" not in relay.program.stderr()


# -- A full disk ------------------------------------------------------------------------------------------------


def test_clients_go_on_confirming_while_the_disk_is_full_and_nothing_is_lost(source, follower, relay, small_disk, directory):
    disk = small_disk("64m", "0700")
    relay.write_file({"log": (source, ["log"])}, directory=f'"{disk.path}"')
    relay.start()
    follow(follower, relay)
    create_slot(relay, "tool")
    write(source, 1)
    wait_for_the_same_log(follower, source)
    with RecvLogical(relay, "tool", "log", directory) as tool:
        wait_for(lambda: slots(relay) == {"sub": True, "tool": True})
        with paused(worker_of(follower)), paused(tool.process.pid):
            write_megabytes(source, 4)
            wait_for_all_received(relay, source)
            backlog = source.current_lsn()
            disk.fill()
            write_megabytes(source, 4)
            relay.program.wait_for_stderr("receiving goes on once there is room")
        confirmed = lambda: all(lsn(position) >= lsn(backlog) for position, _ in slot_rows(relay).values())
        wait_for(confirmed, describe=lambda: f"{slot_rows(relay)} to reach {backlog}")
        assert "No space left" in shown(relay, "pgcascade.feeds")[0][8]
        # The positions are on the disk, too.
        saved = lambda: all(lsn(position) >= lsn(backlog) for position in saved_positions(disk.path))
        wait_for(saved, describe=lambda: saved_positions(disk.path))
        assert relay.program.process.poll() is None
        disk.make_room()
        relay.program.wait_for_stderr("there is room on the disk again")
        wait_for_the_same_log(follower, source)
        wait_for(lambda: len(tool.changes()) == 81)
    assert relay.program.process.poll() is None
    assert shown(relay, "pgcascade.feeds")[0][8] is None


def test_standby_goes_on_confirming_while_the_disk_is_full_and_nothing_is_lost(nodes, primary, relay, small_disk):
    primary.execute(TABLE)
    disk = small_disk("96m", "0700")
    relay.write_file(wal=primary, directory=f'"{disk.path}"')
    relay.start()
    standby = standby_behind(nodes, relay, primary, "eu")
    with paused(standby.value("SELECT pid FROM pg_stat_wal_receiver")):
        fill(primary, 1, 20_000)
        backlog = wait_for_wal(relay, primary)
        disk.fill()
        fill(primary, 20_001, 150_000)
        relay.program.wait_for_stderr("receiving goes on once there is room")
    saved = lambda: all(lsn(position) >= lsn(backlog) for position in saved_positions(disk.path))
    wait_for(saved, describe=lambda: f"{saved_positions(disk.path)} to reach {backlog}")
    assert "No space left" in wal_of(relay)["problem"]
    assert relay.program.process.poll() is None
    disk.make_room()
    wait_for_items(standby, 150_000)
    assert same_table(standby, primary)
    assert wal_of(relay)["problem"] is None and relay.program.process.poll() is None


def saved_positions(directory):
    """What the slots' file says (src/relay/slot_file.cpp)."""
    lines = (directory / "slots").read_text().splitlines()
    return [line.split(" ")[5] for line in lines[1:-1]]


# -- What is confirmed upstream, and when -----------------------------------------------------------------------


HELD_BACK = r"""
#include <dlfcn.h>
#include <unistd.h>
#include <cstdlib>

static int held(const char* name, int file) {
    while (access(getenv("HOLD_FSYNC"), F_OK) == 0) usleep(10'000);
    return reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, name))(file);
}
extern "C" int fsync(int file) { return held("fsync", file); }
extern "C" int fdatasync(int file) { return held("fdatasync", file); }
"""


@pytest.fixture
def slow_disk(directory):
    """A file that, while it is there, keeps every fsync of a program from ending that has the environment which comes with it."""
    (directory / "held_back.cpp").write_text(HELD_BACK)
    library = directory / "held_back.so"
    subprocess.run(["g++", "-shared", "-fPIC", "-o", library, directory / "held_back.cpp", "-ldl"], check=True)
    hold = directory / "hold"
    yield hold, {"LD_PRELOAD": str(library), "HOLD_FSYNC": str(hold)}
    hold.unlink(missing_ok=True)


def test_client_has_a_change_before_the_disk_and_the_upstream_is_told_only_after(source, relay, slow_disk):
    hold, environment = slow_disk
    source.configure({"wal_sender_timeout": "2s"})  # half of which it waits before it asks how far the relay is
    relay.write_file({"log": (source, ["log"])})
    relay.start(env=environment)
    create_slot(relay)
    cursor = start_client(relay, publications="log")
    reader = PgoutputReader()
    write(source, 1)
    [[_, end]] = read_changes(cursor, 1, reader)
    confirmed = lambda: lsn(source.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots"))
    wait_for(lambda: confirmed() >= end)
    hold.touch()
    write(source, 1)
    [[_, end]] = read_changes(cursor, 1, reader)
    cursor.send_feedback(flush_lsn=end, force=True, reply=True)
    wait_for(lambda: lsn(slot_rows(relay)["s"][0]) >= end)
    assert lsn(feed_row(relay)[1]) < end <= lsn(feed_row(relay)[0])
    # The relay has told how far it is.
    source.wait_until(f"SELECT max(write_lsn) >= '0/0'::pg_lsn + {end} FROM pg_stat_replication", True)
    assert confirmed() < end
    hold.unlink()
    wait_for(lambda: confirmed() >= end)
    assert lsn(feed_row(relay)[1]) >= end
    cursor.connection.close()


@pytest.mark.parametrize("network_class", [Network, DeafNetwork])
def test_transaction_before_one_that_is_cut_comes_once(source, follower, relay, network_class):
    with network_class(source) as network:
        relay.write_file({"log": (network, ["log"])})
        relay.start()
        follow(follower, relay)
        follower.wait_until("SELECT srsubstate FROM pg_subscription_rel", "r")
        if network_class is DeafNetwork:
            network.deafen()
        with paused(relay.program.process.pid):  # the end of the first and the begin of the second come with one read
            network.hold_after(100_000)
            write(source, 1, "first")
            first = source.current_lsn()
            write(source, 200_000, "second")
            assert network.held.wait(60)
        wait_for(lambda: lsn(feed_row(relay)[1]) >= lsn(first))
        if network_class is Network:
            source.wait_until(f"SELECT confirmed_flush_lsn >= '{first}' FROM pg_replication_slots", True)
        network.cut()
        wait_for_the_same_log(follower, source)
        assert follower.value("SELECT count(*) FROM item_log WHERE what = 'first'") == 1
