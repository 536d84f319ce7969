"""pgcascade clone against a server that sends what no server should: nothing of it may lead out of the target."""

import re
import tarfile

import pytest

from fake_backup_server import Backup, FakeBackupServer, directory, entry, link, manifest, tar

FILES = {"PG_VERSION": b"15\n", "base/5/1": b"rows", "global/pg_control": b"control file"}
SPACE_FILES = {"PG_15/5/2": b"more rows"}


def main_entries(*more, without=None, location=None):
    entries = [directory("base"), directory("base/5"), directory("global"), directory("./pg_wal"), directory("pg_tblspc")]
    entries += [link("pg_tblspc/16384", location)] if location else []
    entries += more
    return entries + [entry(path, content) for path, content in FILES.items() if path != without]


def backup(*more, manifest_bytes=None, without=None, **options):
    return Backup([("", tar(main_entries(*more, without=without)))], manifest_bytes or manifest(FILES), **options)


def backup_with_tablespace(space, *, announced=None, link_target=None, archives=None, in_manifest=True):
    space_tar = tar([directory("PG_15"), directory("PG_15/5"), *[entry(*each) for each in SPACE_FILES.items()]])
    files = {**FILES, **({f"pg_tblspc/16384/{path}": content for path, content in SPACE_FILES.items()} if in_manifest else {})}
    main_tar = tar(main_entries(location=link_target or str(space)))
    return Backup(
        archives if archives is not None else [(str(space), space_tar), ("", main_tar)],
        manifest(files),
        tablespaces=[("16384", announced or str(space))],
    )


def clone(pgcascade, server_backup, directory_name, *more):
    with FakeBackupServer(server_backup) as server:
        return pgcascade("clone", server.conninfo(), directory_name, *more)


HOSTILE = {
    "an absolute name": (backup(entry("/tmp/pgcascade-was-here", b"x")), "only plain relative names"),
    "a name with ..": (backup(entry("base/../../outside", b"x")), "only plain relative names"),
    "a name that is ..": (backup(directory("..")), "only plain relative names"),
    "a link out": (backup(link("base/out", "/tmp")), "which is no tablespace"),
    "a link out among the tablespaces": (backup(link("pg_tblspc/16384", "/tmp")), "which is no tablespace"),
    "a file behind a link": (backup(link("base/out", ".."), entry("base/out/x", b"x")), "which is no tablespace"),
    "a hard link": (backup(entry("hard", type=tarfile.LNKTYPE, linkname="PG_VERSION")), "neither a file nor"),
    "a device": (backup(entry("device", type=tarfile.CHRTYPE)), "neither a file nor"),
    "a pipe": (backup(entry("pipe", type=tarfile.FIFOTYPE)), "neither a file nor"),
    "a file twice": (backup(entry("base/5/1", b"rows")), '"base/5/1" twice|base/5/1: File exists'),
    "a directory twice": (backup(directory("base/5")), '"base/5" twice'),
    "our own marker": (backup(entry("pgcascade.unfinished", b"x")), "pgcascade.unfinished"),
    "a file that is not in the manifest": (backup(entry("extra", b"x")), 'holds "extra", which the server\'s manifest does not'),
    "a manifest file that never came": (backup(without="base/5/1"), 'lacks "base/5/1"'),
    "no control file": (backup(without="global/pg_control", manifest_bytes=manifest({k: v for k, v in FILES.items() if "control" not in k})), "not whole"),
    "another checksum": (backup(manifest_bytes=manifest({**FILES, "base/5/1": b"r0ws"})), '"base/5/1" .* checksum'),
    "another size": (backup(manifest_bytes=manifest({**FILES, "base/5/1": b"row"})), "has 4 bytes, not 3"),
    "a cut manifest": (backup(manifest_bytes=manifest(FILES)[:-20]), "manifest does not end with"),
    "a changed manifest": (backup(manifest_bytes=manifest(FILES).replace(b"base/5/1", b"base/5/9")), "its own checksum"),
    "no manifest": (Backup([("", tar(main_entries()))], None), "manifest"),
    "the main archive twice": (Backup([("", tar(main_entries())), ("", tar([]))], manifest(FILES)), "same archive twice"),
    "an archive cut off": (Backup([("", tar(main_entries())[:2000])], manifest(FILES)), "can't read the main archive"),
    "no archive at all": (Backup([], manifest({})), "not whole"),
    "a connection cut off": (backup(ends_early=True), "connection"),
    "an unknown message": (backup(extra_message=b"xyz"), "unknown message"),
    "an archive that was not announced": (Backup([("/srv/other", tar([])), ("", tar(main_entries()))], manifest(FILES)), "not announced"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_backup_holds_is_refused_and_stays_unstartable(pgcascade, directory, what):
    hostile, message = HOSTILE[what]
    target = directory / "data"
    refused = clone(pgcascade, hostile, target).expect(1)
    assert re.search(message, refused.stderr), refused
    assert sorted(path.name for path in directory.iterdir()) == ["data"], "something was written outside of the target"
    assert (target / "pgcascade.unfinished").exists()
    assert not (target / "global/pg_control").exists()

    clone(pgcascade, backup(), target).expect(0)
    assert (target / "global/pg_control").read_bytes() == b"control file"
    assert not (target / "pgcascade.unfinished").exists()


@pytest.mark.parametrize("part", ["link to another place", "archive of another place", "no archive", "not in the manifest"])
def test_tablespace_must_be_the_announced_one(pgcascade, directory, part):
    space, elsewhere = directory / "space", directory / "elsewhere"
    main = ("", tar(main_entries(location=str(space))))
    hostile = {
        "link to another place": backup_with_tablespace(space, link_target=str(elsewhere)),
        "archive of another place": backup_with_tablespace(space, archives=[(str(elsewhere), tar([])), main]),
        "no archive": backup_with_tablespace(space, archives=[main], in_manifest=False),
        "not in the manifest": backup_with_tablespace(space, in_manifest=False),
    }[part]
    clone(pgcascade, hostile, directory / "data").expect(1)
    assert not elsewhere.exists()
    assert not (directory / "data/global/pg_control").exists()
    clone(pgcascade, backup_with_tablespace(space), directory / "data").expect(0)
    assert (directory / "data/pg_tblspc/16384/PG_15/5/2").read_bytes() == b"more rows"


def test_tablespace_in_place_is_refused_before_anything_is_touched(pgcascade, directory):
    space = directory / "space"
    refused = clone(pgcascade, backup_with_tablespace(space, announced="pg_tblspc/16384"), directory / "data").expect(1)
    assert "in place" in refused.stderr and "hint:" in refused.stderr
    assert not (directory / "data").exists()


def test_server_that_is_too_old_is_refused(pgcascade, directory, monkeypatch):
    monkeypatch.setattr("fake_backup_server.SERVER_VERSION", "14.20")
    refused = clone(pgcascade, backup(), directory / "data").expect(1)
    assert "runs PostgreSQL 14: only 15 and later" in refused.stderr
    assert not (directory / "data").exists()
