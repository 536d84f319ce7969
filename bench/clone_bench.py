"""Cloning over BASE_BACKUP: one standby and three siblings, against pg_basebackup."""

import shutil

import measure
from program_run import binary
from server_programs import client_program, give_to_server_account
from table import Row

DATA_BYTES = 2_000_000_000
ROW_BYTES = 1_060  # of a row of `filler` on disk


def fresh_directories(nodes, count):
    """Empty ones, in a directory of their own: a clone leaves nothing that the next one could find in its way."""
    parent = nodes.directory / "clones"
    shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir()
    give_to_server_account(parent)
    return [parent / str(number) for number in range(count)]


def clone(nodes, node, count):
    directories = fresh_directories(nodes, count)
    return measure.run([binary(), "clone", node.conninfo(dbname=None), *directories])


def basebackup(nodes, node):
    [directory] = fresh_directories(nodes, 1)
    command = [client_program("pg_basebackup"), "-d", node.conninfo(dbname=None), "-D", directory]
    return measure.run([*command, "--checkpoint=fast", "--wal-method=none", "--manifest-checksums=CRC32C"])


def siblings(nodes, scale, repeat):
    node = nodes.primary("source", version=15, settings={"shared_buffers": "1GB", "max_wal_size": "16GB"})
    rows = int(DATA_BYTES * scale / ROW_BYTES)
    node.psql(
        "create table filler(id bigint, data text);"
        f"insert into filler select g, repeat(md5(g::text), 32) from generate_series(1, {rows}) g; checkpoint;"
    )
    size = int(node.value("select sum(pg_database_size(oid)) from pg_database"))
    theirs, one, three = measure.in_turn(
        repeat, lambda: basebackup(nodes, node), lambda: clone(nodes, node, 1), lambda: clone(nodes, node, 3)
    )
    shutil.rmtree(nodes.directory / "clones")
    node.stop()
    yield Row(
        f"clone of {size / 1e9:.2f} GB, verified and fsynced, against pg_basebackup, 15",
        f"{measure.median_wall(theirs):.2f} s", f"{measure.median_wall(one):.2f} s",
        measure.median_ratio(theirs, one), "",
    )
    yield Row(
        "three siblings from one backup stream, against cloning one",
        f"{measure.median_wall(one):.2f} s (one)", f"{measure.median_wall(three):.2f} s",
        1 / measure.median_ratio(three, one), "cost below 1.4",
    )


BENCHES = (siblings,)
