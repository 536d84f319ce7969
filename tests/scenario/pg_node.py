"""Real PostgreSQL servers for the scenarios, after the example of PostgreSQL's own Cluster.pm.

PgNode is one server: a data directory, a free port on 127.0.0.1, a socket directory of its own. PgNodes makes them,
and stops and removes whatever it made. Servers run as account `postgres` when the tests run as root.
"""

import itertools
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import psycopg2
import psycopg2.extensions

from server_programs import bin_directory, client_program, give_to_server_account, run_as_server_account
from waiting import DEFAULT_TIMEOUT_S, wait_for

PASSWORD = "p g'secret"  # with what a connection string must quote
SUPERUSER = "postgres"

# Small and quick. fsync is off where a test does not ask for durable=True: nothing here survives the machine.
BASE_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_wal_size": "256MB",
    "wal_retrieve_retry_interval": "100ms",
    "log_replication_commands": "on",
    "log_line_prefix": "%m [%p] %q%a ",
    "restart_after_crash": "off",
}

DEFAULT_HBA = [
    "local all all trust",
    "host all all 127.0.0.1/32 scram-sha-256",
    "local replication all trust",
    "host replication all 127.0.0.1/32 scram-sha-256",
]


# Below the range from which the kernel takes ports for outgoing connections, and below that of `pgcascade demo`, which may run
# beside a test and would take a port between its choice and its server's start. A part for each process that runs tests.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = range(10000 + 250 * (WORKER % 8), 10000 + 250 * (WORKER % 8 + 1))
ports_in_turn = itertools.cycle(random.sample(PORTS, len(PORTS)))


def free_port():
    """A port that nobody listens on; not one of the last 200 given out, whose servers may not have started yet."""
    for port in itertools.islice(ports_in_turn, 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port found on 127.0.0.1")


def quoted(value):
    """A value as libpq's connection strings and postgresql.conf want it (both take backslash escapes)."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_alive(pid):
    """True while the process runs; a zombie that nobody has reaped is dead."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class PgNode:
    """One server. Made by PgNodes; not running until start()."""

    def __init__(self, name, version, directory):
        self.name = name
        self.version = version
        self.directory = directory
        self.data_directory = directory / "data"
        self.socket_directory = directory / "s"
        self.log_file = directory / "server.log"
        self.host = "127.0.0.1"
        self.port = free_port()
        self._process = None

    def __repr__(self):
        return f"PgNode({self.name}, PostgreSQL {self.version}, port {self.port})"

    # -- settings ----------------------------------------------------------------------------------------------

    def append_conf(self, settings):
        """Appends to postgresql.conf, where the last line of a name counts; takes effect by reload() or restart()."""
        with open(self.data_directory / "postgresql.conf", "a", encoding="utf-8") as conf:
            for name, value in settings.items():
                conf.write(f"{name} = {quoted(value)}\n")

    def configure(self, settings):
        """Settings that need no restart, now."""
        self.append_conf(settings)
        self.reload()

    def set_hba(self, lines):
        """Replaces pg_hba.conf; takes effect by reload() or start()."""
        (self.data_directory / "pg_hba.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def allow_output_plugin(self, name):
        """Minor releases of late 2026 load only the output plugins that a setting lists; older ones don't know it."""
        if self.value("SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'") == 0:
            return
        self.append_conf({"output_plugin_libraries": f"pgoutput, test_decoding, {name}"})
        self.reload()

    def reload(self):
        """Returns once the postmaster has the new files: what it starts from now on goes by them."""
        before = self.log_size()
        os.kill(self.pid(), signal.SIGHUP)
        self.wait_for_log("received SIGHUP, reloading configuration files", since=before)

    # -- running -----------------------------------------------------------------------------------------------

    def pid(self):
        """The postmaster's, from postmaster.pid, whoever started it; None when it does not run."""
        try:
            first_line = (self.data_directory / "postmaster.pid").read_text().partition("\n")[0]
        except FileNotFoundError:
            return None
        pid = int(first_line) if first_line.isdigit() else None
        return pid if pid is not None and self._is_ours(pid) else None

    def _is_ours(self, pid):
        """A stale postmaster.pid can name a process of somebody else by now; a postmaster works in its directory."""
        try:
            return is_alive(pid) and os.readlink(f"/proc/{pid}/cwd") == str(self.data_directory)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False

    def is_running(self):
        return self.pid() is not None

    def start(self, timeout=60.0):
        """Returns once the server takes connections, or, a standby with hot_standby=off, replays."""
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                [bin_directory(self.version) / "postgres", "-D", self.data_directory],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._server_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the tests, which then stop the server
                **run_as_server_account(),
            )
        # Reaps it the moment it ends, so that nobody takes a zombie for a living server.
        threading.Thread(target=self._process.wait, daemon=True).start()
        wait_for(self._has_started, timeout, lambda: f"{self} to start; its log ends:\n{self.log_tail()}")
        return self

    def _server_environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
        return {**kept, "LANG": "C.UTF-8", "TZ": "UTC"}

    def _has_started(self):
        if self._process.poll() is not None:
            raise AssertionError(f"{self} did not start; its log ends:\n{self.log_tail()}")
        # The eighth line is the status that pg_ctl waits for (miscadmin.h, LOCK_FILE_LINE_PM_STATUS).
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        ours = len(lines) >= 8 and lines[0] == str(self._process.pid)
        return ours and lines[7].strip() in ("ready", "standby")

    def stop(self, mode="fast", timeout=60.0):
        """Nothing where it does not run."""
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        self._signal_and_wait(signals[mode], timeout)

    def kill9(self):
        """As a crash: the postmaster gets no chance; its children notice and end."""
        self._signal_and_wait(signal.SIGKILL, DEFAULT_TIMEOUT_S)

    def _signal_and_wait(self, number, timeout):
        pid = self.pid()
        if pid is None:
            return
        children = self._children(pid)
        os.kill(pid, number)
        gone = lambda: not any(is_alive(process) for process in [pid, *children])
        wait_for(gone, timeout, lambda: f"{self} to stop after {signal.Signals(number).name}:\n{self.log_tail()}")

    @staticmethod
    def _children(pid):
        try:
            return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def restart(self):
        self.stop()
        return self.start()

    def promote(self):
        self.execute("SELECT pg_promote()")
        self.wait_until("SELECT NOT pg_is_in_recovery()")

    # -- connecting --------------------------------------------------------------------------------------------

    def conninfo(self, dbname="postgres", user=SUPERUSER, password=PASSWORD, **more):
        """libpq's keyword=value string. A keyword that is None is left out."""
        pairs = {"host": self.host, "port": self.port, "dbname": dbname, "user": user, "password": password, **more}
        return " ".join(f"{key}={quoted(value)}" for key, value in pairs.items() if value is not None)

    def connect(self, dbname="postgres", user=SUPERUSER, password=PASSWORD, **more):
        """A psycopg2 connection in autocommit mode. `connection_factory` gives a replication connection."""
        factory = more.pop("connection_factory", None)
        connection = psycopg2.connect(self.conninfo(dbname, user, password, **more), connection_factory=factory)
        if factory is None:
            connection.autocommit = True
        return connection

    def sql(self, query, *parameters, dbname="postgres", user=SUPERUSER, password=PASSWORD):
        """The rows as tuples; an empty list for a statement that gives none."""
        connection = self.connect(dbname, user, password)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def execute(self, query, *parameters, **where):
        self.sql(query, *parameters, **where)

    def value(self, query, *parameters, **where):
        """The first column of the first row; None where there is no row."""
        rows = self.sql(query, *parameters, **where)
        return rows[0][0] if rows else None

    def psql(self, script, dbname="postgres", user=SUPERUSER):
        """Runs a script with Debian's psql and returns what it prints, unaligned."""
        done = subprocess.run(
            [client_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(dbname, user)],
            input=script,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"psql on {self} failed: {done.stderr}"
        return done.stdout

    def wait_until(self, query, expected=True, timeout=DEFAULT_TIMEOUT_S, dbname="postgres"):
        """Until the query's value is `expected`."""
        seen = []

        def as_expected():
            try:
                seen[:] = [self.value(query, dbname=dbname)]
            except psycopg2.OperationalError as problem:  # starting up, restarting
                seen[:] = [problem]
                return False
            return seen[0] == expected

        wait_for(as_expected, timeout, lambda: f"{query} = {expected!r} on {self}; it is {seen[0]!r}")

    # -- replication -------------------------------------------------------------------------------------------

    def create_physical_slot(self, slot):
        self.execute("SELECT pg_create_physical_replication_slot(%s, true)", slot)

    def current_lsn(self):
        """Where its WAL ends: flushed on a primary, replayed on a standby. As text."""
        return self.value(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text"
        )

    def wait_for_catchup(self, standby, timeout=DEFAULT_TIMEOUT_S):
        """Until `standby`, at any depth below, has replayed what is in this server's WAL now: everything committed. (What
        a walsender has not sent because it is not flushed, such as hint bits, may stay so for 15 seconds.)"""
        target = self.current_lsn()
        standby.wait_until(f"SELECT pg_last_wal_replay_lsn() >= '{target}'::pg_lsn", timeout=timeout)

    def wait_for_streaming(self, timeout=DEFAULT_TIMEOUT_S):
        """Until this standby receives WAL from its upstream."""
        self.wait_until("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", 1, timeout)

    def copy_data_to(self, target):
        """A backup by hand of the running server (pg_backup_start, copy, pg_backup_stop): no program of ours and no
        pg_basebackup, which is no newer than Debian's, has a part in it. Slots and WAL are not copied."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backup_start('scenario', fast => true)")
                copy_tree(self.data_directory, target)
                cursor.execute("SELECT labelfile, spcmapfile FROM pg_backup_stop(wait_for_archive => false)")
                label, tablespace_map = cursor.fetchone()
        finally:
            connection.close()
        write_owned(target / "backup_label", label)
        if tablespace_map:
            write_owned(target / "tablespace_map", tablespace_map)

    # -- its messages ------------------------------------------------------------------------------------------

    def log_text(self):
        try:
            return self.log_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=40):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def log_size(self):
        """To look, later, only at what came after now: wait_for_log(…, since=node.log_size())."""
        return len(self.log_text())

    def wait_for_log(self, pattern, since=0, timeout=DEFAULT_TIMEOUT_S):
        return wait_for(
            lambda: re.search(pattern, self.log_text()[since:]),
            timeout,
            lambda: f"/{pattern}/ in the log of {self}, which ends:\n{self.log_tail()}",
        )


NOT_COPIED = {"postmaster.pid", "postmaster.opts", "pg_control"}
COPIED_EMPTY = {"pg_wal", "pg_replslot", "pg_stat_tmp", "pg_notify", "pg_serial", "pg_snapshots", "pg_subtrans", "pg_dynshmem"}


def write_owned(path, content):
    path.write_text(content, encoding="utf-8")
    give_to_server_account(path)


def copy_tree(source, target):
    """A data directory of a running server; files may vanish meanwhile. pg_control comes last: on a standby it tells
    how far the copy must be replayed before it is consistent."""

    def copy_file(from_path, to_path):
        try:
            shutil.copyfile(from_path, to_path)
        except FileNotFoundError:
            return
        os.chmod(to_path, 0o600)
        give_to_server_account(to_path)

    for folder, subfolders, files in os.walk(source):
        relative = pathlib.Path(folder).relative_to(source)
        destination = target / relative
        destination.mkdir(mode=0o700, exist_ok=True)
        give_to_server_account(destination)
        if relative.parts and relative.parts[0] in COPIED_EMPTY and relative != pathlib.Path("pg_wal"):
            subfolders.clear()
            continue
        if relative == pathlib.Path("pg_wal"):
            subfolders[:] = [name for name in subfolders if name in ("archive_status", "summaries")]
            continue
        if relative.parts[:1] == ("pg_wal",):
            continue
        for name in files:
            if name not in NOT_COPIED and not name.startswith("pgsql_tmp"):
                copy_file(pathlib.Path(folder) / name, destination / name)
        for name in [name for name in subfolders if (pathlib.Path(folder) / name).is_symlink()]:
            os.symlink(os.readlink(pathlib.Path(folder) / name), destination / name)  # a tablespace
    copy_file(source / "global/pg_control", target / "global/pg_control")


class PgNodes:
    """Makes servers below one temporary directory, and stops and removes them at the end. A context manager, so a
    module can have a fixture of its own with a wider scope than a test."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pgc-", dir="/tmp"))
        self.directory.chmod(0o755)  # the server account has to get through
        self.nodes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for node in reversed(self.nodes):  # standbys first
            node.stop("immediate")
        shutil.rmtree(self.directory)

    def reserve(self, name, version):
        """A node without a data directory: what pgcascade itself is to make. It is stopped at the end like the others."""
        directory = self.directory / name
        directory.mkdir()
        node = PgNode(name, int(version), directory)
        node.socket_directory.mkdir()
        for path in (directory, node.socket_directory):
            give_to_server_account(path)
        self.nodes.append(node)
        return node

    def primary(
        self, name="primary", *, version, settings=None, durable=False, initdb_arguments=(), stranger=False, start=True
    ):
        """A fresh cluster with superuser `postgres` (PASSWORD over TCP, trusted on the socket). All share one system
        identifier, that of the template, but a `stranger`."""
        node = self.reserve(name, version)
        template = initdb_template(node.version, tuple(initdb_arguments), stranger)
        subprocess.run(["cp", "-a", "--reflink=auto", template, node.data_directory], check=True)
        node.set_hba(DEFAULT_HBA)
        node.append_conf({**BASE_SETTINGS, **self._own_settings(node, durable), **(settings or {})})
        return node.start() if start else node

    def standby(self, name, upstream, *, slot=True, settings=None, start=True, conninfo=None):
        """A physical standby of `upstream` (a primary or a standby), made by hand. `slot`: True for one named after
        the node, a name, or None for none. Returns once it streams."""
        node = self.reserve(name, upstream.version)
        slot_name = re.sub(r"\W", "_", name) if slot is True else slot
        if slot_name is not None:
            upstream.create_physical_slot(slot_name)
        upstream.copy_data_to(node.data_directory)
        self.make_standby(node, upstream, slot_name, settings=settings, conninfo=conninfo)
        if start:
            node.start()
            node.wait_for_streaming()
        return node

    def make_standby(self, node, upstream, slot_name, *, settings=None, conninfo=None):
        """Configures a node that has a copy of the upstream's data as its standby."""
        write_owned(node.data_directory / "standby.signal", "")
        node.append_conf(
            {
                **self._own_settings(node, durable=None),
                "primary_conninfo": conninfo or upstream.conninfo(dbname=None, application_name=node.name),
                "primary_slot_name": slot_name or "",
                **(settings or {}),
            }
        )

    @staticmethod
    def _own_settings(node, durable):
        own = {"port": node.port, "unix_socket_directories": node.socket_directory, "cluster_name": node.name}
        return own if durable is None else {**own, "fsync": "on" if durable else "off"}

    def logs(self):
        return [(str(node), node.log_tail()) for node in self.nodes]


_templates = {}
_templates_directory = None


def initdb_template(version, arguments, stranger=False):
    """A data directory as initdb left it, made once for each way to call it; copying it is ten times as fast."""
    global _templates_directory
    if _templates_directory is None:
        _templates_directory = pathlib.Path(tempfile.mkdtemp(prefix="pgc-initdb-", dir="/tmp"))
        give_to_server_account(_templates_directory)
    key = (version, arguments, stranger)
    if key not in _templates:
        target = _templates_directory / f"{version}-{len(_templates)}"
        password_file = _templates_directory / "password"
        write_owned(password_file, PASSWORD + "\n")
        done = subprocess.run(
            [bin_directory(version) / "initdb", "-D", target, "-U", SUPERUSER, "--no-sync", "-E", "UTF8"]
            + ["--locale=C.UTF-8", "-A", "scram-sha-256", f"--pwfile={password_file}", *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            **run_as_server_account(),
        )
        assert done.returncode == 0, f"initdb of PostgreSQL {version} failed: {done.stdout}{done.stderr}"
        _templates[key] = target
    return _templates[key]


def remove_templates():
    if _templates_directory is not None:
        shutil.rmtree(_templates_directory, ignore_errors=True)
