"""Where the PostgreSQL server programs of a major version are, and the account that they run as."""

import os
import pathlib
import pwd

SERVER_ACCOUNT = "postgres"  # PostgreSQL refuses to run as root


def bin_directory(version):
    """The directory with initdb and postgres of that major version; a missing one is an error, never a skip."""
    data_home = os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local" / "share"
    places = [
        pathlib.Path(f"/usr/lib/postgresql/{version}/bin"),
        pathlib.Path(f"/opt/pgcascade/postgres/{version}/bin"),
        pathlib.Path(data_home) / f"pgcascade/postgres/{version}/bin",
    ]
    for place in places:
        if (place / "postgres").is_file() and (place / "initdb").is_file():
            return place
    searched = ", ".join(str(place) for place in places)
    raise FileNotFoundError(f"no PostgreSQL {version} server here (searched {searched}); scripts/setup matrix installs it")


def client_program(name):
    """A client program (psql, pg_recvlogical, …): Debian's, which talks to every server version under test."""
    for place in (bin_directory(15), pathlib.Path("/usr/bin")):
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"no {name} here; scripts/setup test installs it")


def server_account():
    """The account for server processes and their files; None: whoever runs the tests."""
    return pwd.getpwnam(SERVER_ACCOUNT) if os.geteuid() == 0 else None


def run_as_server_account():
    """Keyword arguments for subprocess that make the child run as the server account."""
    account = server_account()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def give_to_server_account(path):
    account = server_account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)
