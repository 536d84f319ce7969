"""Clients of a relay that tell what they were answered, word for word, and a network in front of it that can be cut."""

import base64
import hashlib
import hmac
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import psycopg2
import psycopg2.extras

from pgoutput_reader import PgoutputReader, plugin_options, read_received
from program_run import environment
from server_messages import cstring, message
from server_programs import client_program
from tcp_listener import shut
from tcp_proxy import TcpProxy
from waiting import DEFAULT_TIMEOUT_S, wait_for


def for_replication(node, dbname="postgres", physical=False, **more):
    """A replication connection to a server or a relay."""
    kind = psycopg2.extras.PhysicalReplicationConnection if physical else psycopg2.extras.LogicalReplicationConnection
    return node.connect(dbname, connection_factory=kind, **more)


def answer(connection, command):
    """The rows, or the tag of a command that gives none, or (SQLSTATE, message) of the error."""
    cursor = connection.cursor()
    try:
        if command.startswith("START_REPLICATION"):
            cursor.start_replication_expert(command)
            return "it streams"
        cursor.execute(command)
        return cursor.fetchall() if cursor.description else cursor.statusmessage
    except psycopg2.Error as problem:
        return problem.pgcode, problem.diag.message_primary


def answers(node, *commands, **more):
    """Those to several commands on one connection."""
    connection = for_replication(node, **more)
    try:
        return [answer(connection, command) for command in commands]
    finally:
        connection.close()


def shown(relay, table):
    """The rows of SHOW on an ordinary connection, as psql has one."""
    connection = relay.connect()
    connection.autocommit = True
    try:
        return answer(connection, f"SHOW {table}")
    finally:
        connection.close()


def slots(relay):
    """{name: is it active} of the relay's slots."""
    rows = shown(relay, "pgcascade.slots")
    return {row[0]: row[5] == "t" for row in rows}


def slots_in_use(relay):
    return {name for name, is_active in slots(relay).items() if is_active}


def create_slot(node, name="s"):
    [made] = answers(node, f"CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput NOEXPORT_SNAPSHOT")
    assert made[0][0] == name, made


def wait_for_all_received(relay, node):
    """Until the relay's log holds all that has committed on the upstream."""
    target = node.current_lsn()

    def received():
        [rows] = answers(relay, "SHOW pgcascade.feeds")
        return all(node.value("SELECT %s::pg_lsn >= %s::pg_lsn", row[5], target) for row in rows)

    wait_for(received, describe=f"the relay to receive up to {target}")


def secret_of(password, iterations=4096):
    """What PostgreSQL keeps instead of a password (RFC 5802, pg_authid.rolpassword)."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    keys = [base64.b64encode(key).decode() for key in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))]
    return f"SCRAM-SHA-256${iterations}:{keys[0]}${keys[1]}:{keys[2]}"


POSTGRES_EPOCH_S = 946_684_800  # 2000-01-01, as seconds since 1970


def address_of(node):
    """Where RawSession reaches a server or a relay without a password."""
    if hasattr(node, "socket_directory"):
        return str(node.socket_directory / f".s.PGSQL.{node.port}")
    return "127.0.0.1", node.port


class RawSession:
    """Speaks the protocol by hand. `address`: (host, port), or the path of a Unix socket. A context manager."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(DEFAULT_TIMEOUT_S)
        self.socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def start(self, **parameters):
        pairs = {"user": "postgres", "database": "postgres", "replication": "database", **parameters}
        body = b"".join(cstring(name) + cstring(value) for name, value in pairs.items()) + b"\0"
        self.socket.sendall(struct.pack("!II", len(body) + 8, 3 << 16) + body)

    def log_in(self, **parameters):
        self.start(**parameters)
        return self.read_until(b"Z")

    def send(self, kind, body):
        self.socket.sendall(message(kind, body))

    def query(self, text):
        self.send(b"Q", cstring(text))

    def ask(self, text):
        """The whole answer to a query: [(type, body)]."""
        self.query(text)
        return self.read_until(b"Z")

    def stream(self, command):
        """Begins to stream; the messages up to CopyBothResponse."""
        self.query(command)
        return self.read_until(b"W")

    def confirm(self, position, reply=False):
        """A standby status update: all up to that LSN, a number, is written, flushed and applied."""
        sent_at = int((time.time() - POSTGRES_EPOCH_S) * 1_000_000)
        self.send(b"d", b"r" + struct.pack("!QQQqb", position, position, position, sent_at, reply))

    def read_message(self):
        """(type, body)"""
        kind = self._read(1)
        return kind, self._read(struct.unpack("!I", self._read(4))[0] - 4)

    def read_until(self, last):
        """[(type, body)] up to and with the first message of that type."""
        messages = [self.read_message()]
        while messages[-1][0] != last:
            messages.append(self.read_message())
        return messages

    def read_keepalive(self, reply_requested=None):
        """The WAL's end in the next keepalive; only those count that ask for a reply, or do not, where that is said."""
        while True:
            kind, body = self.read_message()
            assert kind == b"d", (kind, body)
            if body[:1] == b"k" and reply_requested in (None, bool(body[17])):
                return struct.unpack_from("!Q", body, 1)[0]

    def _read(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError("the server has closed the connection")
            data += chunk
        return data

    def is_closed(self):
        """Reads to the end, which must come."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


def cancel(node, key_data):
    """A cancel request with what BackendKeyData holds; returns once the node has closed its connection."""
    with RawSession(address_of(node)) as session:
        session.socket.sendall(struct.pack("!II", 8 + len(key_data), 80877102) + key_data)
        assert session.is_closed()


def error_fields(body):
    """{letter: text} of an ErrorResponse."""
    return {field[:1].decode(): field[1:].decode() for field in body.split(b"\0") if field}


class RecvLogical:
    """pg_recvlogical, which writes a slot's changes to a file until the stream ends. A context manager."""

    def __init__(self, node, slot, publications, directory, more=()):
        self.file = directory / f"{slot}.received"
        command = [client_program("pg_recvlogical"), "-d", node.conninfo(), "-S", slot, "--start", "-f", self.file]
        command += ["--no-loop", "-s", "1", "-F", "1", *more]
        for name, value in plugin_options(publications).items():
            command += ["-o", f"{name}={value}"]
        self.process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def wait(self):
        """To its end; what it said."""
        return self.process.communicate(timeout=DEFAULT_TIMEOUT_S)[1]

    def changes(self):
        """All that it has received so far, if that ends with a whole message."""
        return read_received(self.file)


class ByteCounter(threading.Thread):
    """Reads a RawSession's stream to its end, slowly where that is wanted, and counts its bytes."""

    def __init__(self, session, at_once=65536, pause_s=0):
        super().__init__(daemon=True)
        self.session = session
        self.at_once = at_once
        self.pause_s = pause_s
        self.bytes = 0
        self.start()

    def run(self):
        try:
            while piece := self.session.socket.recv(self.at_once):
                self.bytes += len(piece)
                time.sleep(self.pause_s)
        except OSError:
            pass


class Recorder(threading.Thread):
    """Reads a slot without ever confirming, connects again whenever the stream ends, and keeps each session's changes
    for itself: what one session was given is never completed by the next one."""

    def __init__(self, node, slot, publications):
        super().__init__(daemon=True)
        self.node = node
        self.slot = slot
        self.publications = publications
        self.sessions = []
        self.transactions = 0  # whole ones, in all sessions
        self._stopping = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self.join()

    def run(self):
        while not self._stopping.is_set():
            session = {"changes": [], "commits": 0}
            self.sessions.append(session)
            try:
                self._read(session)
            except psycopg2.Error:  # cut off; the slot may be in use for a moment
                self._stopping.wait(0.02)

    def _read(self, session):
        connection = for_replication(self.node)
        try:
            cursor = connection.cursor()
            options = plugin_options(self.publications)
            cursor.start_replication(self.slot, decode=False, status_interval=1, options=options)
            reader = PgoutputReader()
            while not self._stopping.is_set():
                message = cursor.read_message()
                if message is None:
                    self._stopping.wait(0.001)
                    continue
                change = reader.read(message.payload)
                if change:
                    session["changes"].append(change)
                if message.payload[:1] == b"C":
                    session["commits"] += 1
                    self.transactions += 1
        finally:
            connection.close()


class Network(TcpProxy):
    """The way from a relay to its upstream. Stands in for the upstream in Relay.write_file()."""

    def __init__(self, node):
        self._node = node
        super().__init__(node.port)

    def conninfo(self, **more):
        return self._node.conninfo(port=self.port, **more)

    def hold_after(self, count):
        """Holds once that many more bytes have come from the server; sets `held`."""
        self._hold_at = self.bytes_from_server + count

    def damage(self, old, new):
        """The next occurrence of these bytes in what the server sends."""
        self.replaced = False
        self._replace = (old, new)

    def cut(self):
        """All connections, which come again."""
        sockets, self._sockets[:] = list(self._sockets), []
        for each in sockets:
            shut(each)
        self.release()


class DeafNetwork(Network):
    """Loses, from deafen() on, what the relay says once it receives: the upstream is confirmed nothing any more."""

    def __init__(self, node):
        self._is_deaf = threading.Event()
        super().__init__(node)

    def deafen(self):
        self._is_deaf.set()

    def _pump(self, source, sink, pieces_of):
        if pieces_of != self._from_server:
            pieces_of = lambda chunk: [] if self._is_deaf.is_set() and chunk[:1] == b"d" else [chunk]
        TcpProxy._pump(source, sink, pieces_of)
