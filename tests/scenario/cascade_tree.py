"""A tree that pgcascade itself makes: its cascade file, and the program run on it."""

import fcntl
import os
import pathlib
import re
import signal
import struct

import psycopg2
import psycopg2.errors

import program_run
from pg_node import free_port
from server_programs import bin_directory, give_to_server_account
from waiting import wait_for

# Small and quick; nothing here survives the machine.
SETTINGS = {
    "shared_buffers": "16MB",
    "fsync": "off",
    "max_wal_size": "256MB",
    "wal_retrieve_retry_interval": "100ms",
    "log_line_prefix": "%m [%p] %q%a ",
    "restart_after_crash": "off",
    "log_replication_commands": "on",
}


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'


class TreeRelay:
    """A relay that apply is to make."""

    def __init__(self, directory, upstream, feeds, keys):
        self.directory = directory
        self.data_directory = directory / "data"
        self.log_file = directory / "data.log"
        self.upstream = upstream
        self.feeds = dict(feeds)
        self.keys = dict(keys)
        self.settings = {}
        self.host = "127.0.0.1"
        self.port = free_port()
        directory.mkdir()
        give_to_server_account(directory)

    def lines(self, name):
        keys = {
            "kind": "relay",
            "upstream": self.upstream,
            "port": self.port,
            "data_directory": self.data_directory,
            **self.keys,
        }
        yield from [f'[node."{name}"]', *(f"{key} = {toml(value)}" for key, value in keys.items())]
        for feed, (database, publications) in self.feeds.items():
            yield from ["", f'[node."{name}".feed.{feed}]', f"database = {toml(database)}"]
            yield f"publications = [{', '.join(map(toml, publications))}]"
        if self.settings:
            yield from ["", f'[node."{name}".settings]']
            yield from (f"{key} = {toml(value)}" for key, value in self.settings.items())

    def pid(self):
        """Of the relay that works there, as the kernel tells; None when none does."""
        try:
            lock = os.open(self.data_directory / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_GETLK, asked))
            return None if kind == fcntl.F_UNLCK else pid
        finally:
            os.close(lock)

    def kill9(self):
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.pid() is None, describe=f"the end of process {pid}")

    def connect(self, dbname="postgres", **more):
        return psycopg2.connect(host=self.host, port=self.port, dbname=dbname, **more)


class CascadeTree:
    """`upstreams` maps each node to its upstream, None for the primary. Nothing exists until apply()."""

    def __init__(self, nodes, version, directory: pathlib.Path, upstreams):
        self.version = version
        self.directory = directory
        self.file = directory / "cascade.toml"
        self.passfile = directory / "passwords"
        self.upstreams = dict(upstreams)
        self.cascade = {"name": "shop", "passfile": "passwords"}
        self.settings = dict(SETTINGS)
        self.keys = {name: {} for name in upstreams}  # more of [node.NAME]
        self.own_settings = {name: {} for name in upstreams}  # [node.NAME.settings]
        self.relays = {}
        self.made_by = nodes
        self.nodes = {name: self.reserve(name) for name in upstreams}
        self.primary = self.nodes[next(name for name, upstream in upstreams.items() if upstream is None)]
        self.keys[self.primary.name]["create"] = True
        self.write()

    def reserve(self, name):
        node = self.made_by.reserve(name, self.version)
        node.log_file = node.data_directory.with_name("data.log")  # where pgcascade sends it
        return node

    def add(self, name, upstream):
        self.upstreams[name] = upstream
        self.keys[name], self.own_settings[name] = {}, {}
        self.nodes[name] = self.reserve(name)
        self.write()

    def add_relay(self, name, upstream, feeds, **keys):
        """feeds: {name: (database, [publications])}; keys: more of [node.NAME]."""
        self.relays[name] = TreeRelay(self.made_by.directory / name, upstream, feeds, keys)
        self.write()
        return self.relays[name]

    def write(self):
        """The file, from what the attributes say now."""
        lines = ["[cascade]", *(f"{key} = {toml(value)}" for key, value in self.cascade.items()), "", "[settings]"]
        lines += [f"{key} = {toml(value)}" for key, value in self.settings.items()]
        for name, upstream in self.upstreams.items():
            node = self.nodes[name]
            keys = {"port": node.port, "data_directory": node.data_directory, **self.keys[name]}
            if upstream is not None:
                keys["upstream"] = upstream
            lines += ["", f'[node."{name}"]', *(f"{key} = {toml(value)}" for key, value in keys.items())]
            if self.own_settings[name]:
                lines += ["", f'[node."{name}".settings]']
                lines += [f"{key} = {toml(value)}" for key, value in self.own_settings[name].items()]
        for name, relay in self.relays.items():
            lines += ["", *relay.lines(name)]
        self.file.write_text("\n".join(lines) + "\n")

    # -- the program -------------------------------------------------------------------------------------------

    @property
    def env(self):
        return {"PGCASCADE_BINDIR": str(bin_directory(self.version))}

    def run(self, *arguments, **options):
        return program_run.run(*arguments, env=self.env, timeout=options.pop("timeout", 180.0), **options)

    def plan(self, *arguments, code=None):
        """The steps as lines without their numbers. `code`: what it must exit with; by default 3 or 0."""
        done = self.run("plan", self.file, *arguments)
        steps = [re.sub(r"^ *\d+\. ", "", line) for line in done.stdout.splitlines() if re.match(r"^ *\d+\. ", line)]
        done.expect((3 if steps else 0) if code is None else code)
        return steps

    def apply(self, *arguments, code=0):
        return self.run("apply", self.file, *arguments).expect(code)

    def close_relays(self):
        for relay in self.relays.values():
            if relay.pid() is not None:
                relay.kill9()

    # -- the servers -------------------------------------------------------------------------------------------

    def password(self, user="postgres"):
        return next(
            line.split(":")[4] for line in self.passfile.read_text().splitlines() if line.split(":")[3] == user
        )

    def sql(self, name, query, *parameters, **where):
        return self.nodes[name].sql(query, *parameters, password=self.password(), **where)

    def value(self, name, query, *parameters):
        rows = self.sql(name, query, *parameters)
        return rows[0][0] if rows else None

    def wait_until(self, name, query, expected=True, timeout=30.0):
        def as_expected():
            try:
                return self.value(name, query) == expected
            except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable):  # not up, or not replayed yet
                return False

        wait_for(as_expected, timeout, lambda: f"{query} = {expected!r} on {name}: {self.value(name, query)!r}")

    def standbys(self):
        return [name for name, upstream in self.upstreams.items() if upstream is not None]

    def slot(self, name):
        return self.keys[name].get("slot", re.sub(r"[-.]", "_", name.lower()))

    def started_at(self):
        return self.started_at_of(self.nodes)

    def started_at_of(self, names):
        return {name: self.value(name, "SELECT pg_postmaster_start_time()") for name in names}

    def expect_whole(self):
        """By psycopg2 alone: every standby is fed by its upstream through its slot, and holds what the primary has."""
        identifier = self.value(self.primary.name, "SELECT system_identifier FROM pg_control_system()")
        for name in self.standbys():
            upstream, slot = self.upstreams[name], self.slot(name)
            assert self.value(name, "SELECT system_identifier FROM pg_control_system()") == identifier
            assert self.value(name, "SELECT pg_is_in_recovery()") is True
            self.wait_until(name, "SELECT slot_name FROM pg_stat_wal_receiver WHERE status = 'streaming'", slot)
            fed = lambda: self.sql(
                upstream,
                "SELECT r.application_name, r.state FROM pg_stat_replication r"
                " JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = %s AND s.slot_type = 'physical'",
                slot,
            )
            wait_for(lambda: fed() == [(name, "streaming")], describe=lambda: f"{upstream} to feed {name}: {fed()}")
        assert self.value(self.primary.name, "SELECT pg_is_in_recovery()") is False
        self.expect_same_rows()

    def expect_same_rows(self):
        primary = self.primary.name
        self.sql(primary, "CREATE TABLE IF NOT EXISTS rows_seen (n bigint)")
        self.sql(primary, "INSERT INTO rows_seen SELECT g FROM generate_series(1, 100) g")
        wanted = self.value(primary, "SELECT count(*) FROM rows_seen")
        for name in self.standbys():
            self.wait_until(name, "SELECT count(*) FROM rows_seen", wanted)

    def files(self):
        """What lies below the tree's directories: a plan must not change it."""
        seen = {}
        for root in [self.directory, *(node.directory for node in self.nodes.values())]:
            for folder, _, names in os.walk(root):
                for name in names:
                    path = pathlib.Path(folder) / name
                    seen[str(path)] = path.stat().st_mtime_ns if not path.is_symlink() else os.readlink(path)
        return seen
