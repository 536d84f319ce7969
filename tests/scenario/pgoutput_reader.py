"""An independent reading of pgoutput (protocol version 1), and two independent ways to get its messages: pg_recvlogical
and psycopg2. What it gives compares with the lines of `pgcascade stream` (change_lines.py).

Written from the manual, "Logical Replication Message Formats".
"""

import select
import struct
import subprocess

import psycopg2.extras

from change_lines import lsn_number, lsn_text
from server_programs import client_program
from waiting import DEFAULT_TIMEOUT_S

UNCHANGED = object()


class PgoutputReader:
    """Messages in, changes out, as dicts with op, schema, table, new, old, unchanged, commit_lsn, xid, ordinal."""

    def __init__(self):
        self.relations = {}
        self.transaction = None

    def read(self, message):
        """The change that a message tells of, or None; `message` is exactly one."""
        change, end = self.read_at(message, 0)
        assert end == len(message), f"{len(message) - end} bytes are left of {message!r}"
        return change

    def read_at(self, data, at):
        """The change of the message that begins at `at`, and where the message ends."""
        self.data, self.at = data, at + 1
        change = getattr(self, f"_read_{chr(data[at])}")()
        return change, self.at

    def _take(self, layout):
        values = struct.unpack_from(">" + layout, self.data, self.at)
        self.at += struct.calcsize(">" + layout)
        return values if len(values) > 1 else values[0]

    def _bytes(self, count):
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def _string(self):
        end = self.data.index(0, self.at)
        text = bytes(self.data[self.at : end]).decode()
        self.at = end + 1
        return text

    def _read_B(self):
        commit_lsn, _, xid = self._take("QqI")
        self.transaction = {"commit_lsn": lsn_text(commit_lsn), "xid": xid, "ordinal": 0}

    def _read_C(self):
        self._take("bQQq")
        self.transaction = None

    def _read_O(self):
        self._take("Q")
        self._string()

    def _read_Y(self):
        self._take("I")
        self._string(), self._string()

    def _read_R(self):
        oid = self._take("I")
        schema, table = self._string(), self._string()
        _, count = self._take("bH")
        columns = []
        for _ in range(count):
            is_key = self._take("b") & 1
            name = self._string()
            self._take("Ii")
            columns.append((name, bool(is_key)))
        self.relations[oid] = (schema, table, columns)

    def _row(self, columns):
        row = {}
        assert self._take("H") == len(columns)
        for name, _ in columns:
            kind = self._bytes(1)
            if kind == b"n":
                row[name] = None
            elif kind == b"u":
                row[name] = UNCHANGED
            else:
                row[name] = self._bytes(self._take("I")).decode()
        return row

    def _change(self, op, **more):
        self.transaction["ordinal"] += 1
        return {"op": op, **self.transaction, **more}

    def _row_change(self, op, marker_needed):
        schema, table, columns = self.relations[self._take("I")]
        change = {"schema": schema, "table": table}
        marker = self._bytes(1)
        if marker in (b"K", b"O"):
            old = self._row(columns)
            change["old"] = {name: old[name] for name, is_key in columns if is_key or marker == b"O"}
            marker = self._bytes(1) if marker_needed else None
        if marker == b"N":
            new = self._row(columns)
            unchanged = [name for name, value in new.items() if value is UNCHANGED]
            change["new"] = {name: value for name, value in new.items() if value is not UNCHANGED}
            if unchanged:
                change["unchanged"] = unchanged
        return self._change(op, **change)

    def _read_I(self):
        return self._row_change("insert", marker_needed=True)

    def _read_U(self):
        return self._row_change("update", marker_needed=True)

    def _read_D(self):
        return self._row_change("delete", marker_needed=False)

    def _read_T(self):
        count, _ = self._take("Ib")
        relations = [self.relations[self._take("I")] for _ in range(count)]
        return self._change("truncate", tables=[{"schema": schema, "table": table} for schema, table, _ in relations])

    def _read_M(self):
        transactional, _ = self._take("bQ")
        prefix = self._string()
        content = self._bytes(self._take("I")).decode()
        if not transactional:
            return {"op": "message", "prefix": prefix, "content": content}
        return self._change("message", prefix=prefix, content=content)


def plugin_options(publications, messages=False, **more):
    options = {"proto_version": "1", "publication_names": publications, **more}
    return {**options, "messages": "true"} if messages else options


def by_pg_recvlogical(node, slot, publications, until, directory, dbname="postgres", **options):
    """All changes of the slot up to the LSN `until`, as pg_recvlogical received them; the slot is used up."""
    file = directory / f"{slot}.pgoutput"
    command = [client_program("pg_recvlogical"), "-d", node.conninfo(dbname), "--slot", slot, "--start", "-f", file]
    command += ["--endpos", until, "--no-loop", "--status-interval", "1"]
    for name, value in plugin_options(publications, **options).items():
        command += ["-o", f"{name}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    return read_received(file)


def read_received(file):
    """The changes in what pg_recvlogical wrote. Each message is followed by a line feed; where it ends is known only by
    reading it."""
    data, at, reader, changes = file.read_bytes(), 0, PgoutputReader(), []
    while at < len(data):
        change, at = reader.read_at(data, at)
        assert data[at : at + 1] == b"\n"
        at += 1
        if change:
            changes.append(change)
    return changes


def by_psycopg2(node, slot, publications, until, directory=None, messages=False, dbname="postgres", start="0/0"):
    """The same by psycopg2. Ends at the first position that the server reports at or after `until`."""
    connection = node.connect(dbname, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = connection.cursor()
    options = plugin_options(publications, messages)
    cursor.start_replication(slot, decode=False, start_lsn=start, status_interval=1, options=options)
    reader, changes = PgoutputReader(), []
    try:
        while True:
            message = cursor.read_message()
            if message is None:
                if cursor.wal_end >= lsn_number(until) and reader.transaction is None:
                    return changes
                cursor.send_feedback(force=True, reply=True)
                assert select.select([connection], [], [], DEFAULT_TIMEOUT_S)[0], "the server does not answer"
                continue
            change = reader.read(message.payload)
            if change:
                changes.append(change)
    finally:
        connection.close()
